// The life of one process inside a sandbox, from blank to its end. It is called by the zygote's child
// once the sandbox stands (worker/sandbox.h): namespaces entered, root empty but for /tmp, privileges
// gone, the common system-call filter on. Everything that touches a user's model or payload happens
// from here on.
#pragma once
#include "os/fd.h"
#include "worker/engine.h"

namespace mayfly::worker {

// Says hello, waits for a LoadOrder, tightens the filter for its role (worker/seccomp.h), and is an
// instance, a template or a job until it is told to stop or the node is gone. Never returns.
[[noreturn]] void run_process(Engine& engine, os::Fd control);

}  // namespace mayfly::worker
