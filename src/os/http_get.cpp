#include "os/http_get.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <vector>

#include "base/http.h"
#include "base/http_reader.h"
#include "base/units.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/outbound.h"

namespace mayfly::os {
namespace {

constexpr std::size_t kRefusalMax = 4096, kPiece = 256 * 1024;
constexpr Duration kLook = std::chrono::milliseconds(200);  // at *stop

struct FreeContext { void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); } };
struct FreeSession { void operator()(SSL* session) const { ::SSL_free(session); } };

// A connection on its way through one GET.
class Exchange {
 public:
  explicit Exchange(const HttpGet& get) : get_(get), begun_(monotonic_now()) {}

  Result<void> connect() {
    TRY(const std::vector<IpBytes> addresses, resolve(get_.host));
    std::string why = "it has no address";
    for (const IpBytes& address : addresses) {
      auto begun = begin_connect(address, get_.port);
      if (!begun) {
        why = begun.error().message;
        continue;
      }
      socket_ = *std::move(begun);
      TRY_VOID(wait(POLLOUT));
      const auto connected = connect_outcome(socket_.get());
      if (connected) return get_.tls ? shake_hands() : Result<void>();
      why = connected.error().message;
    }
    return unavailable(why);
  }

  Result<void> write(std::string_view text) {
    while (!text.empty()) {
      std::size_t size = 0;
      TRY(const bool more, once(POLLOUT, [&] {
        return tls_ ? ::SSL_write_ex(tls_.get(), text.data(), text.size(), &size) : send(text, size);
      }));
      if (!more) return unavailable("it closed the connection");
      text.remove_prefix(size);
    }
    return {};
  }

  // Nothing: its end.
  Result<std::size_t> read(std::span<char> into) {
    std::size_t size = 0;
    TRY(const bool more, once(POLLIN, [&] {
      return tls_ ? ::SSL_read_ex(tls_.get(), into.data(), into.size(), &size) : receive(into, size);
    }));
    return more ? size : 0;
  }

  std::unexpected<Error> unavailable(const std::string& why) const {
    return fail(Code::unavailable, get_.host + ":" + std::to_string(get_.port) + ": " + why);
  }

 private:
  // `since`: of a silence.
  Result<void> go_on(Instant now, Instant since) const {
    if (get_.stop && get_.stop->load()) return fail(Code::cancelled, "the node ends");
    if (now > get_.until || now - begun_ > get_.time_max || now - since > get_.stall_max) return unavailable("it takes too long to answer");
    return {};
  }

  // Until the socket can, however long silence may be.
  Result<void> wait(short what) {
    const Instant since = monotonic_now();
    for (;;) {
      TRY_VOID(go_on(monotonic_now(), since));
      pollfd one{.fd = socket_.get(), .events = what, .revents = 0};
      const int ready = ::poll(&one, 1, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(kLook).count()));
      if (ready < 0 && errno != EINTR) return fail(os_error("poll"));
      if (ready > 0) return {};
    }
  }

  // 1 where it did something; else errno says why not.
  int send(std::string_view text, std::size_t& size) {
    const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    size = sent > 0 ? static_cast<std::size_t>(sent) : 0;
    return sent > 0 ? 1 : -1;
  }
  int receive(std::span<char> into, std::size_t& size) {
    const ssize_t got = ::recv(socket_.get(), into.data(), into.size(), 0);
    size = got > 0 ? static_cast<std::size_t>(got) : 0;
    return got > 0 ? 1 : got == 0 ? 0 : -1;
  }

  // Tries until it did something: true; false at the peer's end. `what` it waits for, where TLS doesn't say another.
  template <class Act>
  Result<bool> once(short what, Act act) {
    for (;;) {
      const Instant now = monotonic_now();
      TRY_VOID(go_on(now, now));      // what never falls silent has its end, too
      ::ERR_clear_error();
      const int done = act();
      if (done == 1) return true;
      if (tls_) {
        const int why = ::SSL_get_error(tls_.get(), done);
        if (why == SSL_ERROR_ZERO_RETURN) return false;
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return unavailable("TLS: " + tls_error());
        what = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
      } else {
        if (done == 0) return false;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return unavailable("the connection broke");
      }
      TRY_VOID(wait(what));
    }
  }

  Result<void> shake_hands() {
    context_.reset(::SSL_CTX_new(::TLS_client_method()));
    if (!context_ || ::SSL_CTX_set_default_verify_paths(context_.get()) != 1) return unavailable("TLS: " + tls_error());
    ::SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    ::SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    tls_.reset(::SSL_new(context_.get()));
    if (!tls_ || ::SSL_set_fd(tls_.get(), socket_.get()) != 1) return unavailable("TLS: " + tls_error());
    X509_VERIFY_PARAM* const checks = ::SSL_get0_param(tls_.get());
    if (::X509_VERIFY_PARAM_set1_ip_asc(checks, get_.host.c_str()) != 1) {  // no address: a name
      ::SSL_set_tlsext_host_name(tls_.get(), get_.host.c_str());
      if (::SSL_set1_host(tls_.get(), get_.host.c_str()) != 1) return unavailable("TLS: " + tls_error());
    }
    TRY(const bool done, once(POLLOUT, [&] { return ::SSL_connect(tls_.get()); }));
    return done ? Result<void>() : unavailable("it closed the connection");
  }

  std::string tls_error() const {
    std::array<char, 256> text{};
    ::ERR_error_string_n(::ERR_get_error(), text.data(), text.size());
    const long verified = tls_ ? ::SSL_get_verify_result(tls_.get()) : X509_V_OK;
    return verified == X509_V_OK ? text.data() : ::X509_verify_cert_error_string(verified);
  }

  const HttpGet& get_;
  const Instant begun_;
  Fd socket_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL, FreeSession> tls_;
};

}  // namespace

