// What a handler sees of HTTP: the request as it came, and the Responder through which it answers, at
// once or later. Filled in and driven by gateway/http_server.h on the loop's thread; a handler never
// touches a socket.
//
// Promises: views in an HttpRequest live until the handler returns; copy what is needed later. A Responder
// is a small value: copy it into callbacks freely. Its first answer counts; everything after the answer, or
// after the client has left, does nothing. It must not be used after its HttpServer is gone.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http.h"
#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

namespace mayfly::gateway {

using mayfly::HttpHeader;
using mayfly::Method;
using mayfly::percent_decoded;
using mayfly::same_word;

constexpr std::size_t kParametersMax = 4;

struct HttpRequest {
  Method method{};
  std::string_view method_text;  // as sent, also where it is Method::other
  std::string_view path;    // as sent, without the query; begins with '/'
  std::string_view query;   // as sent, without the '?'
  std::span<const HttpHeader> headers;
  std::array<std::string_view, kParametersMax> parameters;  // what the pattern's {…} matched, in order, percent-decoded
  std::string body;         // up to domain::kInlineMax bytes, or up to the route's body_max where it asked for text; or:
  os::Fd body_memfd;        // sealed, of body_size bytes
  std::uint64_t body_size = 0;  // of whichever it is
  Instant arrived;          // first byte of the request
  bool of_node = false;     // made by the node itself, for somebody who was let in

  // Value of the first header of this name; "" where there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  // Value of ?name=…, percent-decoded, '+' as space; nothing where it is absent or badly encoded.
  [[nodiscard]] std::optional<std::string> query_value(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";  // "": none is sent
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // further ones; not Content-Length, Date, Connection
};

// The statuses of the twelve codes: 400 401 403 404 409 429 499 504 503 501 500 500.
[[nodiscard]] int http_status(Code code);
// {"error": {"code": "not_found", "message": "…"}} with its status; 429 and 503 carry Retry-After.
// `log`: what code printed last, told in error.details.log: 10 lines and 2 KiB at most.
[[nodiscard]] HttpReply error_reply(const Error& error, std::string_view log = {});

class HttpServer;
struct ExchangeOwner;  // gateway/http_server.h: for handlers that must know when the last byte left

class Responder {
 public:
  Responder() = default;  // answers nobody
  // Tells an answer that is sent whole to the node itself, which asked (gateway/inner_calls.h).
  explicit Responder(std::function<void(HttpReply)> told) : told_(std::move(told)) {}

  // The whole answer.
  void send(HttpReply reply) const;
  void fail(const Error& error) const { send(error_reply(error)); }

  // Or an answer in pieces: begin once, write any number of times, end. `gone` is called (once, not from inside
  // these) if the client leaves before end(). A client that doesn't read makes unsent() grow: stop writing while
  // it is over a limit of yours; over 8 MiB the server gives up on the client.
  // Of `length` bytes in all, where that is known.
  void begin(HttpReply head, std::function<void()> gone = {}, std::optional<std::uint64_t> length = std::nullopt) const;
  void write(std::string_view bytes) const;
  void end() const;
  [[nodiscard]] std::uint64_t unsent() const;

  // Of a streamed upload: so many bytes of what on_chunk() gave are dealt with; lets more of the body in.
  void taken(std::uint64_t bytes) const;

  // The client is there and waits for this answer (or for its end).
  [[nodiscard]] bool alive() const;

 private:
  friend class HttpServer;
  Responder(HttpServer& server, std::uint32_t slot, std::uint64_t serial) : server_(&server), slot_(slot), serial_(serial) {}

  HttpServer* server_ = nullptr;
  std::uint32_t slot_ = 0;
  std::uint64_t serial_ = 0;  // of the request: unique within the server's life
  std::function<void(HttpReply)> told_;
};

// Takes the body of a streamed upload. The server owns it, from the handler's return until just after on_end() or
// on_gone(): callbacks that outlive it capture the Responder and plain values, never `this`.
class UploadSink {
 public:
  virtual ~UploadSink() = default;
  // The next bytes, never empty. The server stops reading while 4 MiB are not yet taken() (see Responder).
  virtual void on_chunk(std::string bytes) = 0;
  // The body is complete: answer through the Responder, now or later.
  virtual void on_end() = 0;
  // It will never be: the client left or was too slow, or an answer was sent before the end. Undo.
  virtual void on_gone() = 0;
};

}  // namespace mayfly::gateway
