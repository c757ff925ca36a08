// The host of a template of code: a program of Python that has imported the handler's module and forks one instance after the other,
// each in the time of a fork instead of that of an interpreter's start and all imports. As templates of models do, the host forks
// itself, too: each instance has a host of its own (worker/code_loop.h), and a program of its own from worker/python_runtime.py.
//
// Promises: where the program can't be forked (it has threads, sockets or open files, or made what must differ in each instance) the
// node is told why, once, with Code::unimplemented. An instance's program runs nothing of its own before the node has said that it
// is in its control group. The template's end ends no instance.
// Not promised: that a module which passes is safe to fork; docs/code.md says what it has to keep in mind.
#pragma once
#include <string_view>

#include "os/fd.h"

namespace mayfly::worker {

// For the process that got a LoadOrder to be a template of code. `outbound`: where it asks for connections that the module makes at import,
// if it may; its forks have a socket of their own.
[[noreturn]] void run_code_template(os::Fd& control, std::string_view order_json, os::Fd outbound = {});

}  // namespace mayfly::worker
