#include "worker/h2_forward.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/http_reader.h"
#include "os/listener.h"
#include "worker/detail/h2_request.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kReadMax = 64 * 1024, kWriteMax = 64 * 1024;
constexpr const char* kNotHttp2 = "the program's answer is not valid HTTP/2";
constexpr int kReadsMax = 64;                            // in a row: others have their turn, too
constexpr std::uint32_t kStreamWindow = 1 << 20;         // bytes of an answer that may be under way
constexpr std::int32_t kConnectionWindow = 16 << 20;     // of all answers

struct FreeSession {
  void operator()(nghttp2_session* session) const { ::nghttp2_session_del(session); }
};
using Session = std::unique_ptr<nghttp2_session, FreeSession>;

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace

struct H2Forward::Call {
  std::uint64_t ticket = 0;
  std::string_view bytes;              // head and body, as they were given
  Done done;
  bool again = false;                  // it is sent for the second time
  std::string_view body{};             // what is sent of it
  std::size_t sent = 0;
  std::string status{}, head{}, answer{};
  bool head_done = false;              // of the answer; what follows are trailers
  std::string wrong{};                 // why we reset its stream
  bool untouched() const { return status.empty(); }
};

class H2Forward::Connection final : public os::Watcher {
 public:
  explicit Connection(H2Forward& of) : in_(of) {}
  ~Connection() { close(); }

  void connect() {
    state_ = State::connecting;
    auto socket = os::begin_connect(in_.address_);
    if (socket) socket_ = std::move(*socket);
    if (socket_ && !in_.loop_.watch(socket_.get(), os::kWritable, *this)) socket_.reset();
  }

  void probe(std::function<void(bool)> then) { probed_ = std::move(then); }
  bool dead() const { return state_ == State::dead; }
  bool unmade() const { return state_ == State::connecting && !socket_; }
  bool takes_more() {
    if (state_ == State::connecting) return !probed_;
    if (state_ == State::open && calls_.empty()) read();   // it may have closed meanwhile
    return state_ == State::open && ::nghttp2_session_check_request_allowed(session_.get()) != 0;
  }

  void send(std::unique_ptr<Call> call) {
    if (state_ == State::connecting) return waiting_.push_back(std::move(call));
    submit(std::move(call));
    flush();
  }

