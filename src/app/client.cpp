#include "app/client.h"

#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "app/terminal.h"
#include "app/version.h"
#include "base/distance.h"
#include "base/units.h"
#include "domain/json.h"

namespace mayfly::app {
namespace {

constexpr Duration kConnectMax = std::chrono::seconds(5);

std::unexpected<Error> lost(const Address& address, const std::string& why) {
  return fail(Code::data_loss, "the node at " + address.url() + " broke off: " + why);
}

Result<void> wait_for(int socket, short events, Duration wait_max, const Address& address) {
  pollfd waits{.fd = socket, .events = events, .revents = 0};
  const auto ms = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(wait_max).count());
  int ready = 0;
  do ready = ::poll(&waits, 1, ms);
  while (ready < 0 && errno == EINTR);
  if (ready > 0) return {};
  if (ready < 0) return lost(address, std::strerror(errno));
  return fail(Code::deadline_exceeded,
              "the node at " + address.url() + " said nothing for " + to_text(wait_max) + ": it is overloaded or stuck");
}

// What one call sends and reads; sending stops where the answer comes before the whole body is sent (a refusal).
class Exchange {
 public:
  Exchange(int socket, const Address& address, Duration wait_max, bool no_body, std::function<void()> waiting = {})
      : socket_(socket), address_(address), wait_max_(wait_max), waiting_(std::move(waiting)) {
    reader_.begin(no_body);
  }

  // False: the node has answered already or reads no more; go on with read().
  Result<bool> send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EPIPE || errno == ECONNRESET) return false;
      if (errno != EAGAIN) return lost(address_, std::strerror(errno));
      TRY_VOID(wait_for(socket_, POLLIN | POLLOUT, wait_max_, address_));
      char peek = 0;
      if (::recv(socket_, &peek, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) return false;
    }
    return true;
  }

  // Reads until the answer ends or `body` returns false.
  Result<void> read(const std::function<bool(std::string_view)>& body) {
    std::string buffer(256 * 1024, '\0');
    bool more = true;
    while (more && !reader_.done()) {
      TRY_VOID(wait_to_read());
      const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (count < 0) return lost(address_, std::strerror(errno));
      if (count == 0) {
        if (reader_.closed()) return {};
        return lost(address_, reader_.untouched() ? "it closed the connection without an answer" : "its answer was cut off");
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(count));
      TRY_VOID(reader_.feed(bytes, [&](std::string_view piece) { more = more && body(piece); }));
    }
    return {};
  }
  HttpReader& reader() { return reader_; }

 private:
  Result<void> wait_to_read() {
    constexpr Duration kTold = std::chrono::seconds(1);
    for (Duration waited{}; waiting_ && waited + kTold < wait_max_; waited += kTold) {
      const auto ready = wait_for(socket_, POLLIN, kTold, address_);
      if (ready || ready.error().code != Code::deadline_exceeded) return ready;
      waiting_();
    }
    return wait_for(socket_, POLLIN, wait_max_, address_);
  }

  const int socket_;
  const Address& address_;
  const Duration wait_max_;
  const std::function<void()> waiting_;
  HttpReader reader_;
};

Result<HttpReply> read_reply(Exchange& exchange) {
  HttpReply reply;
  bool too_long = false;
  TRY_VOID(exchange.read([&](std::string_view bytes) {
    too_long = reply.body.size() + bytes.size() > kReplyMax;
    if (!too_long) reply.body += bytes;
    return !too_long;
  }));
  if (too_long) return fail(Code::data_loss, "the answer has more than " + to_text(Bytes{kReplyMax}) + ": ask for less");
  reply.status = exchange.reader().status();
  reply.head = exchange.reader();
  return reply;
}

}  // namespace

Result<os::Fd> Client::open() const { return connect(address_, kConnectMax); }

std::string Client::head_of(const Call& call, std::uint64_t body_size) const {
  std::string head = call.method + " " + address_.path + call.path + " HTTP/1.1\r\nHost: " + address_.host_header() +
                     "\r\nUser-Agent: mayfly/" + std::string(kVersion) + "\r\nConnection: close\r\n";
  if (body_size > 0 || call.method == "POST" || call.method == "PUT") head += "Content-Length: " + std::to_string(body_size) + "\r\n";
  for (const std::string& header : call.headers) head += header + "\r\n";
  return head + "\r\n";
}

