#include "instances/detail/zygote_link.h"

#include <array>
#include <cstring>
#include <span>

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPauseFirst = 20ms, kPauseMax = 5s;

template <class T>
bool read_as(std::string_view bytes, T& into) {
  if (bytes.size() < sizeof into) return false;
  std::memcpy(&into, bytes.data(), sizeof into);
  return true;
}

}  // namespace

ZygoteLink::~ZygoteLink() {
  loop_.cancel(restart_);
  loop_.cancel(retry_);
  end_child();
}

void ZygoteLink::end_child() {
  serves_ = false;
  if (socket_) loop_.unwatch(socket_.get());
  socket_.reset();
  os::end(child_);
}

void ZygoteLink::start() {
  auto pair = os::make_packet_pair();
  if (!pair) return lose(pair.error());
  auto child = spawn_(std::move(pair->second));
  if (!child) return lose(child.error());
  child_ = std::move(*child);
  socket_ = std::move(pair->first);
  if (auto watched = loop_.watch(socket_.get(), os::kReadable, *this); !watched) lose(watched.error());
}

void ZygoteLink::lose(const Error& error) {
  end_child();
  pause_ = pause_ == Duration{} ? kPauseFirst : std::min(2 * pause_, kPauseMax);
  restart_ = loop_.after(pause_, [this] { start(); });
  if (!error.message.empty()) {
    waiting_.clear();
    owner_.zygote_cannot_serve(error);
  } else {
    owner_.zygote_lost();
  }
}

void ZygoteLink::make(Order order) {
  waiting_.push_back(std::move(order));
  send_waiting();
}

void ZygoteLink::send_waiting() {
  while (serves_ && !waiting_.empty()) {
    Order& next = waiting_.front();
    next.order.head.size = static_cast<std::uint32_t>(next.binds.size());
    std::string packet(sizeof next.order, '\0');
    std::memcpy(packet.data(), &next.order, sizeof next.order);
    packet += next.binds;
    const std::array fds{next.control.get(), next.status.get(), next.log.get()};
    if (const auto sent = os::send_packet(socket_.get(), std::as_bytes(std::span(packet)), fds); !sent) {
      // Full: it works on what it has. Gone: the loop will say so.
      loop_.cancel(retry_);
      retry_ = loop_.after(1ms, [this] { send_waiting(); });
      return;
    }
    waiting_.pop_front();
  }
}

void ZygoteLink::on_events(std::uint32_t) {
  std::array<std::byte, 8192> buffer;
  while (socket_) {
    auto packet = os::receive_packet(socket_.get(), buffer);
    if (!packet && packet.error().code == Code::exhausted) return;
    if (!packet || packet->size == 0) return lose({Code::unavailable, {}});
    take({reinterpret_cast<const char*>(buffer.data()), packet->size});
  }
}

void ZygoteLink::take(std::string_view bytes) {
  domain::Message head;
  domain::SandboxMade made;
  domain::FailedMessage failed;
  if (!read_as(bytes, head)) return;
  if (head.kind == domain::MessageKind::hello) {
    serves_ = true;
    pause_ = {};
    send_waiting();
  } else if (head.kind == domain::MessageKind::sandbox_made && read_as(bytes, made)) {
    owner_.zygote_made(made.sandbox, made.init_pid);
  } else if (head.kind == domain::MessageKind::sandbox_failed && read_as(bytes, made)) {
    owner_.zygote_refused(made.sandbox, {Code::internal, std::string(bytes.substr(sizeof made))});
  } else if (head.kind == domain::MessageKind::failed && read_as(bytes, failed)) {
    lose({static_cast<Code>(failed.code), "the zygote can't serve: " + std::string(bytes.substr(sizeof failed))});
  }
}

}  // namespace mayfly::instances
