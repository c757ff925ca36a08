// The reading half of a connection: heads, bodies, and handing requests to their handlers.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/units.h"
#include "domain/frame.h"
#include "gateway/detail/connection.h"

namespace mayfly::gateway::detail {

using domain::kInlineMax;

void Connection::read_requests() {
  auto& input = server_.workspace_->input;
  std::size_t begin = 0, end = 0, requests = 0;
  bool starved = true;
  reading_ = true;
  if (pending_ && !pending_->in.empty()) {
    end = pending_->in.copy(input.data(), input.size());
    pending_->in.clear();
    starved = state_ == State::head;                    // then it was not a whole head
  }
  while (!broken_ && (state_ == State::idle || state_ == State::head)) {
    if (!starved) {
      std::size_t used = 0;
      const Next next = take_input({input.data() + begin, end - begin}, used);
      begin += used;
      if (next == Next::stop) break;
      if (next == Next::again && ++requests == kRequestsPerTurnMax) {
        server_.run_soon(*this);
        break;
      }
      if (next == Next::again && begin < end) continue;
      starved = true;
    }
    if (!readable_) break;
    if (begin > 0) std::memmove(input.data(), input.data() + begin, end - begin);
    end -= std::exchange(begin, 0);
    const std::span<char> room(input.data() + end, input.size() - end);
    const os::Moved got = os::receive(socket_.get(), room);
    if (got == os::kWouldBlock) {
      readable_ = false;
    } else if (got <= 0) {
      broken_ = true;
    } else {
      // Less than there was room for: that was all. Not so where the end is to be read behind it.
      if (static_cast<std::size_t>(got) < room.size() && !peer_closed_) readable_ = false;
      end += static_cast<std::size_t>(got);
      starved = false;
    }
  }
  if (!broken_) keep_input({input.data() + begin, end - begin});
  reading_ = false;
  if (state_ != State::body) drop_sink();
  tidy_pending();
}

void Connection::keep_input(std::string_view rest) {
  if (!rest.empty() && state_ != State::lingering) pending().in.assign(rest);
}

Connection::Next Connection::take_input(std::string_view input, std::size_t& used) {
  Workspace& space = *server_.workspace_;
  if (state_ == State::idle) arrived_ = now();
  if (state_ == State::head && pending_ && !head_is_decided(input, pending_->scanned)) return Next::more;
  const HeadVerdict verdict = parse_head(input, space.headers, space.head);
  switch (verdict.kind) {
    case HeadVerdict::incomplete:
      if (state_ == State::idle) wait_until(arrived_ + server_.limits_.head_max);
      state_ = State::head;
      return Next::more;
    case HeadVerdict::refused:
      sent_ = 0;
      head_only_ = http_1_0_ = false;
      refuse_and_close(verdict.status, {Code::invalid_argument, "this is not a request that the node reads: " +
          std::string(verdict.reason)}, "");
      return Next::stop;
    case HeadVerdict::complete: break;
  }
  used = verdict.used;
  if (pending_) pending_->scanned = 0;
  return start_request(space.head, input, used);
}

HttpRequest Connection::request_of(const HttpRequestHead& head) const {
  HttpRequest request;
  request.method = head.method;
  request.method_text = head.method_text;
  request.path = head.path;
  request.query = head.query;
  request.headers = head.headers;
  request.arrived = arrived_;
  return request;
}

Connection::Next Connection::start_request(const HttpRequestHead& head, std::string_view input, std::size_t& used) {
  ++server_.requests_;
  serial_ = ++server_.serials_;
  sent_ = 0;
  head_only_ = head.method == Method::head;
  http_1_0_ = head.http_1_0;
  close_after_ = !head.keep_alive;
  body_missing_ = head.has_body();
  HttpRequest request = request_of(head);
  const RouteMatch match = server_.router_.match(request, server_.workspace_->decoded);
  if (!match.route) return refuse_route(match, request);
  if (!body_missing_ && !match.route->upload) {
    dispatch(*match.route, request);
    return state_ == State::idle ? Next::again : Next::stop;
  }
  const auto limit = body_max(*match.route, head, request);
  if (!limit) {
    refuse(http_status(limit.error().code), limit.error(), request.path);
    return Next::stop;
  }
  if (head.length > *limit) {
    refuse(413, {Code::invalid_argument, "a body of " + to_text(Bytes{head.length}) + "; at most " + to_text(Bytes{*limit}) +
        " are taken here: send less at a time"}, request.path);
    return state_ == State::idle ? Next::again : Next::stop;
  }
  const bool is_here = !head.chunked && head.length <= input.size() - used;
  if (is_here && !match.route->upload && (head.length <= kInlineMax || match.route->body_as_text)) {
    request.body.assign(input.substr(used, static_cast<std::size_t>(head.length)));
    request.body_size = head.length;
    used += static_cast<std::size_t>(head.length);
    body_missing_ = false;
    dispatch(*match.route, request);
    return state_ == State::idle ? Next::again : Next::stop;
  }
  Pending& p = pending();
  p.head_bytes.assign(input.substr(0, used));
  p.body_max = *limit;
  return match.route->upload ? start_upload(*match.route, request, head, input, used) : start_body(*match.route, head, input, used);
}

Connection::Next Connection::refuse_route(const RouteMatch& match, const HttpRequest& request) {
  const std::string path(request.path.substr(0, 200));
  if (!match.allowed.empty()) {
    std::string allowed;
    for (const Method method : match.allowed) allowed.append(allowed.empty() ? "" : ", ").append(name(method));
    HttpReply reply = server_.error_form_(405, {Code::unimplemented, "'" + path + "' takes " + allowed + " only"}, request.path);
    reply.headers.emplace_back("Allow", allowed);
    answer(reply);
  } else {
    std::string message = "no such path: '" + path + "'";
    const auto near = server_.router_.near(request.path);
    for (std::size_t i = 0; i < near.size(); ++i) message.append(i == 0 ? "; near it: " : ", ").append(near[i]);
    refuse(404, {Code::not_found, message}, request.path);
  }
  return state_ == State::idle ? Next::again : Next::stop;
}

Result<std::uint64_t> Connection::body_max(const Route& route, const HttpRequestHead& head, const HttpRequest& request) const {
  if (route.body_limit && (head.chunked || head.length > kInlineMax)) return route.body_limit(request);
  return route.body_limit ? kInlineMax : route.body_max;
}

void Connection::dispatch(const Route& route, HttpRequest& request) {
  state_ = State::answering;
  wait_until(now() + server_.limits_.answer_max);
  route.handler(request, responder());
}

Connection::Next Connection::start_body(const Route& route, const HttpRequestHead& head, std::string_view input, std::size_t& used) {
  Pending& p = *pending_;
  p.route = &route;
  p.chunked = head.chunked;
  p.chunks = {};
  p.body_size = head.length;
  p.body_got = 0;
  p.in_file = p.paused = false;
  p.body_until = arrived_ + server_.limits_.body_max;
  state_ = State::body;
  note_progress();
  if (!p.chunked) {
    if (!grow_body(head.length)) return Next::stop;
    if (head.length > kInlineMax && !route.body_as_text) {
      if (const auto opened = open_body_file(head.length); !opened) {
        refuse_and_close(503, opened.error(), head.path);
        return Next::stop;
      }
    } else {
      p.body.resize(static_cast<std::size_t>(head.length));
    }
  }
  if (head.expects_continue && used == input.size()) push("HTTP/1.1 100 Continue\r\n\r\n");
  if (used < input.size()) used += feed_body(input.substr(used));
  return state_ == State::idle ? Next::again : Next::stop;
}

Connection::Next Connection::start_upload(const Route& route, HttpRequest& request, const HttpRequestHead& head, std::string_view input,
    std::size_t& used) {
  Pending& p = *pending_;
  p.route = &route;
  p.chunked = head.chunked;
  p.chunks = {};
  p.body_size = head.length;
  p.body_got = p.untaken = 0;
  p.in_file = p.paused = false;
  p.body_until = arrived_ + server_.limits_.upload_max;
  state_ = State::body;
  note_progress();
  auto sink = route.upload(request, responder());
  if (state_ != State::body || broken_) {               // answered: a refusal
    if (sink) sink->on_gone();
    return state_ == State::idle ? Next::again : Next::stop;
  }
  ASSERT(sink, "an upload's handler gave neither a sink nor an answer");
  pending().sink = std::move(sink);
  if (head.expects_continue && used == input.size()) push("HTTP/1.1 100 Continue\r\n\r\n");
  used += feed_body(input.substr(used));
  return state_ == State::idle ? Next::again : Next::stop;
}

void Connection::note_progress() { wait_until(std::min(pending_->body_until, now() + server_.limits_.body_stall_max)); }

std::string_view Connection::path_of_body() const {
  std::string_view bytes = pending_->head_bytes;
  bytes.remove_prefix(std::min(bytes.find('/'), bytes.size()));
  return bytes.substr(0, bytes.find(' '));
}

bool Connection::grow_body(std::uint64_t bytes) {
  Pending& p = *pending_;
  if (p.body_got + bytes <= kInlineMax) return true;
  const std::uint64_t more = p.body_got + bytes - std::min(p.counted, p.body_got + bytes);
  if (server_.bodies_ + more > server_.limits_.bodies_max) {
    refuse_and_close(503, {Code::exhausted, "bodies of " + to_text(Bytes{server_.bodies_}) +
        " are being received already, with this one they would pass the node's " + to_text(Bytes{server_.limits_.bodies_max}) +
        " (http.bodies_max): try again later"}, path_of_body());
    return false;
  }
  server_.bodies_ += more;
  p.counted += more;
  return true;
}

Result<void> Connection::open_body_file(std::uint64_t size) {
  Pending& p = *pending_;
  TRY(p.file, os::make_memfd("mayfly-body", size));
  TRY(p.mapping, os::map_file(p.file.get(), size, os::Access::write));
  p.in_file = true;
  return {};
}

void Connection::release_body() {
  if (!pending_) return;
  server_.bodies_ -= std::exchange(pending_->counted, 0);
  pending_->body.clear();
  pending_->mapping.reset();
  pending_->file.reset();
}

std::span<char> Connection::body_room() {
  Pending& p = *pending_;
  if (p.chunked || p.sink) return {};
  char* data = p.mapping ? reinterpret_cast<char*>(p.mapping.data()) : p.body.data();
  return {data + p.body_got, static_cast<std::size_t>(p.body_size - p.body_got)};
}

void Connection::read_body() {
  auto& input = server_.workspace_->input;
  reading_ = true;
  if (!pending_->in.empty()) {                          // kept while the upload was paused, or behind an earlier request
    const std::string in = std::exchange(pending_->in, {});
    const std::size_t used = feed_body(in);
    if (!broken_) keep_input(std::string_view(in).substr(used));
  }
  for (std::size_t turn = 0; state_ == State::body && !broken_ && readable_ && !pending_->paused;) {
    if (turn >= kTurnMax) {
      server_.run_soon(*this);
      break;
    }
    const std::span<char> direct = body_room();
    std::span<char> room = direct.empty() ? std::span<char>(input) : direct.first(std::min(direct.size(), kTurnMax));
    if (direct.empty() && !pending_->chunked)
      room = room.first(static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), pending_->body_size - pending_->body_got)));
    const os::Moved got = os::receive(socket_.get(), room);
    if (got == os::kWouldBlock) {
      readable_ = false;
    } else if (got <= 0) {
      broken_ = true;
    } else {
      const auto size = static_cast<std::size_t>(got);
      if (size < room.size() && !peer_closed_) readable_ = false;
      turn += size;
      note_progress();
      if (direct.empty()) {
        const std::size_t used = feed_body({room.data(), size});
        if (!broken_) keep_input({room.data() + used, size - used});
      } else {
        pending_->body_got += size;
        if (body_is_complete()) finish_body();
      }
    }
  }
  reading_ = false;
  if (state_ != State::body) drop_sink();
  tidy_pending();
}

