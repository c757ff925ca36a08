#include "worker/node_control.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <span>
#include <string>

#include "base/time.h"
#include "domain/link.h"

namespace mayfly::worker {
namespace {

constexpr Duration kBodyWaitMax = std::chrono::seconds(10);  // the node sends a large body before its frame

}  // namespace

bool NodeControl::read() {
  std::array<std::byte, 4096> bytes;
  auto packet = os::receive_packet(socket_, bytes);
  if (!packet) return packet.error().code == Code::exhausted;
  domain::Message head;
  if (packet->size < sizeof head) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.kind == domain::MessageKind::stop) stopping_ = true;
  if (head.kind == domain::MessageKind::body && packet->size >= sizeof(domain::BodyMessage) && packet->fds.size() == 1) {
    domain::BodyMessage body;
    std::memcpy(&body, bytes.data(), sizeof body);
    bodies_.emplace_back(body.ticket, std::move(packet->fds[0]));
  }
  if (head.kind == domain::MessageKind::debugger && packet->fds.size() == 1) debuggers_.push_back(std::move(packet->fds[0]));
  return true;
}

os::Fd NodeControl::take_debugger() {
  if (debuggers_.empty()) return {};
  os::Fd first = std::move(debuggers_.front());
  debuggers_.pop_front();
  return first;
}

std::optional<os::Fd> NodeControl::take_body(std::uint64_t ticket) {
  while (bodies_.empty()) {
    pollfd fd{socket_, POLLIN, 0};
    if (::poll(&fd, 1, static_cast<int>(to_ms(kBodyWaitMax))) == 0 || !read()) return std::nullopt;
  }
  if (bodies_.front().first != ticket) return std::nullopt;
  os::Fd memfd = std::move(bodies_.front().second);
  bodies_.pop_front();
  return memfd;
}

bool NodeControl::send_body(std::uint64_t ticket, std::string_view body) const {
  auto memfd = os::make_memfd("mayfly-reply", body.size());
  if (!memfd) return false;
  for (std::size_t at = 0; at < body.size();) {
    const ssize_t written = ::pwrite(memfd->get(), body.data() + at, body.size() - at, static_cast<off_t>(at));
    if (written <= 0) return false;
    at += static_cast<std::size_t>(written);
  }
  if (!os::seal(*memfd)) return false;
  const domain::BodyMessage message{.head = {domain::MessageKind::reply_body, 0}, .ticket = ticket, .size = body.size()};
  const std::array fds{memfd->get()};
  return os::send_packet(socket_, os::bytes_of(message), fds).has_value();
}

bool say_failed(int control, const Error& error, std::size_t text_max, std::string_view log) {
  const std::string_view text = std::string_view(error.message).substr(0, text_max);
  const domain::FailedMessage failed{.head = {domain::MessageKind::failed, static_cast<std::uint32_t>(text.size() + log.size())},
                                     .code = static_cast<std::uint32_t>(error.code),
                                     .log_size = static_cast<std::uint32_t>(log.size())};
  std::string packet(sizeof failed, '\0');
  std::memcpy(packet.data(), &failed, sizeof failed);
  packet.append(text).append(log);
  return os::send_packet(control, std::as_bytes(std::span(packet))).has_value();
}

}  // namespace mayfly::worker
