#include "worker/code_port.h"

#include <array>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kReadMax = 64 * 1024;
constexpr int kAccepted = 202;
constexpr std::size_t kAheadMax = 1 << 20;   // sent before the answer to an earlier request

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    default: return "Error";
  }
}

std::string head_of(const RuntimeReply& reply, bool closes) {
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " " + std::string(reason_of(reply.status)) +
                     "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n";
  for (const auto& [name, value] : reply.headers) head.append(name).append(": ").append(value).append("\r\n");
  return head + (closes ? "Connection: close\r\n\r\n" : "\r\n");
}

}  // namespace

struct CodePort::Connection final : os::Watcher {
  enum class State : std::uint8_t { head, body, answering, closing };

  Connection(CodePort& of, os::Fd fd, ConnectionId number) : port(of), socket(std::move(fd)), id(number) {}
  ~Connection() {
    if (socket) port.loop_.unwatch(socket.get());
  }

  void on_events(std::uint32_t events) override {
    if (events & os::kWritable) flush();
    if (events & ~os::kWritable) read();
  }

  // Until nothing more is there: a read that was not filled says so. An end behind it is told by the loop's next turn.
  void read() {
    while (!broken && !paused) {
      std::array<char, kReadMax> bytes;
      const os::Moved got = os::receive(socket.get(), bytes);
      if (got == os::kWouldBlock) break;
      if (got <= 0) return lose();
      in.append(bytes.data(), static_cast<std::size_t>(got));
      use_input();
      if (in.size() > kAheadMax) return lose();
      if (static_cast<std::size_t>(got) < bytes.size()) break;
    }
  }

  void use_input() {
    if (std::exchange(using_input, true)) return;  // answered from inside a handler: the loop below goes on
    while (!broken && (state == State::head || state == State::body) && (state == State::head ? use_head() : use_body())) {}
    using_input = false;
    if (out.size() > sent && !(state == State::answering && may_wait)) flush();
  }

  bool use_head() {  // false: not whole, or refused
    if (in.empty() || !head_is_decided(in, scanned)) return false;
    std::array<HttpHeader, kHeadersMax> storage;
    HttpRequestHead head;
    const HeadVerdict verdict = parse_head(in, storage, head);
    if (verdict.kind == HeadVerdict::incomplete) return false;
    if (verdict.kind == HeadVerdict::refused) return refuse(verdict.status, verdict.reason);
    scanned = 0;
    head_text = in.substr(0, verdict.used);
    left = head.length;
    chunked = head.chunked;
    keep_alive = head.keep_alive;
    chunks = {};
    ending.clear();
    body.clear();
    too_large = left > port.body_max_;
    passes = chunked && port.handlers_.streams && port.handlers_.streams(id, head.path, head.headers);
    in.erase(0, verdict.used);                          // what `head` points into
    state = State::body;
    if (head.expects_continue && in.empty()) send("HTTP/1.1 100 Continue\r\n\r\n");
    return true;
  }