Result<HttpReply> Client::call(const Call& call) const {
  TRY(const os::Fd socket, open());
  Exchange exchange(socket.get(), address_, call.wait_max, call.method == "HEAD", call.waiting);
  TRY(const bool more, exchange.send(head_of(call, call.body.size())));
  if (more) TRY_VOID(exchange.send(call.body));
  return read_reply(exchange);
}

Result<HttpReply> Client::upload(const std::string& path, int file, std::uint64_t size,
                                 const std::function<void(std::uint64_t)>& progress) const {
  TRY(const os::Fd socket, open());
  const Call call{.method = "PUT",
                  .path = path,
                  .body = {},
                  .headers = {"Content-Type: application/octet-stream"},
                  .wait_max = std::chrono::minutes(2)};
  Exchange exchange(socket.get(), address_, call.wait_max, false);
  TRY(bool more, exchange.send(head_of(call, size)));
  std::string buffer(256 * 1024, '\0');
  for (std::uint64_t sent = 0; more && sent < size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - sent));
    const ssize_t count = ::pread(file, buffer.data(), wanted, static_cast<off_t>(sent));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Code::internal, "the file can't be read: " + std::string(std::strerror(errno)));
    if (count == 0) return fail(Code::internal, "the file became shorter while it was sent: deploy again once nothing writes it");
    TRY(more, exchange.send({buffer.data(), static_cast<std::size_t>(count)}));
    sent += static_cast<std::uint64_t>(count);
    progress(sent);
  }
  return read_reply(exchange);
}

Result<HttpReply> Client::follow(const std::string& path, const std::function<bool(std::string_view)>& line) const {
  TRY(const os::Fd socket, open());
  Exchange exchange(socket.get(), address_, std::chrono::hours(24), false);
  TRY(const bool more, exchange.send(head_of({.path = path}, 0)));
  (void)more;
  HttpReply reply;
  std::string waiting;
  TRY_VOID(exchange.read([&](std::string_view bytes) {
    waiting += bytes;
    if (exchange.reader().status() >= 300) return waiting.size() < (1 << 20);
    std::size_t begin = 0;
    for (auto end = waiting.find('\n'); end != std::string::npos; end = waiting.find('\n', begin)) {
      if (!line(std::string_view(waiting).substr(begin, end - begin))) return false;
      begin = end + 1;
    }
    waiting.erase(0, begin);
    return waiting.size() < (16 << 20);
  }));
  reply.status = exchange.reader().status();
  reply.head = exchange.reader();
  reply.body = std::move(waiting);
  return reply;
}

Error error_of(const HttpReply& reply) {
  Error error{.code = reply.status == 404 ? Code::not_found : Code::internal, .message = {}};
  const Json body = domain::parse_json<Json>(reply.body);
  if (body.is_object() && body.contains("error")) {
    const Json& said = body["error"];
    if (said.is_string()) error.message = said.get<std::string>();
    else if (said.is_object() && said.contains("message") && said["message"].is_string())
      error.message = said["message"].get<std::string>();
  }
  if (error.message.empty()) error.message = "the node answered with status " + std::to_string(reply.status) + " and no message";
  error.message = printable(error.message);
  return error;
}

Result<void> check(const HttpReply& reply) {
  if (reply.ok()) return {};
  return fail(error_of(reply));
}

Result<Json> Client::json(const Call& call) const {
  TRY(const HttpReply reply, this->call(call));
  TRY_VOID(check(reply));
  if (reply.body.empty()) return Json::object();
  Json json = domain::parse_json<Json>(reply.body);
  if (json.is_discarded())
    return fail(Code::data_loss,
                "the answer to " + call.method + " " + call.path + " is not JSON: is " + address_.url() + " a Mayfly node?");
  return json;
}

std::vector<std::string> nearest(std::string_view name, const std::vector<std::string>& known, std::size_t count) {
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const std::string& other : known) {
    const std::size_t distance = edit_distance(name, other);
    const bool prefix = name.size() >= 2 && other.starts_with(name);
    if (distance <= 1 + std::min(name.size(), other.size()) / 4 || prefix)
      found.emplace_back(prefix ? std::min<std::size_t>(distance, 2) : distance, other);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(count, found.size()); ++i) names.push_back(found[i].second);
  return names;
}

}  // namespace mayfly::app
