#include "app/debug_door.h"

namespace mayfly::app {

Result<std::unique_ptr<DebugDoor>> DebugDoor::create(os::Loop& loop, std::string_view address, LetIn let_in) {
  TRY(os::Listener listener, os::Listener::create(address));
  std::unique_ptr<DebugDoor> door(new DebugDoor(loop, std::move(listener), std::move(let_in)));
  door->listen_on();
  return door;
}

DebugDoor::~DebugDoor() {
  if (listening_) loop_.unwatch(listener_.fd());
}

void DebugDoor::listen_on() {
  if (!listening_) listening_ = loop_.watch(listener_.fd(), os::kReadable, *this).has_value();
}

void DebugDoor::on_events(std::uint32_t) {
  while (relays_.size() < kConnectionsMax) {
    auto debugger = listener_.accept();
    if (debugger && !*debugger) return;            // nobody waits
    if (!debugger) break;                          // out of descriptors: one that closes makes room
    auto pair = os::make_stream_pair();
    if (!pair || !let_in_(std::move(pair->second))) continue;
    const std::uint64_t number = ++made_;
    auto relay = std::make_unique<worker::Relay>(loop_, worker::Relay::Ends::both, [this, number] { bury(number); });
    worker::Relay& made = *relay;
    if (!made.open(*std::move(debugger), std::move(pair->first))) continue;
    relays_.emplace(number, std::move(relay));
    made.pump();
  }
  if (relays_.empty()) return;                     // nothing would wake it
  loop_.unwatch(listener_.fd());
  listening_ = false;
}

void DebugDoor::bury(std::uint64_t number) {
  relays_.erase(number);
  listen_on();
}

}  // namespace mayfly::app
