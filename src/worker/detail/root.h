// The roots that sandboxes get. Init makes its own once, in its new namespaces, before it gives up its capabilities. The outside
// is unmounted, not just hidden, and the root itself is read-only and runs nothing.
//
// blank: an empty tree with a small /tmp. code: lets a program run. It sees what is bound (read-only unless the node says
// otherwise, without setuid and devices), a /tmp and /dev/shm of its own, the harmless devices, /proc of its own pid namespace, and
// the few files of /etc that programs ask for. Where a whole root is bound, a container's, its files are all there is beside /tmp,
// /dev, /proc and /etc/hosts. Which addresses there are is its network's (own_network.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "worker/detail/binds.h"

namespace mayfly::worker {

// The ids inside of the processes.
struct Owner {
  std::uint32_t uid = 0, gid = 0;
};
[[nodiscard]] Result<void> build_blank_root(Owner owner);

// What a code root takes from the outside, held as mounts that are nowhere yet.
struct OutsideTrees {
  struct Tree { os::Fd mount; std::string target; };
  struct Link { std::string path, to; };                   // "/bin", "usr/bin"
  os::Fd root;                                             // the container's, if it is one
  std::vector<Tree> trees;
  std::vector<Link> links;
};
// Called while the process still has the outside's ids: those may enter folders that the sandbox's own may not.
[[nodiscard]] Result<OutsideTrees> open_outside(const std::vector<Bind>& binds);
struct CodeRoot {
  Owner owner;
  int log = -1;                    // a descriptor, for what the sandbox has to do without
  const std::vector<NamedAddress>& hosts;  // for /etc/hosts
  bool machine_network = false;    // names are looked up as the machine does
};
[[nodiscard]] Result<void> build_code_root(const OutsideTrees& outside, const CodeRoot& plan);

}  // namespace mayfly::worker
