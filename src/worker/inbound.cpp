#include "worker/inbound.h"

#include <string>
#include <utility>

#include "os/listener.h"

namespace mayfly::worker {

void Inbound::carry(os::Fd connection) {
  if (port_ == 0 || relays_.size() >= kConnectionsMax) return;
  auto program = os::begin_connect("127.0.0.1:" + std::to_string(port_));
  if (!program) return;
  const std::uint64_t number = ++made_;
  auto relay = std::make_unique<Relay>(loop_, Relay::Ends::both, [this, number] { relays_.erase(number); });
  Relay& made = *relay;
  if (!made.open(std::move(connection), *std::move(program))) return;
  relays_.emplace(number, std::move(relay));
  made.pump();
}

}  // namespace mayfly::worker