std::vector<std::string> HttpGot::headers(std::string_view name) const {
  std::vector<std::string> found;
  std::string_view rest = head;
  for (std::size_t end = rest.find('\n'); end != rest.npos; end = rest.find('\n')) {
    rest.remove_prefix(end + 1);
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !same_word(line.substr(0, colon), name)) continue;
    const std::string_view value = line.substr(colon + 1);
    const std::size_t begin = value.find_first_not_of(" \t\r"), last = value.find_last_not_of(" \t\r");
    found.emplace_back(begin == value.npos ? std::string_view() : value.substr(begin, last - begin + 1));
  }
  return found;
}

std::string HttpGot::header(std::string_view name) const {
  const std::vector<std::string> all = headers(name);
  return all.empty() ? std::string() : all.front();
}

Result<HttpGot> http_get(const HttpGet& get, const std::function<Result<void>(std::span<const std::byte>)>& take) {
  Exchange exchange(get);
  TRY_VOID(exchange.connect());
  const std::string size_line = get.method == "GET" ? "" : "Content-Length: " + std::to_string(get.body.size()) + "\r\n";
  const std::string request_line = std::string(get.method) + " " + get.target + " HTTP/1.1\r\n";
  TRY_VOID(exchange.write(request_line + get.head + size_line + "Connection: close\r\n\r\n"));
  const Result<void> written = exchange.write(get.body);  // one that refuses may answer before it has read all, and close
  HttpReader reader;
  reader.begin();
  HttpGot got;
  std::uint64_t size = 0;
  std::optional<Error> wrong;
  const auto body = [&](std::string_view bytes) {
    if (reader.status() != 200) {
      got.refusal += bytes.substr(0, kRefusalMax - std::min(kRefusalMax, got.refusal.size()));
      return;
    }
    size += bytes.size();
    if (wrong) return;
    if (size > get.size_max.count) wrong = Error{Code::invalid_argument, "it is too large: at most " + to_text(get.size_max)};
    else if (auto taken = take(std::as_bytes(std::span(bytes))); !taken) wrong = taken.error();
  };
  std::vector<char> piece(kPiece);
  while (!reader.done() && !wrong && got.refusal.size() < kRefusalMax) {
    const auto read = exchange.read(piece);
    if (!read) return fail(written ? read.error() : written.error());
    const std::size_t some = *read;
    if (some == 0) {
      if (reader.closed()) break;
      return exchange.unavailable("the answer was cut off");
    }
    TRY(const std::size_t used, reader.feed(std::string_view(piece.data(), some), body));
    if (used < some && !reader.done()) return exchange.unavailable("the answer is not HTTP");
    const std::string_view length = reader.head_done() && reader.status() == 200 ? reader.header("content-length") : std::string_view();
    std::uint64_t told = 0;
    std::from_chars(length.data(), length.data() + length.size(), told);
    if (told > get.size_max.count && !wrong)
      wrong = Error{Code::invalid_argument, "it has " + std::to_string(told) + " bytes: at most " + to_text(get.size_max) + " are taken"};
  }
  if (wrong) return fail(*wrong);
  got.status = reader.status();
  got.head = reader.head_text();
  return got;
}

}  // namespace mayfly::os
