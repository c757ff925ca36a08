// The network of a code sandbox, while its init has the capabilities to make it: the loopback, and on it the addresses at which the
// host process will stand for destinations outside (worker/outbound.h). No packet leaves it, whatever a program in it does.
#pragma once
#include <vector>

#include "base/result.h"
#include "worker/detail/binds.h"

namespace mayfly::worker {

// Where the outside's /proc is seen still. With hosts, any process in it may listen at any port, below 1024 too.
[[nodiscard]] Result<void> raise_loopback(const std::vector<NamedAddress>& hosts);

// For a process that shares the machine's network, on which abstract unix sockets live: it and what it starts reach only their own.
// Where the kernel can't, `log` (a descriptor) says so.
void leave_abstract_sockets(int log);

}  // namespace mayfly::worker
