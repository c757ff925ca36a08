#include "instances/detail/process_link.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/assert.h"
#include "domain/printed.h"

namespace mayfly::instances {
namespace {

constexpr int kPacketsAtOnce = 64, kFramesAtOnce = 4096;  // then others have their turn
constexpr std::size_t kBodiesMax = 1024;    // as many as the highest credit
constexpr std::uint32_t kCreditMax = 1024;

template <class T>
bool read_as(std::string_view bytes, T& into) {
  if (bytes.size() < sizeof into) return false;
  std::memcpy(&into, bytes.data(), sizeof into);
  return true;
}

// The text behind a fixed part: as long as it says, and nothing else.
template <class T>
bool text_behind(std::string_view bytes, const T& fixed, std::string_view& text) {
  if (bytes.size() != sizeof fixed + fixed.head.size) return false;
  text = bytes.substr(sizeof fixed);
  return true;
}

// Something of another form leads the body.
bool leads(domain::WireFormat format) { return format == domain::WireFormat::v2_binary || format == domain::WireFormat::http; }

}  // namespace

Result<std::unique_ptr<ProcessLink>> ProcessLink::create(os::Loop& loop, LinkOwner& owner) {
  std::unique_ptr<ProcessLink> link(new ProcessLink(loop, owner));
  TRY(auto pair, os::make_packet_pair());
  link->control_ = std::move(pair.first);
  link->far_control_ = std::move(pair.second);
  TRY_VOID(os::pass_credentials(link->control_.get()));
  TRY(link->memory_, os::make_ring_memory());
  TRY(link->to_bell_, os::make_eventfd());
  TRY(link->from_bell_, os::make_eventfd());
  TRY(link->to_, os::open_ring(link->memory_.get(), 0, link->to_bell_.get()));
  TRY(link->from_, os::open_ring(link->memory_.get(), 1, link->from_bell_.get()));
  link->from_.prepare_sleep();
  TRY_VOID(loop.watch(link->control_.get(), os::kReadable, link->control_port_));
  TRY_VOID(loop.watch(link->from_bell_.get(), os::kReadable | os::kEdge, link->reply_port_));
  return link;
}

ProcessLink::~ProcessLink() { close(); }

void ProcessLink::close() {
  if (control_) loop_.unwatch(control_.get());
  if (from_bell_) loop_.unwatch(from_bell_.get());
  if (direct_) direct_->stop();
  open_ = false;
}

bool ProcessLink::finish() {
  if (open_) take_frames();
  if (open_ && direct_) direct_->read();
  const bool was_open = open_;
  close();
  return was_open;
}

void ProcessLink::note(const domain::RequestHead& head) {
  std::byte* at = to_.reserve(sizeof head);
  if (!at) return os::ring_doorbell(from_bell_.get());  // kept free for it: so it is broken, which is said from the loop
  std::memcpy(at, &head, sizeof head);
  to_.publish(sizeof head);
}

// Told to the host before the program can begin, so that what it prints finds its call there. A host that has not read half of its
// ring gets the call itself: then it must wake up first.
bool ProcessLink::send_direct(const Request& request) {
  if (!direct_ || !open_ || !direct_->takes(request) || to_.room() < os::kRingSize / 2) return false;
  if (to_.room() < os::kRingSize * 3 / 4) wanted_ = true;
  domain::RequestHead head{.ticket = request.ticket.number, .deadline_ns = static_cast<std::uint64_t>(request.deadline.since_boot.count()),
                           .direct = domain::DirectStep::begun, .begun_ns = static_cast<std::uint64_t>(loop_.now().since_boot.count())};
  put_id(request, head.request_id);
  note(head);
  if (direct_->send(request)) return true;
  note({.ticket = request.ticket.number, .direct = domain::DirectStep::answered});
  return false;
}

void ProcessLink::answered_directly(Reply&& reply) {
  note({.ticket = reply.head.ticket, .direct = domain::DirectStep::answered});
  if (tells_ends_) to_.wake();
  owner_.link_reply(*this, std::move(reply));
}

bool ProcessLink::send(const Request& request) {
  if (send_direct(request)) return true;
  const bool in_memfd = request.body_memfd >= 0;
  ASSERT(in_memfd || request.body.size() <= domain::kInlineMax, "a body over the limit of a frame that is in no memfd");
  const std::size_t body_size = in_memfd ? 0 : request.body.size();
  std::byte* at = open_ ? to_.reserve(sizeof(domain::RequestHead) + body_size) : nullptr;
  if (!at) {
    if (open_ && to_.broken()) os::ring_doorbell(from_bell_.get());  // said from the loop, not from inside this call
    return false;
  }
  if (in_memfd) {
    const domain::BodyMessage message{.ticket = request.ticket.number, .size = request.body_size};
    if (!say(os::bytes_of(message), std::span(&request.body_memfd, 1))) return false;
  }
  const std::uint64_t total = in_memfd ? request.body_size : body_size;
  domain::RequestHead head{.ticket = request.ticket.number,
                           .deadline_ns = static_cast<std::uint64_t>(request.deadline.since_boot.count()),
                           .body_size = total,
                           .json_size = leads(request.format) ? request.json_size : total - request.context_size,
                           .format = request.format,
                           .in_memfd = in_memfd,
                           .wants_log = request.wants_log,
                           .reply_form = request.reply_form};
  put_id(request, head.request_id);
  std::memcpy(at, &head, sizeof head);
  if (body_size > 0) std::memcpy(at + sizeof head, request.body.data(), body_size);
  to_.publish(sizeof head + body_size);
  wanted_ = true;
  if (direct_) direct_->by_host();
  return true;
}

void ProcessLink::cancel(Ticket ticket) {
  std::byte* at = open_ ? to_.reserve(sizeof(domain::RequestHead)) : nullptr;
  if (!at) return;
  const domain::RequestHead head{.ticket = ticket.number, .cancelled = 1};
  std::memcpy(at, &head, sizeof head);
  to_.publish(sizeof head);
  wanted_ = true;
}

bool ProcessLink::taken(Ticket ticket, std::uint64_t bytes) {
  if (!open_) return true;
  std::byte* at = to_.reserve(sizeof(domain::RequestHead));
  if (!at) return false;
  const domain::RequestHead head{.ticket = ticket.number, .body_size = bytes, .taken = 1};
  std::memcpy(at, &head, sizeof head);
  to_.publish(sizeof head);
  wanted_ = true;
  return true;
}

void ProcessLink::broken(const std::string& how) {
  if (!open_) return;
  close();
  owner_.link_broken(*this, how);
}

void ProcessLink::drain() {
  if (in_frames_) return;
  while (read_packet()) {}
}

void ProcessLink::read_control() {
  for (int i = 0; i < kPacketsAtOnce && read_packet(); ++i) {}
}

bool ProcessLink::read_packet() {
  if (!open_) return false;
  std::array<std::byte, 65 * 1024 + sizeof(domain::ReadyMessage)> buffer;
  auto packet = os::receive_packet(control_.get(), buffer);
  if (!packet) {
    if (packet.error().code != Code::exhausted) broken(packet.error().message);
    return false;
  }
  if (packet->size == 0) {
    if (in_frames_) return false;  // told again once the ring is read
    if (finish()) owner_.link_closed(*this);
    return false;
  }
  take_packet({reinterpret_cast<const char*>(buffer.data()), packet->size}, std::move(*packet));
  return open_;
}

void ProcessLink::take_packet(std::string_view bytes, os::Packet&& packet) {
  domain::Message head;
  if (!read_as(bytes, head)) return broken("a message without a head");
  const bool may_bring_one = head.kind == domain::MessageKind::reply_body || head.kind == domain::MessageKind::hello;
  const std::size_t may_bring = may_bring_one ? 1 : may_direct_ && head.kind == domain::MessageKind::ready ? 2 : 0;
  if (packet.fds.size() > may_bring) return broken("a descriptor that nobody asked for");
  std::string_view text;
  switch (head.kind) {
    case domain::MessageKind::hello:
      if (said_hello_ || packet.pid <= 0) return broken("a second hello");
      said_hello_ = true;
      return owner_.link_hello(*this, packet.pid, packet.fds.empty() ? os::Fd() : std::move(packet.fds[0]));
    case domain::MessageKind::ready: {
      domain::ReadyMessage ready;
      if (ready_ || !said_hello_ || !read_as(bytes, ready) || !text_behind(bytes, ready, text)) return broken("a ready that is none");
      if (ready.credit > kCreditMax) return broken("a credit of " + std::to_string(ready.credit));
      ready_ = true;
      if (!packet.fds.empty() && !take_direct(std::move(packet.fds))) return;
      return owner_.link_ready(*this, ready, text);
    }
    case domain::MessageKind::failed: {
      domain::FailedMessage failed;
      if (ready_ || !read_as(bytes, failed) || !text_behind(bytes, failed, text)) return broken("a failure that is none");
      if (failed.code < 1 || failed.code > static_cast<std::uint32_t>(Code::internal))
        return broken("an error code of " + std::to_string(failed.code));
      if (failed.log_size > std::min(text.size(), domain::kLastLinesMax)) return broken("a failure with more lines than it has bytes");
      ready_ = true;  // either is said once
      const std::string_view log = text.substr(text.size() - failed.log_size);
      text.remove_suffix(log.size());
      return owner_.link_failed(*this, Error{static_cast<Code>(failed.code), std::string(text)}, log);
    }
    case domain::MessageKind::log:
      if (bytes.size() != sizeof head + head.size) return broken("a log line of another size than it says");
      return owner_.link_log(*this, bytes.substr(sizeof head));
    case domain::MessageKind::reply_body: return take_body(bytes, std::move(packet));
    default: return broken("a message of kind " + std::to_string(static_cast<std::uint32_t>(head.kind)));
  }
}

bool ProcessLink::take_direct(std::vector<os::Fd>&& brought) {
  if (brought.size() != 2) {
    broken("a socket for direct calls without its program");
    return false;
  }
  auto line = DirectLine::open(loop_, std::move(brought[0]), brought[1],
                               {.answered = [this](Reply&& reply) { answered_directly(std::move(reply)); },
                                .broken = [this](const std::string& how) { broken(how); }});
  // A program that has ended meanwhile is no lie: its host will say so.
  if (!line && line.error().code == Code::invalid_argument) broken(line.error().message);
  if (line) direct_ = *std::move(line);
  return open_;
}

void ProcessLink::take_body(std::string_view bytes, os::Packet&& packet) {
  domain::BodyMessage body;
  if (!read_as(bytes, body) || bytes.size() != sizeof body || packet.fds.size() != 1) return broken("a body without its memory");
  if (bodies_.size() >= kBodiesMax) return broken("more bodies than replies");
  if (body.size > body_max_) return broken("a reply of " + std::to_string(body.size) + " bytes, more than its memory");
  if (!os::is_sealed(packet.fds[0].get(), body.size)) return broken("a body in memory that is not sealed or smaller than it says");
  if (!bodies_.emplace(body.ticket, std::move(packet.fds[0])).second) return broken("two bodies for one reply");
}

void ProcessLink::read_replies() {
  if (to_.broken()) return broken("its ring's indices are out of bounds");
  take_frames();
}

void ProcessLink::take_frames() {
  ASSERT(!in_frames_, "reading frames while reading frames");
  in_frames_ = true;
  read_frames();
  in_frames_ = false;
}

void ProcessLink::read_frames() {
  for (int taken = 0; open_;) {
    const auto frame = from_.front();
    if (!frame) {
      if (from_.broken()) return broken("its ring's indices are out of bounds");
      if (from_.prepare_sleep()) return;
      continue;
    }
    if (++taken > kFramesAtOnce) return os::ring_doorbell(from_bell_.get());
    take_reply(*frame);
    if (open_) from_.pop();
  }
}

void ProcessLink::take_reply(std::span<const std::byte> frame) {
  Reply reply;
  if (!ready_) return broken("a reply before it was ready");
  if (frame.size() < sizeof reply.head) return broken("a reply without a head");
  std::memcpy(&reply.head, frame.data(), sizeof reply.head);
  const auto& head = reply.head;
  if (head.code > static_cast<std::uint8_t>(Code::internal)) return broken("a reply with code " + std::to_string(head.code));
  if (head.part > domain::ReplyPart::end) return broken("a reply's part of no kind");
  if (!domain::is_last(head.part) && (head.code != 0 || head.in_memfd || head.last || head.log_size > 0))
    return broken("a part of a reply that says it is the last");
  const std::size_t behind = frame.size() - sizeof head;
  if (head.in_memfd > 1 || head.json_size > head.body_size || head.log_size > domain::kLastLinesMax)
    return broken("a reply whose sizes disagree");
  if (head.in_memfd) {
    if (behind != head.log_size) return broken("a reply with two bodies");
    if (!bodies_.contains(head.ticket)) read_control();  // sent before the frame, so it has arrived
    const auto body = bodies_.find(head.ticket);
    if (!open_) return;
    if (body == bodies_.end()) return broken("a reply without its body");
    reply.body_memfd = std::move(body->second);
    bodies_.erase(body);
    if (!os::is_sealed(reply.body_memfd.get(), head.body_size)) return broken("a reply larger than its body");
  } else {
    if (behind < head.log_size || behind - head.log_size != head.body_size) return broken("a reply of another size than it says");
    const auto inline_body = frame.subspan(sizeof head, behind - head.log_size);
    body_.assign(reinterpret_cast<const char*>(inline_body.data()), inline_body.size());
    reply.body = body_;
  }
  if (direct_ && domain::is_last(head.part) && !direct_->give_up(head.ticket)) return;
  if (!open_) return;
  if (head.log_size > 0) {
    const auto log = frame.last(head.log_size);
    reply.log.assign(reinterpret_cast<const char*>(log.data()), log.size());
  }
  owner_.link_reply(*this, std::move(reply));
}

}  // namespace mayfly::instances