  bool use_body() {  // false: more must come, or refused
    if (!chunked) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, in.size()));
      store(std::string_view(in).substr(0, size));
      in.erase(0, size);
      left -= size;
      return left == 0 && hand_on();
    }
    std::size_t used = 0;
    for (;;) {
      const ChunkDecoder::Out piece = chunks.next(std::string_view(in).substr(used));
      used += piece.used;
      if (piece.step == ChunkDecoder::Step::refused) return refuse(400, chunks.reason());
      if (piece.step == ChunkDecoder::Step::data) {
        store(piece.data);
        ending.clear();
        continue;
      }
      ending += std::string_view(in).substr(used - piece.used, piece.used);
      in.erase(0, used);
      return piece.step == ChunkDecoder::Step::end && hand_on();
    }
  }

  void store(std::string_view bytes) {
    if (passes) {
      if (!port.handlers_.piece(id, bytes) && !std::exchange(paused, true)) listen();
      return;
    }
    too_large = too_large || body.size() + bytes.size() > port.body_max_;
    if (too_large) body.clear();
    else body.append(bytes);
  }

  // Views into `ending`: what came behind the last chunk's bytes.
  std::vector<HttpHeader> trailers() const {
    std::vector<HttpHeader> found;
    for (std::string_view rest = ending; !rest.empty();) {
      const std::size_t end = std::min(rest.find("\r\n"), rest.size());
      const std::string_view line = rest.substr(0, end);
      const std::size_t colon = line.find(':');
      rest.remove_prefix(std::min(end + 2, rest.size()));
      if (colon == line.npos) continue;
      std::string_view value = line.substr(colon + 1);
      value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
      found.push_back({line.substr(0, colon), value});
    }
    return found;
  }

  HttpRequestHead read_again(std::array<HttpHeader, kHeadersMax>& storage) const {
    HttpRequestHead head;
    ASSERT(parse_head(head_text, storage, head).kind == HeadVerdict::complete, "a head that was read before can't be read again");
    return head;
  }

  bool hand_on() {
    std::array<HttpHeader, kHeadersMax> storage;
    const HttpRequestHead head = read_again(storage);
    state = State::answering;
    passes = false;
    resume();
    const std::vector<HttpHeader> behind = trailers();
    port.handlers_.request(id, {.method = head.method, .path = head.path, .headers = head.headers, .body = std::exchange(body, {}),
                                .too_large = too_large, .trailers = behind});
    return true;
  }

  // What its socket is to tell.
  void listen() {
    const std::uint32_t events = (paused ? 0 : os::kReadable) | (writing ? os::kWritable : 0);
    if (events == 0) port.loop_.unwatch(socket.get());
    else if (!port.loop_.watch(socket.get(), events, *this)) lose();
  }

  void resume() {
    if (std::exchange(paused, false) && !broken) listen();
  }

  void tell_broken(const std::string& why) {
    passes = false;
    if (!port.handlers_.broke_off) return;
    std::array<HttpHeader, kHeadersMax> storage;
    port.handlers_.broke_off(id, read_again(storage).path, why);
  }

  bool refuse(int status, std::string_view reason) {
    const RuntimeReply reply{.status = status,
                             .body = "{\"errorMessage\":\"" + std::string(reason) + "\",\"errorType\":\"InvalidRequest\"}"};
    if (std::exchange(state, State::closing) == State::body) tell_broken("it can't be read: " + std::string(reason));
    send(head_of(reply, true) + reply.body);
    return false;
  }

  void answer(RuntimeReply&& reply) {
    state = keep_alive ? State::head : State::closing;
    // That its answer was accepted is of no use to a program that waits for its next event already: it is told so with that, and not
    // woken twice for one call.
    may_wait = reply.status == kAccepted && (out.empty() || may_wait);
    out += head_of(reply, !keep_alive);
    out += reply.body;
    use_input();
  }

  void send(std::string bytes) {
    if (out.empty()) out = std::move(bytes);
    else out += bytes;
    flush();
  }

  void flush() {
    while (!broken && sent < out.size()) {
      const os::Moved moved = os::send(socket.get(), std::string_view(out).substr(sent));
      if (moved == os::kWouldBlock) {
        writing = true;
        return listen();
      }
      if (moved < 0) return lose();
      sent += static_cast<std::size_t>(moved);
    }
    out.clear();
    sent = 0;
    if (std::exchange(writing, false)) listen();
    if (state == State::closing) lose();
  }

  void lose() {
    if (std::exchange(broken, true)) return;
    port.loop_.unwatch(socket.get());
    if (state == State::answering) port.handlers_.left(id);
    if (passes) tell_broken("its connection closed before it had ended");
  }

  CodePort& port;
  os::Fd socket;
  const ConnectionId id;
  State state = State::head;
  bool broken = false, using_input = false, writing = false;
  std::string in, head_text, body, out;
  std::string ending;                  // of a chunked body, at most what its decoder takes of it
  std::size_t scanned = 0, sent = 0;   // of `in`, see head_is_decided(); of `out`
  std::uint64_t left = 0;              // of the body, where it is not chunked
  ChunkDecoder chunks;
  bool passes = false, paused = false;  // the body, to whom it may concern; nothing is read now
  bool chunked = false, keep_alive = true, too_large = false, may_wait = false;  // may_wait: all of `out` says no more than "accepted"
};

Result<std::unique_ptr<CodePort>> CodePort::create(os::Loop& loop, std::string_view address, std::uint64_t body_max, Handlers handlers) {
  TRY(os::Listener listener, os::Listener::create(address));
  std::unique_ptr<CodePort> port(new CodePort(loop, std::move(listener), body_max, std::move(handlers)));
  TRY_VOID(loop.watch(port->listener_.fd(), os::kReadable, *port));
  return port;
}

CodePort::CodePort(os::Loop& loop, os::Listener listener, std::uint64_t body_max, Handlers handlers)
    : loop_(loop), listener_(std::move(listener)), body_max_(body_max), handlers_(std::move(handlers)) {
  loop_.before_sleep([this] { bury(); });
}

CodePort::~CodePort() { loop_.unwatch(listener_.fd()); }

void CodePort::on_events(std::uint32_t) { accept_all(); }

void CodePort::accept_all() {
  for (;;) {
    auto socket = listener_.accept();
    if (!socket || !*socket) return;
    if (connections_.size() < kConnectionsMax) static_cast<void>(adopt(std::move(*socket)));  // else it is closed
  }
}

Result<void> CodePort::adopt(os::Fd connected) {
  const ConnectionId id = ++connections_made_;
  auto connection = std::make_unique<Connection>(*this, std::move(connected), id);
  TRY_VOID(loop_.watch(connection->socket.get(), os::kReadable, *connection));
  connections_.emplace(id, std::move(connection));
  return {};
}

void CodePort::read_all() {
  accept_all();
  for (const auto& [id, connection] : connections_) connection->read();
}

void CodePort::bury() {
  std::erase_if(connections_, [](const auto& entry) { return entry.second->broken; });
}

void CodePort::resume(ConnectionId from) {
  const auto at = connections_.find(from);
  if (at != connections_.end()) at->second->resume();
}

void CodePort::answer(ConnectionId to, RuntimeReply&& reply) {
  const auto at = connections_.find(to);
  if (at != connections_.end() && !at->second->broken) at->second->answer(std::move(reply));
}

}  // namespace mayfly::worker