  bool drop(std::uint64_t ticket) {
    const auto is_it = [&](const auto& call) { return call->ticket == ticket; };
    if (std::erase_if(waiting_, is_it) > 0 || std::erase_if(again_, is_it) > 0) return true;
    if (std::erase_if(finished_, [&](const auto& each) { return each.first->ticket == ticket; }) > 0) return true;
    const auto at = std::ranges::find_if(calls_, [&](const auto& each) { return each.second->ticket == ticket; });
    if (at == calls_.end()) return false;
    ::nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, at->first, NGHTTP2_CANCEL);
    calls_.erase(at);
    flush();
    return true;
  }

  void fail_all(const std::string& text) {
    close();
    for (auto& [stream, call] : std::exchange(calls_, {})) lose(std::move(call), text);
    for (auto& call : std::exchange(waiting_, {})) lose(std::move(call), text);
    if (probed_) std::exchange(probed_, nullptr)(false);
    settle();
  }

  void on_events(std::uint32_t events) override {
    if (state_ == State::connecting) return connected();
    if (events & ~os::kWritable) read();
    if (state_ == State::open) flush();
  }

 private:
  enum class State : std::uint8_t { connecting, open, dead };

  void close() {
    if (socket_) in_.loop_.unwatch(socket_.get());
    socket_.reset();
    state_ = State::dead;
  }

  void connected() {
    if (!os::is_connected(socket_.get()) || !open_session()) return fail_all("the program takes no connection");
    state_ = State::open;
    for (auto& call : std::exchange(waiting_, {})) submit(std::move(call));
    flush();
    if (probed_) std::exchange(probed_, nullptr)(true);
  }

  bool open_session() {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (::nghttp2_session_callbacks_new(&callbacks) != 0) return false;
    const std::unique_ptr<nghttp2_session_callbacks, void (*)(nghttp2_session_callbacks*)> held(callbacks, ::nghttp2_session_callbacks_del);
    ::nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, [](auto*, const nghttp2_frame* frame, void* self) {
      return of(self).begin_headers(frame->hd.stream_id);
    });
    ::nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](auto*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                      std::size_t value_size, std::uint8_t, void* self) {
          return of(self).take_header(frame->hd.stream_id, text_of(name, name_size), text_of(value, value_size));
        });
    ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](auto*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size, void* self) {
          return of(self).take_data(stream, text_of(data, size));
        });
    ::nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](auto*, const nghttp2_frame* frame, void* self) {
      return of(self).take_frame(*frame);
    });
    ::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](auto*, std::int32_t stream, std::uint32_t code, void* self) {
      return of(self).stream_closed(stream, code);
    });
    ::nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, [](auto*, const nghttp2_frame* frame, int, void* self) {
      return frame->hd.type == NGHTTP2_HEADERS ? of(self).stream_closed(frame->hd.stream_id, NGHTTP2_REFUSED_STREAM) : 0;
    });
    nghttp2_session* session = nullptr;
    if (::nghttp2_session_client_new(&session, callbacks, this) != 0) return false;
    session_.reset(session);
    constexpr std::array<nghttp2_settings_entry, 3> kSettings{{{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kResponseHeadMax}}};
    return ::nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, kSettings.data(), kSettings.size()) == 0 &&
           ::nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
  }

  static Connection& of(void* self) { return *static_cast<Connection*>(self); }

  Call* find(std::int32_t stream) {
    const auto at = calls_.find(stream);
    return at == calls_.end() ? nullptr : at->second.get();
  }

  void submit(std::unique_ptr<Call> call) {
    const auto request = read_h2_request(call->bytes);
    if (!request) return finished_.emplace_back(std::move(call), request.error().message), void();
    call->body = request->body;
    call->sent = 0;
    std::vector<nghttp2_nv> headers;
    for (const auto& [name, value] : request->headers) {
      const auto bytes = [](std::string_view text) {
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
      };
      headers.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    const nghttp2_data_provider body{
        .source = {.ptr = this},
        .read_callback = [](auto*, std::int32_t stream, std::uint8_t* into, std::size_t size, std::uint32_t* flags,
                            nghttp2_data_source* source, void*) { return of(source->ptr).give_body(stream, into, size, *flags); }};
    const std::int32_t stream = ::nghttp2_submit_request(session_.get(), nullptr, headers.data(), headers.size(),
                                                         call->body.empty() ? nullptr : &body, nullptr);
    if (stream < 0)
      return finished_.emplace_back(std::move(call), std::string("the request can't be sent: ") + ::nghttp2_strerror(stream)), void();
    calls_.emplace(stream, std::move(call));
  }

  ssize_t give_body(std::int32_t stream, std::uint8_t* into, std::size_t size, std::uint32_t& flags) {
    Call* call = find(stream);
    if (!call) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;   // its bytes are nobody's any more
    const std::string_view piece = call->body.substr(call->sent, size);
    std::ranges::copy(piece, reinterpret_cast<char*>(into));
    call->sent += piece.size();
    if (call->sent == call->body.size()) flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(piece.size());
  }

  // ---- what the program says; from inside nghttp2, which is not called anew before it returns

  int begin_headers(std::int32_t stream) {
    if (Call* call = find(stream); call && !call->head_done) call->head.clear();  // after an interim answer (1xx)
    return 0;
  }

  int take_header(std::int32_t stream, std::string_view name, std::string_view value) {
    Call* call = find(stream);
    if (!call || call->head_done) return 0;
    if (name == ":status") return call->status = value, 0;
    call->head.append(name).append(": ").append(value).append("\r\n");
    if (call->head.size() <= kResponseHeadMax) return 0;
    call->wrong = "the program's answer has more than 64 KiB of headers";
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  int take_data(std::int32_t stream, std::string_view bytes) {
    Call* call = find(stream);
    if (!call) return 0;
    call->answer.append(bytes);
    if (call->answer.size() <= in_.answer_max_) return 0;
    finish(stream, "the program answers with more than " + std::to_string(in_.answer_max_) + " bytes, as many as are taken");
    return 0;
  }

  int take_frame(const nghttp2_frame& frame) {
    Call* call = find(frame.hd.stream_id);
    if (!call) return 0;
    if (frame.hd.type == NGHTTP2_HEADERS && !call->status.starts_with('1')) call->head_done = true;
    const bool ends = (frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA) && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM);
    if (ends && call->head_done) finish(frame.hd.stream_id, "");
    return 0;
  }

  int stream_closed(std::int32_t stream, std::uint32_t code) {
    Call* call = find(stream);
    if (!call) return 0;
    if (code == NGHTTP2_REFUSED_STREAM && !call->again) {
      again_.push_back(std::move(calls_.extract(stream).mapped()));
      return 0;
    }
    const std::string reason = std::string("the program's answer broke off: its stream was reset, ") + ::nghttp2_http2_strerror(code);
    finish(stream, call->wrong.empty() ? reason : call->wrong);
    return 0;
  }

  // wrong: "" where it has its whole answer.
  void finish(std::int32_t stream, const std::string& wrong) {
    auto call = std::move(calls_.extract(stream).mapped());
    if (!wrong.empty() || call->sent < call->body.size())
      ::nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
    used_ = true;
    finished_.emplace_back(std::move(call), wrong);
  }

  // ---- bytes

  // What is wrong with them; "" where nothing is.
  std::string take(std::string_view bytes) {
    if (!std::exchange(heard_, true) && bytes.starts_with("HTTP/1."))
      return "the program answers in HTTP/1.1, and not in HTTP/2 (h2c): leave protocol out";
    const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
    const ssize_t used = ::nghttp2_session_mem_recv(session_.get(), begin, bytes.size());
    return used < 0 ? std::string(kNotHttp2) + ": " + ::nghttp2_strerror(static_cast<int>(used)) : "";
  }

  void read() {
    if (std::exchange(busy_, true)) return;
    std::string wrong;
    for (int reads = 0; state_ == State::open && wrong.empty() && reads < kReadsMax; ++reads) {
      std::array<char, kReadMax> buffer;
      const os::Moved got = os::receive(socket_.get(), buffer);
      if (got == os::kWouldBlock) break;
      if (got <= 0) {
        // What it broke before is what the session would tell it now.
        const bool sound = write() && ::nghttp2_session_want_read(session_.get());
        wrong = sound ? "the program closed the connection without an answer" : kNotHttp2;
        break;
      }
      wrong = take({buffer.data(), static_cast<std::size_t>(got)});
      if (!::nghttp2_session_want_read(session_.get())) break;   // it broke the rules, or said goodbye: flush() knows
    }
    busy_ = false;
    if (!wrong.empty()) return fail_all(wrong);
    flush();
  }

  void flush() {
    if (state_ != State::open || std::exchange(busy_, true)) return;
    const bool works = write();
    busy_ = false;
    const bool over =
        works && out_.empty() && !::nghttp2_session_want_read(session_.get()) && !::nghttp2_session_want_write(session_.get());
    if (!works || over) return fail_all(kNotHttp2);
    settle();
  }

  bool write() {
    for (;;) {
      while (out_.size() < kWriteMax) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t size = ::nghttp2_session_mem_send(session_.get(), &bytes);
        if (size < 0) return false;
        if (size == 0) break;
        out_.append(text_of(bytes, static_cast<std::size_t>(size)));
      }
      if (out_.empty()) return watch(os::kReadable);
      const os::Moved moved = os::send(socket_.get(), out_);
      if (moved == os::kWouldBlock) return watch(os::kReadable | os::kWritable);
      if (moved < 0) {                                   // what it said before is read, and then its end
        out_.clear();
        return watch(os::kReadable);
      }
      out_.erase(0, static_cast<std::size_t>(moved));
    }
  }

  bool watch(std::uint32_t events) {
    if (events == watched_) return true;
    watched_ = events;
    return in_.loop_.watch(socket_.get(), events, *this).has_value();
  }

  // ---- outcomes

  void lose(std::unique_ptr<Call> call, const std::string& text) {
    if (used_ && call->untouched() && !call->again && may_repeat(call->bytes)) again_.push_back(std::move(call));
    else finished_.emplace_back(std::move(call), call->untouched() ? text : "the program's answer broke off");
  }

  // Whoever is told may send and drop, here too.
  void settle() {
    if (std::exchange(settling_, true)) return;
    while (!finished_.empty() || !again_.empty()) {
      for (auto& [call, wrong] : std::exchange(finished_, {})) {
        if (!wrong.empty()) call->done(fail(Code::unavailable, wrong));
        else call->done(Answer{"HTTP/1.1 " + call->status + " \r\n" + call->head, call->answer});
      }
      for (auto& call : std::exchange(again_, {})) {
        call->again = true;
        in_.send_call(std::move(call));
      }
    }
    settling_ = false;
  }

  H2Forward& in_;
  os::Fd socket_;
  Session session_;
  State state_ = State::dead;
  std::function<void(bool)> probed_;
  std::uint32_t watched_ = 0;
  bool used_ = false, heard_ = false;                    // a call had its outcome here; it has said something
  bool busy_ = false, settling_ = false;
  std::string out_;
  std::vector<std::unique_ptr<Call>> waiting_, again_;   // for the connection; for another one
  std::map<std::int32_t, std::unique_ptr<Call>> calls_;  // by stream
  std::vector<std::pair<std::unique_ptr<Call>, std::string>> finished_;  // with what was wrong; nobody was told yet
};

