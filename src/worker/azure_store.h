// Reads and writes what bindings name, in Azure Storage, by worker/azure_storage.h's requests. Blocks: for a pool. It runs in the
// function's sandbox and in its network, so that a binding reaches what the function itself may reach and nothing else: not the node's
// loopback, whatever a connection string says. What is not reachable is told apart from what does not answer.
//
// Promises: it ends within `within` and soon after `*stop`; writes go in order, and an error says what was written before it; a container
// or a queue that isn't there is made when something is written to it, as Azure's host does. A write that may have been taken is
// not repeated. Errors name the binding and the place.
#pragma once
#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "worker/azure_bindings.h"

namespace mayfly::worker {

struct StoreReach {
  bool machine_network = false;          // no list holds there
  std::vector<std::string> outbound;     // addresses inside the sandbox (domain/code_order.h)
};

struct StoreTrip {
  const StoreReach& reach;
  Duration within{};
  const std::atomic<bool>& stop;
};

[[nodiscard]] Result<std::vector<AzureInput>> read_places(const std::vector<AzurePlace>& places, const StoreTrip& trip);
[[nodiscard]] Result<void> write_places(const std::vector<AzureWrite>& writes, const StoreTrip& trip);

}  // namespace mayfly::worker
