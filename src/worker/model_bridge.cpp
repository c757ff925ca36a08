#include "worker/model_bridge.h"

#include <utility>

namespace mayfly::worker {

Result<std::unique_ptr<ModelBridge>> ModelBridge::create(os::Loop& loop, std::string socket) {
  TRY(os::Listener listener, os::Listener::create("127.0.0.1:0"));
  std::unique_ptr<ModelBridge> bridge(new ModelBridge(loop, std::move(listener), std::move(socket)));
  bridge->listen_on();
  return bridge;
}

ModelBridge::ModelBridge(os::Loop& loop, os::Listener listener, std::string socket)
    : loop_(loop), listener_(std::move(listener)), socket_(std::move(socket)) {}

ModelBridge::~ModelBridge() {
  if (listening_) loop_.unwatch(listener_.fd());
}

void ModelBridge::listen_on() {
  if (!listening_) listening_ = loop_.watch(listener_.fd(), os::kReadable, *this).has_value();
}

void ModelBridge::on_events(std::uint32_t) {
  while (pairs_.size() < kConnectionsMax) {
    auto program = listener_.accept();
    if (program && !*program) return;              // nobody waits
    if (!program) break;                           // out of descriptors: one that closes makes room
    auto node = os::connect_local(socket_);
    if (!node) continue;                           // closed at once: the program's client sees it, and may try again
    const std::uint64_t number = ++pairs_made_;
    auto pair = std::make_unique<Relay>(loop_, Relay::Ends::both, [this, number] { bury(number); });
    Relay& made = *pair;
    if (!made.open(*std::move(program), *std::move(node))) continue;
    pairs_.emplace(number, std::move(pair));
    made.pump();
  }
  if (pairs_.empty()) return;                      // nothing would wake it
  loop_.unwatch(listener_.fd());
  listening_ = false;
}

void ModelBridge::bury(std::uint64_t number) {
  pairs_.erase(number);
  listen_on();
}

}  // namespace mayfly::worker
