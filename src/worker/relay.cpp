#include "worker/relay.h"

#include <array>
#include <string_view>
#include <utility>

namespace mayfly::worker {

void Relay::Side::on_events(std::uint32_t events) {
  if (events & (os::kBroken | os::kHangup | os::kPeerClosed | os::kReadable)) readable = true;
  relay.pump();
}

Relay::~Relay() {
  loop_.cancel(burying_);
  loop_.cancel(half_);
  for (Side* side : {&first_, &second_}) {
    if (!side->socket) continue;
    loop_.unwatch(side->socket.get());
    if (broken_ && ends_ == Ends::each) os::close_with_reset(side->socket);
  }
}

Result<void> Relay::open(os::Fd first, os::Fd second) {
  first_.socket = std::move(first);
  second_.socket = std::move(second);
  for (Side* side : {&first_, &second_})
    TRY_VOID(loop_.watch(side->socket.get(), os::kReadable | os::kWritable | os::kPeerClosed | os::kEdge, *side));
  return {};
}

void Relay::pump() {
  bool moved = false;
  while (carry(first_, second_) | carry(second_, first_)) moved = true;
  if (ends_ == Ends::each) {
    pass_end(first_, second_);
    pass_end(second_, first_);
    if (moved && (first_.ended || second_.ended)) wait_for_half();
  }
  if (is_over() && !std::exchange(buried_, true)) burying_ = loop_.after({}, [this] { over_(); });  // not from inside its own handler
}

bool Relay::is_over() const {
  if (broken_) return true;
  const bool first = first_.ended && second_.out.empty(), second = second_.ended && first_.out.empty();
  return ends_ == Ends::both ? first || second : first && second;
}

void Relay::pass_end(Side& from, Side& to) {
  if (!from.ended || !to.out.empty() || std::exchange(to.told, true)) return;
  os::shut_writing(to.socket.get());
  wait_for_half();
}

void Relay::wait_for_half() {
  loop_.cancel(half_);
  half_ = loop_.after(kHalfMax, [this] {
    broken_ = true;
    pump();
  });
}

// True: something moved, so that there may be more to do.
bool Relay::carry(Side& from, Side& to) {
  bool moved = flush(to);
  while (!broken_ && !from.ended && from.readable && to.out.empty()) {
    std::array<char, kBufferMax> bytes;
    const os::Moved got = os::receive(from.socket.get(), bytes);
    if (got == os::kWouldBlock) {
      from.readable = false;
      break;
    }
    if (got <= 0) {
      from.ended = true;
      broken_ = broken_ || (got < 0 && ends_ == Ends::each);
      break;
    }
    to.out.assign(bytes.data(), static_cast<std::size_t>(got));
    moved = true;
    flush(to);
  }
  return moved;
}

bool Relay::flush(Side& to) {
  bool moved = false;
  while (!broken_ && to.sent < to.out.size()) {
    const os::Moved wrote = os::send(to.socket.get(), std::string_view(to.out).substr(to.sent));
    if (wrote == os::kWouldBlock) return moved;
    broken_ = wrote < 0;
    if (broken_) return false;
    to.sent += static_cast<std::size_t>(wrote);
    moved = true;
  }
  to.out.clear();
  to.sent = 0;
  return moved;
}

}  // namespace mayfly::worker
