// The life of one process inside a sandbox, from blank to its end. It is called by the zygote's child
// once the sandbox stands (worker/sandbox.h): namespaces entered, root empty but for /tmp, privileges
// gone, the common system-call filter on. Everything that touches a user's model or payload happens
// from here on.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "os/fd.h"
#include "worker/engine.h"

namespace mayfly::worker {

// What a process of role optimize does, with its order (domain/optimization.h), and answers: the search for a smaller model is the command
// line's own, which stands above this module.
using OptimizeWork = std::function<Result<std::string>(Engine&, std::string_view order)>;

// Says hello, waits for a LoadOrder, tightens the filter for its role (worker/seccomp.h), and is an
// instance, a template or a job until it is told to stop or the node is gone. Never returns.
[[noreturn]] void run_process(Engine& engine, os::Fd control, const OptimizeWork& optimize = {});

}  // namespace mayfly::worker
