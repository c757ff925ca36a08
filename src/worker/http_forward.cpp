#include "worker/http_forward.h"

#include <array>
#include <charconv>
#include <utility>

#include "base/http_reader.h"
#include "os/listener.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kReadMax = 64 * 1024;
constexpr std::uint64_t kWholeMax = 32 * 1024;      // an answer of such a length is waited for,
constexpr Duration kWholeWait = std::chrono::milliseconds(10);  // so long: servers send heads and bodies apart

bool is_small(std::string_view content_length) {
  std::uint64_t size = kWholeMax;
  const char *begin = content_length.data(), *end = begin + content_length.size();
  return begin != end && std::from_chars(begin, end, size).ec == std::errc() && size < kWholeMax;
}

}  // namespace

struct HttpForward::Connection final : os::Watcher {
  enum class State : std::uint8_t { connecting, idle, busy, dead };

  explicit Connection(HttpForward& of) : in(of) {}
  ~Connection() { close(); }

  void close() {
    in.loop_.cancel(patience);
    if (socket) in.loop_.unwatch(socket.get());
    socket.reset();
    state = State::dead;
  }

  void watch(std::uint32_t events) {
    if (!in.loop_.watch(socket.get(), events, *this)) fail_with("no connection to the program could be watched");
  }

  void on_events(std::uint32_t events) override {
    if (state == State::connecting) return connected();
    if (state == State::idle) return close();       // it said something that nobody asked, or closed
    if (events & os::kWritable) write();
    if (state == State::busy && (events & ~os::kWritable)) read();
  }

  void connected() {
    const bool works = os::is_connected(socket.get());
    if (probed) {
      if (works) {
        state = State::idle;
        watch(os::kReadable);
      } else {
        close();
      }
      return std::exchange(probed, nullptr)(works);
    }
    if (!works) return fail_with("the program takes no connection");
    begin();
  }

  // The request that it was given.
  void begin() {
    state = State::busy;
    sent = 0;
    body.clear();
    begun = waits = paused = false;
    reader.begin(bytes.starts_with("HEAD "));
    write();
  }

  void write() {
    while (sent < bytes.size()) {
      const os::Moved moved = os::send(socket.get(), bytes.substr(sent));
      if (moved == os::kWouldBlock) return watch(os::kReadable | os::kWritable);
      if (moved < 0) {  // maybe it has answered without reading everything
        sent_all = false;
        return watch(os::kReadable);
      }
      sent += static_cast<std::size_t>(moved);
    }
    sent_all = true;
    watch(os::kReadable);
  }

  void read() {
    while (state == State::busy) {
      std::array<char, kReadMax> buffer;
      const os::Moved got = os::receive(socket.get(), buffer);
      if (got == os::kWouldBlock) return parts.begins && reader.head_done() ? pass_on(true) : void();
      if (got <= 0) {
        if (got == 0 && reader.closed()) return finish(false);
        return lost();
      }
      const std::string_view received(buffer.data(), static_cast<std::size_t>(got));
      const auto used = reader.feed(received, [this](std::string_view piece) { body.append(piece); });
      if (!used) return fail_with("the program's " + used.error().message);
      if (!parts.begins && body.size() > in.answer_max_)
        return fail_with("the program answers with more than " + std::to_string(in.answer_max_) + " bytes, as many as are taken");
      if (reader.done()) return finish(*used == received.size());
      if (!parts.begins || body.size() < kReadMax) continue;
      pass_on(false);
      if (paused) return;
    }
  }

  // What has come, and it is not all.
  void pass_on(bool may_wait) {
    if (may_wait && !begun && is_small(reader.header("content-length"))) {
      if (!std::exchange(waits, true)) patience = in.loop_.after(kWholeWait, [this] { pass_on(false); });
      return;
    }
    in.loop_.cancel(patience);
    const std::string text = std::exchange(body, {});
    if (!std::exchange(begun, true)) parts.begins(std::string(reader.head_text()), text);
    else if (!text.empty()) parts.piece(text);
    if (state != State::busy || !parts.full()) return;
    paused = true;
    in.loop_.unwatch(socket.get());
  }

