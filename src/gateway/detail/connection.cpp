#include "gateway/detail/connection.h"

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace mayfly::gateway::detail {
namespace {

constexpr std::size_t kCopiedBodyMax = 16 * 1024;       // copying so much is cheaper than a second piece for the kernel
constexpr std::size_t kSparesMax = 64;
constexpr Duration kLingerMax = std::chrono::seconds(2);

std::string header_lines(const HttpReply& reply) {
  std::string lines;
  for (const auto& [name, value] : reply.headers)
    if ((name + value).find_first_of("\r\n") == std::string::npos) lines.append(name).append(": ").append(value).append("\r\n");
  return lines;
}

}  // namespace

Result<void> Connection::open(os::Fd socket) {
  socket_ = std::move(socket);
  state_ = State::idle;
  peer_closed_ = broken_ = close_after_ = body_missing_ = false;
  readable_ = true;
  // All that will ever be asked for, once; edges, so that nothing has to be switched on and off.
  TRY_VOID(server_.loop_.watch(socket_.get(), os::kReadable | os::kWritable | os::kPeerClosed | os::kEdge, *this));
  wait_until(now() + server_.limits_.head_max);         // the first request has to come sooner than later ones
  return {};
}

void Connection::on_events(std::uint32_t events) {
  if (events & (os::kBroken | os::kHangup)) return close();
  if (events & os::kPeerClosed) peer_closed_ = true;
  if (events & (os::kReadable | os::kPeerClosed)) readable_ = true;
  if ((events & os::kWritable) && has_unsent()) flush();
  pump();
}

void Connection::pump() {
  if (!socket_ || reading_) return;
  for (int rounds = 0; !broken_; ++rounds) {
    const bool has_input = readable_ || (pending_ && !pending_->in.empty());
    if (!has_input) break;
    if (rounds == 4) {
      server_.run_soon(*this);
      break;
    }
    if (state_ == State::idle || state_ == State::head) {
      read_requests();
      if (!readable_ && state_ != State::body) break;   // what is kept is not a whole request
    } else if (state_ == State::body && !pending_->paused) {
      read_body();
    } else {
      break;
    }
  }
  if (broken_) return close();
  if (state_ == State::lingering && readable_) read_and_drop();
  if (peer_closed_ && (state_ == State::answering || state_ == State::streaming || (state_ == State::body && pending_->paused))) close();
}

void Connection::read_and_drop() {
  auto& input = server_.workspace_->input;
  for (std::size_t turn = 0; turn < kTurnMax;) {
    const os::Moved got = os::receive(socket_.get(), input);
    if (got == os::kWouldBlock) {
      readable_ = false;
      return;
    }
    if (got <= 0) return close();
    turn += static_cast<std::size_t>(got);
  }
  close();  // it sends on and on: enough
}

void Connection::close() {
  if (!socket_) return;
  if (reading_) {                                       // whoever reads closes, once out of the handlers
    broken_ = true;
    return;
  }
  server_.loop_.unwatch(socket_.get());
  socket_.reset();
  const bool answered = state_ == State::sending || state_ == State::lingering;
  ExchangeOwner* owner = std::exchange(owner_, nullptr);
  serial_ = 0;
  state_ = State::idle;
  deadline_ = Instant::never();
  std::function<void()> gone;
  if (pending_) gone = std::exchange(pending_->gone, {});
  drop_sink();
  release_body();
  if (pending_) {
    *pending_ = {};
    tidy_pending();
  }
  server_.released(*this);
  if (owner) answered ? owner->on_sent(now(), sent_) : owner->on_gone();
  if (gone && !answered) gone();
}

void Connection::close_if_idle() {
  if (state_ == State::idle && socket_) pump();
  if (state_ == State::idle) close();
}

void Connection::expire() {
  deadline_ = Instant::never();
  switch (state_) {
    case State::head:
      return refuse_and_close(408, {Code::deadline_exceeded, "the request's headers did not come in time: " +
          to_text(server_.limits_.head_max) + " at most (http.head_max); send them at once"}, "");
    case State::body:
      return refuse_and_close(408, late_body(), path_of_body());
    case State::answering: {
      if (ExchangeOwner* owner = std::exchange(owner_, nullptr)) owner->on_gone();
      return refuse_and_close(504, {Code::deadline_exceeded, "no answer within the " + to_text(server_.limits_.answer_max) +
          " that one may take (http.answer_max): ask for less at a time"}, "");
    }
    default:
      return close();
  }
}

Error Connection::late_body() const {
  const HttpLimits& limits = server_.limits_;
  if (now() < pending_->body_until)
    return {Code::deadline_exceeded, "the request's body did not come in time: nothing of it for " + to_text(limits.body_stall_max) +
        " (http.body_stall_max); bytes must keep coming"};
  return {Code::deadline_exceeded, "the request's body did not come in time: all of it within " +
      (pending_->sink ? to_text(limits.upload_max) + " (http.upload_max)" : to_text(limits.body_max) + " (http.body_max)") +
      "; send it faster, or less at a time"};
}

void Connection::refuse_and_close(int status, const Error& error, std::string_view path) {
  close_after_ = body_missing_ = true;
  refuse(status, error, path);
}

void Connection::refuse(int status, const Error& error, std::string_view path) { answer(server_.error_form_(status, error, path)); }

void Connection::answer(const HttpReply& reply) {
  const std::string lines = header_lines(reply);
  answer(RawReply{.status = reply.status, .content_type = reply.content_type, .headers = lines, .body = reply.body});
}

void Connection::write_head(int status, std::string_view content_type, std::string_view lines, std::uint64_t length) {
  if (body_missing_ || server_.draining_) close_after_ = true;
  ReplyHead& head = server_.workspace_->reply;
  head.begin(now(), status);
  if (!content_type.empty()) head.add("Content-Type", content_type);
  if (length != ReplyHead::kNoLength && status != 204) head.add_length(length);
  head.add_lines(lines);
  if (length == ReplyHead::kNoLength && !head_only_) {
    if (http_1_0_) close_after_ = true;
    else head.add("Transfer-Encoding", "chunked");
  }
  if (close_after_) head.add("Connection", "close");
  else if (http_1_0_) head.add("Connection", "keep-alive");
  head.end();
}

void Connection::answer(RawReply&& reply) {
  if (state_ == State::streaming) return;               // it has begun to answer otherwise
  const bool in_file = static_cast<bool>(reply.body_memfd);
  write_head(reply.status, reply.content_type, reply.headers, in_file ? reply.body_size - reply.body_offset : reply.body.size());
  ReplyHead& head = server_.workspace_->reply;
  const std::string_view body = head_only_ || in_file ? std::string_view() : reply.body;
  state_ = State::sending;
  if (body.size() <= kCopiedBodyMax) {
    head.append_body(body);
    push(head.bytes());
  } else if (has_unsent()) {
    push(head.bytes());
    push(body);
  } else {
    const std::string_view first = head.bytes();
    const os::Moved moved = os::send(socket_.get(), first, body);
    if (moved == os::kPeerGone) return give_up();
    const std::size_t sent = moved > 0 ? static_cast<std::size_t>(moved) : 0;
    sent_ += sent;
    if (sent < first.size()) pending().out.append(first.substr(sent));
    const std::size_t of_body = sent > first.size() ? sent - first.size() : 0;
    if (of_body < body.size()) pending().out.append(body.substr(of_body));
  }
  if (broken_) return;
  if (in_file && !head_only_ && reply.body_size > reply.body_offset) {
    Pending& p = pending();
    p.out_file = std::move(reply.body_memfd);
    p.out_file_at = reply.body_offset;
    p.out_file_end = reply.body_size;
  }
  if (!reading_) drop_sink();
  if (!has_unsent()) return finish_exchange();
  wait_until(now() + server_.limits_.write_stall_max);
  if (in_file) flush();
}

void Connection::push(std::string_view bytes) {
  if (broken_) return;
  std::size_t sent = 0;
  if (!has_unsent()) {
    const os::Moved moved = os::send(socket_.get(), bytes);
    if (moved == os::kPeerGone) return give_up();
    if (moved > 0) sent = static_cast<std::size_t>(moved);
    sent_ += sent;
    if (sent == bytes.size()) return;
  }
  pending().out.append(bytes.substr(sent));
}

void Connection::give_up() {
  broken_ = true;
  server_.run_soon(*this);
}

void Connection::flush() {
  Pending& p = pending();
  if (p.out_at < p.out.size()) {
    const os::Moved moved = os::send(socket_.get(), std::string_view(p.out).substr(p.out_at));
    if (moved == os::kPeerGone) return give_up();
    if (moved > 0) {
      p.out_at += static_cast<std::size_t>(moved);
      sent_ += static_cast<std::uint64_t>(moved);
      wait_until(now() + server_.limits_.write_stall_max);
    }
    if (p.out_at < p.out.size()) return;
    p.out.clear();
    p.out_at = 0;
  }
  while (p.out_file) {
    const os::Moved moved = os::send_file(socket_.get(), p.out_file.get(), p.out_file_at, p.out_file_end - p.out_file_at);
    if (moved == os::kWouldBlock) return;
    if (moved <= 0) return give_up();                   // 0: the file is shorter than was said
    sent_ += static_cast<std::uint64_t>(moved);
    wait_until(now() + server_.limits_.write_stall_max);
    if (p.out_file_at >= p.out_file_end) p.out_file.reset();
  }
  if (state_ == State::sending) return finish_exchange();
  if (state_ != State::streaming) return;
  deadline_ = Instant::never();
  if (owner_) owner_->on_drained();
}

void Connection::finish_exchange() {
  serial_ = 0;
  if (pending_) pending_->gone = {};
  if (ExchangeOwner* owner = std::exchange(owner_, nullptr)) owner->on_sent(now(), sent_);
  if (close_after_) return body_missing_ ? linger() : close();
  state_ = State::idle;
  wait_until(now() + server_.limits_.idle_max);
  if (reading_) return;
  tidy_pending();
  if (readable_ || pending_) server_.run_soon(*this);
}

void Connection::linger() {
  // Closing with unread input would reset the connection, and the client might never see the answer.
  state_ = State::lingering;
  os::shut_writing(socket_.get());
  wait_until(now() + kLingerMax);
  if (!reading_ && readable_) server_.run_soon(*this);
}

void Connection::begin_stream(const HttpReply& reply, std::function<void()> gone, std::optional<std::uint64_t> length) {
  if (state_ == State::streaming) return;
  const std::string lines = header_lines(reply);
  begin_stream({.status = reply.status, .content_type = reply.content_type, .headers = lines, .body = reply.body}, length);
  if (state_ == State::streaming) pending().gone = std::move(gone);
}

void Connection::begin_stream(const RawReply& reply, std::optional<std::uint64_t> length) {
  if (state_ == State::streaming) return;
  head_only_ = head_only_ || reply.status == 204 || reply.status == 304;
  write_head(reply.status, reply.content_type, reply.headers, length.value_or(ReplyHead::kNoLength));
  state_ = State::streaming;
  deadline_ = Instant::never();
  pending().stream_left = length.value_or(Pending::kChunked);
  push(server_.workspace_->reply.bytes());
  if (has_unsent()) wait_until(now() + server_.limits_.write_stall_max);
  if (!reading_) drop_sink();
  if (!reply.body.empty()) write_stream(reply.body);
}

void Connection::write_stream(std::string_view bytes) {
  if (state_ != State::streaming || bytes.empty() || head_only_ || broken_) return;
  if (unsent() + bytes.size() > server_.limits_.unsent_max) return give_up();
  const bool stalled = has_unsent();
  if (std::uint64_t& left = pending_->stream_left; left != Pending::kChunked) {
    if (bytes.size() > left) return give_up();          // the next answer would begin in the middle of it
    left -= bytes.size();
    push(bytes);
  } else if (http_1_0_) {
    push(bytes);
  } else {
    char size[24];
    const auto end = std::to_chars(size, size + 20, bytes.size(), 16).ptr;
    std::string chunk(size, static_cast<std::size_t>(end - size));
    chunk.append("\r\n").append(bytes).append("\r\n");
    push(chunk);
  }
  if (!stalled && has_unsent()) wait_until(now() + server_.limits_.write_stall_max);
}

void Connection::end_stream() {
  if (state_ != State::streaming || broken_) return;
  if (!head_only_ && pending_->stream_left == Pending::kChunked && !http_1_0_) push("0\r\n\r\n");
  if (!head_only_ && pending_->stream_left != Pending::kChunked && pending_->stream_left > 0) return give_up();
  pending_->stream_left = Pending::kChunked;
  if (broken_) return;
  state_ = State::sending;
  close_after_ = close_after_ || server_.draining_;     // its head said nothing of that
  if (!has_unsent()) finish_exchange();
  else wait_until(now() + server_.limits_.write_stall_max);
}

std::uint64_t Connection::unsent() const { return has_unsent() ? pending_->out.size() - pending_->out_at : 0; }

void Connection::drop_sink() {
  if (!pending_ || !pending_->sink) return;
  const std::unique_ptr<UploadSink> sink = std::move(pending_->sink);
  sink->on_gone();
}

Pending& Connection::pending() {
  if (!pending_) {
    auto& spare = server_.workspace_->spare;
    if (spare.empty()) {
      pending_ = std::make_unique<Pending>();
    } else {
      pending_ = std::move(spare.back());
      spare.pop_back();
    }
  }
  return *pending_;
}

// Gives the Pending back once nothing is in it, so that an idle connection holds none.
void Connection::tidy_pending() {
  if (!pending_ || state_ != State::idle || !pending_->in.empty() || has_unsent()) return;
  release_body();
  *pending_ = {};
  if (auto& spare = server_.workspace_->spare; spare.size() < kSparesMax) spare.push_back(std::move(pending_));
  pending_.reset();
}

}  // namespace mayfly::gateway::detail
