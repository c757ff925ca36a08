// One sandbox: new user, pid, mount, network, IPC, UTS and (where the kernel has them) cgroup namespaces;
// a root that holds an empty read-only directory tree and a small /tmp, nothing else; no capability; no way to gain one.
// Where the node says so, a program's network is the machine's instead; abstract unix sockets of the machine stay out of reach where
// the kernel has Landlock's scopes (6.12), and a line of its log says where it has not.
// Its processes have the id 1000 inside, or that of a container's user, which is no more to the machine.
// With binds it is a code sandbox instead: its root lets a program run (worker/detail/root.h), its filter is wider (worker/seccomp.h).
// Called by the zygote, which is single-threaded: what it has in memory (the engine) is what the sandbox starts with.
//
// In it run a tiny init, pid 1, and the processes: first the blank one, later what a template forks (with
// CLONE_PARENT, so that init is their parent too). Init tells the node on its status socket how each ended,
// and ends with the last. It ends everything at once when the node's end of that socket closes: kill -9 of
// the node leaves nothing behind. It reads nothing that a sandboxed process wrote.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "worker/detail/binds.h"

namespace mayfly::worker {

// What a process in the sandbox does with its control socket. It should not return; if it does, the process ends.
using ProcessEntry = std::function<void(os::Fd control)>;

struct SandboxPlan {
  std::uint64_t number = 0;         // the node's
  std::uint64_t memory_max = 0;     // bytes of private memory (RLIMIT_DATA); 0: a cgroup limits it
  os::Fd control, status, log;      // of the blank process, of init, and its stdout and stderr
  std::vector<Bind> binds;          // what a program in it sees of the outside; none: a blank sandbox, in which none can run
  std::vector<NamedAddress> hosts;          // addresses of its own network beside 127.0.0.1, and their names
  bool machine_network = false;     // it has no network of its own
  std::string user;                 // of a container: USER of its image (worker/container_user.h); where it is not known, as without
};

// The user and group ids outside that a sandbox's own ids stand for.
struct OutsideIds {
  std::uint32_t first = 0;          // of a range; each sandbox takes two that no other has for a long while
  std::uint32_t count = 0;          // 0: not privileged, so only the node's own id can be mapped; the last are for a container's groups
};
[[nodiscard]] OutsideIds find_outside_ids();

// Returns init's pid as the caller sees it. What fails later is reported on the status socket.
[[nodiscard]] Result<int> make_sandbox(SandboxPlan plan, const OutsideIds& ids, const ProcessEntry& entry);

}  // namespace mayfly::worker
