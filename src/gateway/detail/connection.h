// One connection: what has been read of a request, who answers it, and what of the answer is still to be
// sent. Driven by the loop (its socket's events), by HttpServer (sweeps, continuations) and by the Responder.
// Input is read only while a request is awaited: what a client sends ahead waits in the kernel.
//
// Reading happens in the server's one shared buffer; only a request or an answer that takes more than one turn
// gets a Pending of its own. Everything that a callback may change (the connection may be closed inside any
// of them) is looked at again after it, by `serial_`.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/http_parser.h"
#include "gateway/detail/reply_head.h"
#include "gateway/http_server.h"

namespace mayfly::gateway::detail {

constexpr std::size_t kReadMax = 128 * 1024;            // of one recv into the shared buffer
constexpr std::size_t kTurnMax = 4 << 20;               // bytes of one connection in one turn, then others get theirs
constexpr std::size_t kRequestsPerTurnMax = 64;

// What all connections share: one of them works at a time.
struct Workspace {
  std::array<char, kReadMax> input;
  std::array<HttpHeader, kHeadersMax> headers;
  HttpRequestHead head;
  std::string decoded;                                  // path parameters
  ReplyHead reply;
  std::vector<std::unique_ptr<Pending>> spare;          // emptied
};

// Of a request or an answer that isn't finished in one go.
struct Pending {
  std::string in;                                       // received, not used: the start of a head, or of the next request
  std::size_t scanned = 0;                              // of it, see head_is_decided()
  // The request whose body comes:
  std::string head_bytes;                               // read again once the body is there
  const Route* route = nullptr;
  bool chunked = false, in_file = false, paused = false;
  std::uint64_t body_size = 0, body_got = 0, body_max = 0, untaken = 0, counted = 0;
  std::string body;
  os::Fd file;
  os::Mapping mapping;
  ChunkDecoder chunks;
  std::unique_ptr<UploadSink> sink;
  Instant body_until;
  // The answer:
  std::string out;
  std::size_t out_at = 0;
  os::Fd out_file;
  std::uint64_t out_file_at = 0, out_file_end = 0;
  std::function<void()> gone;
  std::uint64_t stream_left = kChunked;                 // of an answer in pieces whose length was said
  static constexpr std::uint64_t kChunked = ~std::uint64_t{0};
};

class Connection final : public os::Watcher {
 public:
  Connection(HttpServer& server, std::uint32_t slot) : server_(server), slot_(slot) {}

  [[nodiscard]] Result<void> open(os::Fd socket);
  void on_events(std::uint32_t events) override;
  void pump();                                          // goes on where it can
  void close();                                         // at once; tells whoever waits
  void expire();                                        // its deadline has passed
  void close_if_idle();                                 // for a drain

  // Of the Responder and of HttpServer::reply().
  void answer(RawReply&& reply);
  void answer(const HttpReply& reply);
  void begin_stream(const HttpReply& head, std::function<void()> gone, std::optional<std::uint64_t> length);
  void begin_stream(const RawReply& reply, std::optional<std::uint64_t> length);
  void give_up();                                       // the client can't be written to, or must see no end: close soon
  void write_stream(std::string_view bytes);
  void end_stream();
  void taken(std::uint64_t bytes);
  std::uint64_t unsent() const;
  void set_owner(ExchangeOwner& owner) { owner_ = &owner; }

  bool is_open() const { return static_cast<bool>(socket_); }
  bool awaits_answer(std::uint64_t serial) const {
    return serial_ == serial && (state_ == State::answering || state_ == State::streaming || state_ == State::body);
  }
  Instant deadline() const { return deadline_; }
  std::uint32_t slot() const { return slot_; }

  bool queued = false;                                  // HttpServer::run_soon() has it

 private:
  enum class State : std::uint8_t {
    idle,        // nothing of a request is there
    head,        // a part of a head is
    body,        // the head is; the body comes
    answering,   // a handler has the request
    streaming,   // … and has begun to answer in pieces
    sending,     // the answer is complete; the client must read
    lingering,   // the answer was sent; input is dropped until the client closes
  };
  enum class Next : std::uint8_t { more, again, stop };  // input is missing; a request is done; not now

  // Input (connection_read.cpp).
  void read_requests();
  Next take_input(std::string_view input, std::size_t& used);
  Next start_request(const HttpRequestHead& head, std::string_view input, std::size_t& used);
  Next start_body(const Route& route, const HttpRequestHead& head, std::string_view input, std::size_t& used);
  Next start_upload(const Route& route, HttpRequest& request, const HttpRequestHead& head, std::string_view input, std::size_t& used);
  Next refuse_route(const RouteMatch& match, const HttpRequest& request);
  [[nodiscard]] Result<std::uint64_t> body_max(const Route& route, const HttpRequestHead& head, const HttpRequest& request) const;
  [[nodiscard]] HttpRequest request_of(const HttpRequestHead& head) const;
  void dispatch(const Route& route, HttpRequest& request);
  void read_body();
  bool body_is_complete() const { return !pending_->chunked && pending_->body_got == pending_->body_size; }
  std::span<char> body_room();                          // where a recv may write the body itself; else empty
  std::size_t feed_body(std::string_view bytes);        // how many were used; may refuse, finish or leave the state alone
  bool store_body(std::string_view bytes);              // false: refused
  bool grow_body(std::uint64_t bytes);
  void finish_body();
  [[nodiscard]] Result<void> open_body_file(std::uint64_t size);
  void note_progress();
  std::string_view path_of_body() const;                // as sent, with the query; for errors
  void read_and_drop();
  void keep_input(std::string_view rest);

  // Output (connection.cpp).
  Responder responder() const { return server_.responder_of(slot_, serial_); }
  [[nodiscard]] Error late_body() const;                // which of its limits passed
  void refuse(int status, const Error& error, std::string_view path);
  void refuse_and_close(int status, const Error& error, std::string_view path);
  void write_head(int status, std::string_view content_type, std::string_view lines, std::uint64_t length);
  void push(std::string_view bytes);                    // sends, or keeps for later
  void flush();
  bool has_unsent() const { return pending_ && (pending_->out_at < pending_->out.size() || pending_->out_file); }
  void finish_exchange();
  void linger();
  void drop_sink();
  void release_body();
  Pending& pending();
  void tidy_pending();
  void wait_until(Instant deadline) { deadline_ = deadline; server_.expect_deadline(deadline); }
  Instant now() const { return server_.loop_.now(); }

  HttpServer& server_;
  os::Fd socket_;
  std::uint32_t slot_;
  State state_ = State::idle;
  bool readable_ = false;        // there may be input in the kernel
  bool peer_closed_ = false;
  bool reading_ = false;         // inside read_requests() or read_body(): they go on by themselves
  bool broken_ = false;          // found while a handler wrote: closed from pump()
  bool close_after_ = false;     // the answer under way
  bool head_only_ = false, http_1_0_ = false;
  bool body_missing_ = false;    // of the current request: not all was read
  std::uint64_t serial_ = 0;     // of the current request; 0: none
  std::uint64_t sent_ = 0;       // bytes of the current answer
  Instant deadline_ = Instant::never();
  Instant arrived_{};
  ExchangeOwner* owner_ = nullptr;
  std::unique_ptr<Pending> pending_;
};

static_assert(sizeof(Connection) <= 256, "an idle connection is cheap");

}  // namespace mayfly::gateway::detail