  void resume() {
    if (!std::exchange(paused, false) || state != State::busy) return;
    watch(sent_all ? os::kReadable : os::kReadable | os::kWritable);
  }

  void lost() {
    if (reused && reader.untouched() && may_repeat(bytes)) {
      const std::uint64_t number = ticket;
      const std::string_view again = bytes;
      Done then = std::exchange(done, nullptr);
      HttpForward& forward = in;
      close();
      return forward.send_new(number, again, std::move(then), parts);
    }
    fail_with(reader.untouched() ? "the program closed the connection without an answer" : "the program's answer broke off");
  }

  void finish(bool clean) {
    const bool keep = clean && sent_all && reader.keep_alive();
    const Done then = std::exchange(done, nullptr);
    const std::string head(begun ? std::string_view() : reader.head_text());
    const std::string text = std::exchange(body, {});
    ticket = 0;
    bytes = {};
    in.loop_.cancel(patience);
    if (keep) {
      state = State::idle;
      reused = true;
    } else {
      close();
    }
    then(Answer{head, text});
  }

  void fail_with(const std::string& text) {
    const Done then = std::exchange(done, nullptr);
    ticket = 0;
    close();
    if (then) then(fail(Code::unavailable, text));
  }

  HttpForward& in;
  os::Fd socket;
  State state = State::dead;
  bool reused = false, sent_all = false;
  std::function<void(bool)> probed;
  bool begun = false, waits = false, paused = false;  // of an answer that is passed on
  os::Loop::TimerId patience{};
  std::uint64_t ticket = 0;
  std::string_view bytes;
  std::size_t sent = 0;
  Done done;
  Parts parts;
  HttpReader reader;
  std::string body;
};

HttpForward::HttpForward(os::Loop& loop, std::string address, std::uint64_t answer_max)
    : loop_(loop), address_(std::move(address)), answer_max_(answer_max) {
  loop_.before_sleep([this] { bury(); });
}

HttpForward::~HttpForward() = default;

void HttpForward::bury() {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    Connection& failed = *connections_[i];
    if (failed.state != Connection::State::connecting || failed.socket) continue;
    if (failed.probed) std::exchange(failed.probed, nullptr)(false);
    failed.fail_with("no connection to the program could be made");
  }
  std::erase_if(connections_, [](const auto& connection) { return connection->state == Connection::State::dead; });
}

HttpForward::Connection& HttpForward::connect() {
  Connection& made = *connections_.emplace_back(std::make_unique<Connection>(*this));
  made.state = Connection::State::connecting;
  if (auto socket = os::begin_connect(address_)) {
    made.socket = std::move(*socket);
    if (loop_.watch(made.socket.get(), os::kWritable, made)) return made;
  }
  if (made.socket) made.socket.reset();
  return made;                                        // without a socket: bury() says so
}

HttpForward::Connection* HttpForward::take_idle() {
  for (const auto& connection : connections_) {
    if (connection->state != Connection::State::idle) continue;
    std::array<char, 1> byte;
    if (os::receive(connection->socket.get(), byte) == os::kWouldBlock) return connection.get();
    connection->close();                              // it closed meanwhile
  }
  return nullptr;
}

void HttpForward::probe(std::function<void(bool)> then) { connect().probed = std::move(then); }

void HttpForward::send(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts) {
  Connection* idle = take_idle();
  if (!idle) return send_new(ticket, bytes, std::move(done), std::move(parts));
  idle->parts = std::move(parts);
  idle->ticket = ticket;
  idle->bytes = bytes;
  idle->done = std::move(done);
  idle->begin();
}

void HttpForward::send_new(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts) {
  Connection& made = connect();
  made.parts = std::move(parts);
  made.ticket = ticket;
  made.bytes = bytes;
  made.done = std::move(done);
}

void HttpForward::resume(std::uint64_t ticket) {
  for (const auto& connection : connections_)
    if (connection->ticket == ticket && connection->done) return connection->resume();
}

void HttpForward::drop(std::uint64_t ticket) {
  for (const auto& connection : connections_) {
    if (connection->ticket != ticket || !connection->done) continue;
    connection->done = nullptr;
    connection->ticket = 0;
    connection->close();
  }
}

}  // namespace mayfly::worker
