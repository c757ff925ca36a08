// The HTTP/1.1 server: accepts connections on a loopback address, reads requests, finds their handler in
// the Router, and sends what the handler answers. Runs on the node's loop; gateway/gateway.h builds it.
//
// Promises: requests of one connection are answered in order, one at a time; every wait and every size has a
// limit (HttpLimits); an idle connection holds a descriptor and less than 1 KiB, and costs no timer; a client
// that leaves is noticed and its handler told; drain() loses no request that was accepted. A client that closes
// only its sending half counts as one that left. Knows nothing of functions, JSON or who may do what.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "gateway/http_types.h"
#include "gateway/router.h"
#include "os/listener.h"
#include "os/loop.h"

namespace mayfly::gateway {

namespace detail {
class Connection;
struct Pending;
struct Workspace;
}  // namespace detail

struct HttpLimits {
  std::size_t connections_max = 20'000;
  Duration head_max = std::chrono::seconds(10);          // first byte of a request to the end of its headers
  Duration idle_max = std::chrono::seconds(75);          // between requests
  Duration body_stall_max = std::chrono::seconds(30);    // without a byte of an expected body
  Duration body_max = std::chrono::minutes(10);          // first byte of a request to the last of its body
  Duration upload_max = std::chrono::hours(6);           // … of a streamed upload
  Duration answer_max = std::chrono::minutes(20);        // a handler's time, then 504; functions have shorter timeouts of their own
  Duration write_stall_max = std::chrono::seconds(30);   // without the client reading a byte of its answer
  std::uint64_t bodies_max = std::uint64_t{2} << 30;     // bytes of bodies over 64 KiB being received, all connections together
  std::uint64_t untaken_max = 4 << 20;                   // of one upload, see Responder::taken()
  std::uint64_t unsent_max = 8 << 20;                    // of one streamed answer
};

// For handlers on the fast path that must know how their answer went; see HttpServer::own().
struct ExchangeOwner {
  // The client left before it was answered, or was told that it took too long. Nothing more is called.
  virtual void on_gone() = 0;
  // The last byte of the answer was handed to the kernel, or the client left before; maybe from inside reply().
  virtual void on_sent(Instant when, std::uint64_t bytes) = 0;
  // Of an answer in pieces, where some had to wait: the kernel has them all. Not from inside begin() or write().
  virtual void on_drained() {}

 protected:
  ~ExchangeOwner() = default;
};

// An answer by views, for the fast path: nothing is copied but what the socket doesn't take at once.
struct RawReply {
  int status = 200;
  std::string_view content_type;
  std::string_view headers;        // further ones, whole lines with CR LF
  std::string_view body;           // or:
  os::Fd body_memfd;               // sealed
  std::uint64_t body_size = 0;     // of body_memfd
  std::uint64_t body_offset = 0;   // of it, where the body begins
};

// How errors that the server itself finds are written (no such route, bad request, too large).
using ErrorForm = std::function<HttpReply(int status, const Error& error, std::string_view path)>;
[[nodiscard]] HttpReply plain_error_form(int status, const Error& error, std::string_view path);

class HttpServer final : os::Watcher {
 public:
  // The router may still be filled until listen().
  HttpServer(os::Loop& loop, const Router& router, HttpLimits limits = {}, ErrorForm error_form = plain_error_form);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] Result<void> listen(std::string_view address);
  [[nodiscard]] Result<void> listen_local(const std::string& path);  // a unix socket there, instead of an address
  const std::string& address() const { return address_; }  // with the real port; "" before listen()

  // Stops accepting, closes idle connections, lets requests in flight finish, then calls `done`; after `wait_max` what is
  // still open is closed.
  void drain(Duration wait_max, std::function<void()> done);

  // The owner hears how the request that `to` answers goes on, and must live until then.
  void own(const Responder& to, ExchangeOwner& owner);
  void reply(const Responder& to, RawReply&& reply);
  // An answer in pieces, as Responder::begin(), to an owner; `body` is its first. Of `length` bytes in all, else chunked.
  void begin(const Responder& to, RawReply&& reply, std::optional<std::uint64_t> length);
  void abort(const Responder& to);  // it can't be completed, and the client must see that: the connection closes

  bool draining() const { return draining_; }
  std::size_t connections() const { return open_; }
  std::uint64_t requests() const { return requests_; }
  std::uint64_t refused_connections() const { return refused_connections_; }

 private:
  friend class detail::Connection;
  friend class Responder;

  void on_events(std::uint32_t events) override;  // of the listening socket
  [[nodiscard]] Result<void> listen(os::Listener listener);
  void accept_some();
  Responder responder_of(std::uint32_t slot, std::uint64_t serial) { return {*this, slot, serial}; }
  [[nodiscard]] detail::Connection* find(const Responder& responder) const;  // null: answered or gone
  void released(detail::Connection& connection);
  void run_soon(detail::Connection& connection);
  void run_queued();
  void expect_deadline(Instant deadline) { if (deadline < sweep_at_) schedule_sweep(deadline); }
  void schedule_sweep(Instant earliest);
  void sweep();
  void end_drain();

  os::Loop& loop_;
  const Router& router_;
  const HttpLimits limits_;
  const ErrorForm error_form_;
  std::unique_ptr<detail::Workspace> workspace_;
  std::unique_ptr<os::Listener> listener_;
  std::string address_;
  std::deque<detail::Connection> table_;          // by slot; stable addresses
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> queued_;             // connections with more to do than one event's worth
  std::size_t open_ = 0;
  std::uint64_t serials_ = 0, requests_ = 0, refused_connections_ = 0, bodies_ = 0;
  Instant sweep_at_ = Instant::never();
  os::Loop::TimerId sweep_timer_, queue_timer_, accept_timer_, drain_timer_;
  bool draining_ = false;
  std::function<void()> drained_;
};

}  // namespace mayfly::gateway