H2Forward::H2Forward(os::Loop& loop, std::string address, std::uint64_t answer_max)
    : loop_(loop), address_(std::move(address)), answer_max_(answer_max) {
  loop_.before_sleep([this] { bury(); });
}

H2Forward::~H2Forward() = default;

void H2Forward::bury() {
  for (std::size_t i = 0; i < connections_.size(); ++i)
    if (connections_[i]->unmade()) connections_[i]->fail_all("no connection to the program could be made");
  std::erase_if(connections_, [](const auto& connection) { return connection->dead(); });
}

H2Forward::Connection& H2Forward::usable() {
  for (std::size_t i = 0; i < connections_.size(); ++i)
    if (connections_[i]->takes_more()) return *connections_[i];
  return connect();
}

H2Forward::Connection& H2Forward::connect() {
  Connection& made = *connections_.emplace_back(std::make_unique<Connection>(*this));
  made.connect();
  return made;
}

void H2Forward::probe(std::function<void(bool)> then) { connect().probe(std::move(then)); }

void H2Forward::send(std::uint64_t ticket, std::string_view bytes, Done done, Parts) {
  send_call(std::make_unique<Call>(Call{.ticket = ticket, .bytes = bytes, .done = std::move(done)}));
}

void H2Forward::send_call(std::unique_ptr<Call> call) { usable().send(std::move(call)); }

void H2Forward::drop(std::uint64_t ticket) {
  for (std::size_t i = 0; i < connections_.size(); ++i)
    if (connections_[i]->drop(ticket)) return;
}

}  // namespace mayfly::worker
