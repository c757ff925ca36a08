#include "worker/model_bridge.h"

#include <array>
#include <string_view>
#include <utility>

namespace mayfly::worker {

// One connection of the program and its other half. Edges: each side is read until it has no more or the buffer is full, and
// written until it takes no more; whichever ends the wait is an event.
struct ModelBridge::Pair {
  struct Side final : os::Watcher {
    explicit Side(Pair& of) : pair(of) {}
    void on_events(std::uint32_t events) override {
      if (events & (os::kBroken | os::kHangup | os::kPeerClosed | os::kReadable)) readable = true;
      pair.pump();
    }
    Pair& pair;
    os::Fd socket;
    bool readable = true, ended = false;
    std::string out;                               // to be written to it
    std::size_t sent = 0;
  };

  Pair(ModelBridge& of, std::uint64_t n) : bridge(of), number(n) {}
  ~Pair() {
    for (Side* side : {&program, &node})
      if (side->socket) bridge.loop_.unwatch(side->socket.get());
  }

  Result<void> open(os::Fd from_program, os::Fd to_node) {
    program.socket = std::move(from_program);
    node.socket = std::move(to_node);
    for (Side* side : {&program, &node})
      TRY_VOID(bridge.loop_.watch(side->socket.get(), os::kReadable | os::kWritable | os::kPeerClosed | os::kEdge, *side));
    return {};
  }

  void pump() {
    while (carry(program, node) | carry(node, program)) {}
    const bool over = broken || (program.ended && node.out.empty()) || (node.ended && program.out.empty());
    if (over && !std::exchange(buried, true))
      bridge.loop_.after({}, [&to = bridge, n = number] { to.bury(n); });  // not from inside its own handler
  }

  // True: something moved, so that there may be more to do.
  bool carry(Side& from, Side& to) {
    bool moved = flush(to);
    while (!broken && !from.ended && from.readable && to.out.empty()) {
      std::array<char, kBufferMax> bytes;
      const os::Moved got = os::receive(from.socket.get(), bytes);
      if (got == os::kWouldBlock) {
        from.readable = false;
        break;
      }
      if (got <= 0) {
        from.ended = true;
        break;
      }
      to.out.assign(bytes.data(), static_cast<std::size_t>(got));
      moved = true;
      flush(to);
    }
    return moved;
  }

  bool flush(Side& to) {
    bool moved = false;
    while (!broken && to.sent < to.out.size()) {
      const os::Moved wrote = os::send(to.socket.get(), std::string_view(to.out).substr(to.sent));
      if (wrote == os::kWouldBlock) return moved;
      broken = wrote < 0;
      if (broken) return false;
      to.sent += static_cast<std::size_t>(wrote);
      moved = true;
    }
    to.out.clear();
    to.sent = 0;
    return moved;
  }

  ModelBridge& bridge;
  const std::uint64_t number;
  Side program{*this}, node{*this};
  bool broken = false, buried = false;
};

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
    auto pair = std::make_unique<Pair>(*this, ++pairs_made_);
    Pair& made = *pair;
    if (!made.open(*std::move(program), *std::move(node))) continue;
    pairs_.emplace(made.number, std::move(pair));
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
