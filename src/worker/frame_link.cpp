#include "worker/frame_link.h"

#include <algorithm>
#include <cstring>

#include "domain/link.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kTextMax = 4096;   // of an error's text
constexpr std::size_t kShortMax = 100;   // … where the ring has no room for that
constexpr std::size_t kLastFrame = 256;  // of a call, in the ring: a head and a short text; its body goes in a memfd then, its log nowhere
constexpr std::size_t kFrameSlack = 2 * os::kFrameAlign;  // a frame's own head, and what aligns it
constexpr std::size_t kLargest = sizeof(domain::ReplyHead) + domain::kInlineMax + kFrameSlack;

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

}  // namespace

std::pair<std::uint64_t, std::uint64_t> head_id(const domain::RequestHead& head) {
  std::uint64_t halves[2] = {};
  for (std::size_t i = 0; i < sizeof head.request_id; ++i) halves[i / 8] = halves[i / 8] << 8 | head.request_id[i];
  return {halves[0], halves[1]};
}

bool FrameLink::read_frame(std::span<const std::byte> frame, Call& call) {
  if (frame.size() < sizeof call.head) return false;
  std::memcpy(&call.head, frame.data(), sizeof call.head);
  if (call.head.cancelled || call.head.taken || call.head.direct != domain::DirectStep::none) return true;
  if (!call.head.in_memfd) {
    const auto body = frame.subspan(sizeof call.head);
    call.small.assign(reinterpret_cast<const char*>(body.data()), body.size());
    return call.head.json_size <= body.size();
  }
  const auto memfd = control_.take_body(call.head.ticket);
  if (!memfd) return false;
  auto mapped = os::map_file(memfd->get(), call.head.body_size, os::Access::read);
  if (!mapped) return false;
  call.large = std::move(*mapped);
  return call.head.json_size <= call.head.body_size;
}

bool FrameLink::take(const std::function<void(Call&&)>& on_call, const std::function<void(std::uint64_t)>& cancel,
                     const std::function<void(std::uint64_t, std::uint64_t)>& taken,
                     const std::function<bool(const domain::RequestHead&)>& direct) {
  do {
    while (const auto frame = in_.front()) {
      Call call;
      if (!read_frame(*frame, call)) return false;
      in_.pop();
      if (call.head.direct != domain::DirectStep::none) {
        if (!direct || !direct(call.head)) return false;
      } else if (call.head.cancelled) cancel(call.head.ticket);
      else if (call.head.taken) taken ? taken(call.head.ticket, call.head.body_size) : void();
      else on_call(std::move(call));
    }
    if (in_.broken()) return false;
  } while (!in_.prepare_sleep());
  return true;
}

bool FrameLink::say_ready(std::uint32_t credit, Duration load, Duration cpu, std::span<const int> direct) {
  kept_ = std::min<std::size_t>(std::size_t{credit} * kLastFrame, os::kRingSize / 4);
  const domain::ReadyMessage ready{.credit = credit, .threads = 1, .load_ns = ns(load), .cpu_ns = ns(cpu)};
  return os::send_packet(control_.socket(), os::bytes_of(ready), direct).has_value();
}

bool FrameLink::reply(domain::ReplyHead head, std::string_view body, std::string_view log) {
  if (head.code != 0 && !head.function_error) body = body.substr(0, kTextMax);
  if (head.function_error && body.size() + log.size() > domain::kInlineMax) log = {};  // the error itself is never in a memfd
  const std::size_t whole = body.size() + log.size();
  const bool fits = whole <= domain::kInlineMax && out_.room() >= sizeof head + whole + kFrameSlack + kept_;
  std::byte* at = fits ? out_.reserve(sizeof head + whole) : nullptr;
  head.body_size = body.size();
  head.log_size = static_cast<std::uint32_t>(log.size());
  if (!at) {  // too large for a frame, or as many answers at once as fill the ring
    if (out_.room() < sizeof head + log.size() + kFrameSlack + kept_) log = {};
    head.log_size = static_cast<std::uint32_t>(log.size());
    if (head.code != 0 && !head.function_error) {
      body = body.substr(0, kShortMax);
      head.body_size = body.size();
    } else if (control_.send_body(head.ticket, body)) {
      head.in_memfd = 1;
      body = {};
    } else {
      head.code = static_cast<std::uint8_t>(Code::unavailable);
      head.function_error = 0;
      head.json_size = 0;
      body = "the answer is too large for this instance's memory: raise resources.memory";
      head.body_size = body.size();
    }
    at = out_.reserve(sizeof head + body.size() + log.size());
    if (!at) return false;
  }
  std::memcpy(at, &head, sizeof head);
  std::ranges::copy(std::as_bytes(std::span(body)), at + sizeof head);
  std::ranges::copy(std::as_bytes(std::span(log)), at + sizeof head + body.size());
  out_.publish(sizeof head + body.size() + log.size());
  out_.wake();
  return true;
}

bool FrameLink::part(domain::ReplyHead head, std::string_view text, std::string_view more) {
  head.body_size = text.size() + more.size();
  const std::size_t size = sizeof head + head.body_size;
  // Beside the last frames of all calls, one of which may be of the largest size.
  std::byte* at = out_.room() >= size + kFrameSlack + kept_ + kLargest ? out_.reserve(size) : nullptr;
  if (!at) return false;
  std::memcpy(at, &head, sizeof head);
  at = std::ranges::copy(std::as_bytes(std::span(text)), at + sizeof head).out;
  std::ranges::copy(std::as_bytes(std::span(more)), at);
  out_.publish(size);
  out_.wake();
  return true;
}

}  // namespace mayfly::worker