std::size_t Connection::feed_body(std::string_view bytes) {
  const std::uint64_t serial = serial_;
  const auto ended = [&] { return broken_ || state_ != State::body || serial_ != serial; };
  if (!pending_->chunked) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), pending_->body_size - pending_->body_got));
    if (size > 0 && (!store_body(bytes.substr(0, size)) || ended())) return bytes.size();
    if (body_is_complete()) finish_body();
    return size;
  }
  for (std::size_t used = 0;;) {
    const ChunkDecoder::Out out = pending_->chunks.next(bytes.substr(used));
    used += out.used;
    switch (out.step) {
      case ChunkDecoder::Step::data:
        if (pending_->body_got + out.data.size() > pending_->body_max) {
          refuse_and_close(413, {Code::invalid_argument, "the body is larger than the " + to_text(Bytes{pending_->body_max}) +
              " that are taken here: send less at a time"}, path_of_body());
          return bytes.size();
        }
        if (!store_body(out.data) || ended()) return bytes.size();
        break;
      case ChunkDecoder::Step::more: return used;
      case ChunkDecoder::Step::end:
        finish_body();
        return used;
      case ChunkDecoder::Step::refused:
        refuse_and_close(400, {Code::invalid_argument, "the chunked body is malformed: " + std::string(pending_->chunks.reason())},
            path_of_body());
        return bytes.size();
    }
  }
}

