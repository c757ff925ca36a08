// The zygote: `mayfly zygote`, started by the node (instances/zygote_launcher.h) with a socket to it. It opens
// the engine once, prepares the system-call filters, and then makes sandboxes as ordered (domain/link.h), forked
// from itself: a start pays neither for exec nor for loading the engine. It has one thread, always: what forks
// from it must find every lock free. It ends when the node does; sandboxes outlive it, since init and processes
// talk to the node directly.
#pragma once
#include "base/result.h"
#include "os/fd.h"
#include "worker/process.h"
#include "worker/sandbox.h"

namespace mayfly::worker {

constexpr int kZygoteSocket = 3;  // the descriptor that the node leaves open in it

// mayfly zygote [ENGINE_LIBRARY]: the exit status.
int zygote_main(int argc, char** argv, const OptimizeWork& optimize = {});

// The same with another process entry: for tests. Says hello on the socket first, or why it can't serve.
int run_zygote(os::Fd socket, const ProcessEntry& entry);

// Says why this zygote can't serve; returns the exit status.
int refuse_to_serve(const os::Fd& socket, const Error& error);

}  // namespace mayfly::worker
