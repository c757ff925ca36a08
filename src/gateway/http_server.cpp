#include "gateway/http_server.h"

#include <algorithm>
#include <utility>

#include "gateway/detail/connection.h"

namespace mayfly::gateway {
namespace {

constexpr int kAcceptsPerTurnMax = 128;
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);   // out of descriptors: some will be free again
constexpr Duration kSweepGrain = std::chrono::milliseconds(50);
constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Length: 93\r\n\r\n"
    "{\"error\": {\"code\": \"exhausted\", \"message\": \"too many connections: close some, or try later\"}}";

}  // namespace

HttpReply plain_error_form(int status, const Error& error, std::string_view) {
  HttpReply reply = error_reply(error);
  reply.status = status;
  return reply;
}

HttpServer::HttpServer(os::Loop& loop, const Router& router, HttpLimits limits, ErrorForm error_form)
    : loop_(loop), router_(router), limits_(limits), error_form_(std::move(error_form)),
        workspace_(std::make_unique<detail::Workspace>()) {}

HttpServer::~HttpServer() {
  if (listener_) loop_.unwatch(listener_->fd());
  drained_ = {};
  for (detail::Connection& connection : table_) connection.close();
  for (const os::Loop::TimerId timer : {sweep_timer_, queue_timer_, accept_timer_, drain_timer_}) loop_.cancel(timer);
}

Result<void> HttpServer::listen(std::string_view address) {
  TRY(os::Listener listener, os::Listener::create(address));
  return listen(std::move(listener));
}

Result<void> HttpServer::listen_local(const std::string& path) {
  TRY(os::Listener listener, os::Listener::create_local(path));
  return listen(std::move(listener));
}

Result<void> HttpServer::listen(os::Listener listener) {
  TRY_VOID(loop_.watch(listener.fd(), os::kReadable, *this));
  listener_ = std::make_unique<os::Listener>(std::move(listener));
  address_ = listener_->address();
  return {};
}

void HttpServer::on_events(std::uint32_t) { accept_some(); }

void HttpServer::accept_some() {
  for (int i = 0; i < kAcceptsPerTurnMax; ++i) {
    auto accepted = listener_->accept();
    if (!accepted) {
      loop_.unwatch(listener_->fd());
      accept_timer_ = loop_.after(kAcceptPause, [this] {
        if (listener_ && !loop_.watch(listener_->fd(), os::kReadable, *this)) accept_some();
      });
      return;
    }
    if (!*accepted) return;
    if (open_ >= limits_.connections_max) {
      ++refused_connections_;
      [[maybe_unused]] const auto told = os::send(accepted->get(), kFull);
      continue;
    }
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(table_.size()));
      table_.emplace_back(*this, static_cast<std::uint32_t>(table_.size()));
    }
    detail::Connection& connection = table_[free_.back()];
    free_.pop_back();
    ++open_;
    if (!connection.open(*std::move(accepted))) connection.close();
  }
}

detail::Connection* HttpServer::find(const Responder& responder) const {
  if (responder.serial_ == 0) return nullptr;
  auto& connection = const_cast<detail::Connection&>(table_[responder.slot_]);
  return connection.awaits_answer(responder.serial_) ? &connection : nullptr;
}

void HttpServer::own(const Responder& to, ExchangeOwner& owner) {
  if (detail::Connection* connection = find(to)) connection->set_owner(owner);
}

void HttpServer::reply(const Responder& to, RawReply&& reply) {
  if (detail::Connection* connection = find(to)) connection->answer(std::move(reply));
}

void HttpServer::begin(const Responder& to, RawReply&& reply, std::optional<std::uint64_t> length) {
  if (detail::Connection* connection = find(to)) connection->begin_stream(reply, length);
}

void HttpServer::abort(const Responder& to) {
  if (detail::Connection* connection = find(to)) connection->give_up();
}

void HttpServer::released(detail::Connection& connection) {
  free_.push_back(connection.slot());
  --open_;
  if (draining_ && open_ == 0) end_drain();
}

void HttpServer::run_soon(detail::Connection& connection) {
  if (std::exchange(connection.queued, true)) return;
  queued_.push_back(connection.slot());
  if (queue_timer_.number == 0) queue_timer_ = loop_.after({}, [this] { run_queued(); });
}

void HttpServer::run_queued() {
  queue_timer_ = {};
  for (const std::uint32_t slot : std::exchange(queued_, {})) {
    table_[slot].queued = false;
    table_[slot].pump();
  }
}

void HttpServer::schedule_sweep(Instant earliest) {
  const Instant at = std::max(earliest, loop_.now()) + kSweepGrain;
  if (at >= sweep_at_) return;                          // never put off: whoever goes on would keep the others'
  loop_.cancel(sweep_timer_);
  sweep_at_ = at;
  sweep_timer_ = loop_.at(sweep_at_, [this] { sweep(); });
}

void HttpServer::sweep() {
  sweep_at_ = Instant::never();
  const Instant now = loop_.now();
  Instant earliest = Instant::never();
  for (detail::Connection& connection : table_) {
    if (!connection.is_open()) continue;
    if (connection.deadline() <= now) connection.expire();
    if (connection.is_open()) earliest = std::min(earliest, connection.deadline());
  }
  if (earliest < sweep_at_) schedule_sweep(earliest);
}

void HttpServer::drain(Duration wait_max, std::function<void()> done) {
  if (draining_) return;
  if (listener_) {
    loop_.unwatch(listener_->fd());
    accept_some();                                      // who has connected already is served
  }
  draining_ = true;
  drained_ = std::move(done);
  listener_.reset();
  loop_.cancel(accept_timer_);
  for (detail::Connection& connection : table_) connection.close_if_idle();
  if (open_ == 0) return end_drain();
  drain_timer_ = loop_.after(wait_max, [this] {
    for (detail::Connection& connection : table_) connection.close();
  });
}

void HttpServer::end_drain() {
  if (!drained_) return;
  loop_.cancel(drain_timer_);
  // Not from inside a connection that is being closed.
  loop_.after({}, std::exchange(drained_, {}));
}

void Responder::send(HttpReply reply) const {
  if (told_) return told_(std::move(reply));
  if (detail::Connection* connection = server_ ? server_->find(*this) : nullptr) connection->answer(reply);
}

void Responder::begin(HttpReply head, std::function<void()> gone, std::optional<std::uint64_t> length) const {
  if (detail::Connection* connection = server_ ? server_->find(*this) : nullptr) connection->begin_stream(head, std::move(gone), length);
}

void Responder::write(std::string_view bytes) const {
  if (detail::Connection* connection = server_ ? server_->find(*this) : nullptr) connection->write_stream(bytes);
}

void Responder::end() const {
  if (detail::Connection* connection = server_ ? server_->find(*this) : nullptr) connection->end_stream();
}

std::uint64_t Responder::unsent() const {
  const detail::Connection* connection = server_ ? server_->find(*this) : nullptr;
  return connection ? connection->unsent() : 0;
}

void Responder::taken(std::uint64_t bytes) const {
  if (detail::Connection* connection = server_ ? server_->find(*this) : nullptr) connection->taken(bytes);
}

bool Responder::alive() const { return told_ || (server_ && server_->find(*this)); }

}  // namespace mayfly::gateway