bool Connection::store_body(std::string_view bytes) {
  Pending& p = *pending_;
  if (p.sink) {
    p.body_got += bytes.size();
    p.untaken += bytes.size();
    p.paused = p.untaken > server_.limits_.untaken_max;
    if (p.paused) wait_until(p.body_until);             // the disk's time, not the client's
    p.sink->on_chunk(std::string(bytes));
    return true;
  }
  if (!p.chunked) {
    std::memcpy(body_room().data(), bytes.data(), bytes.size());
    p.body_got += bytes.size();
    return true;
  }
  if (!grow_body(bytes.size())) return false;
  if (!p.in_file && p.body_got + bytes.size() > kInlineMax && !p.route->body_as_text) {
    auto file = os::make_memfd("mayfly-body", 0);
    const auto moved = file ? os::append(file->get(), p.body) : Result<void>(fail(file.error()));
    if (!moved) return refuse_and_close(503, moved.error(), path_of_body()), false;
    p.file = *std::move(file);
    p.in_file = true;
    p.body.clear();
  }
  if (!p.in_file) {
    p.body.append(bytes);
  } else if (const auto appended = os::append(p.file.get(), bytes); !appended) {
    return refuse_and_close(503, appended.error(), path_of_body()), false;
  }
  p.body_got += bytes.size();
  return true;
}

void Connection::finish_body() {
  body_missing_ = false;
  if (pending_->sink) {
    const std::unique_ptr<UploadSink> sink = std::move(pending_->sink);
    state_ = State::answering;
    wait_until(now() + server_.limits_.answer_max);
    sink->on_end();
    return;
  }
  Pending& p = *pending_;
  const Route& route = *p.route;
  const std::string head_bytes = std::move(p.head_bytes);  // the handler may end the exchange and with it the Pending
  Workspace& space = *server_.workspace_;
  const HeadVerdict verdict = parse_head(head_bytes, space.headers, space.head);
  ASSERT(verdict.kind == HeadVerdict::complete, "a head that was read before can't be read again");
  HttpRequest request = request_of(space.head);
  ASSERT(server_.router_.match(request, space.decoded).route == &route, "the routes changed under a request");
  request.body_size = p.body_got;
  if (p.in_file) {
    p.mapping.reset();
    if (const auto sealed = os::seal(p.file); !sealed) return refuse_and_close(500, sealed.error(), request.path);
    request.body_memfd = std::move(p.file);
  } else {
    request.body = std::move(p.body);
  }
  release_body();
  dispatch(route, request);
}

void Connection::taken(std::uint64_t bytes) {
  if (!pending_ || state_ != State::body) return;
  Pending& p = *pending_;
  p.untaken -= std::min(p.untaken, bytes);
  if (!p.paused || p.untaken > server_.limits_.untaken_max / 2) return;
  p.paused = false;
  note_progress();
  if (!reading_) server_.run_soon(*this);
}

}  // namespace mayfly::gateway::detail
