#include "app/address.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/http.h"

namespace mayfly::app {
namespace {

std::unexpected<Error> unreachable(const Address& address, const std::string& why) {
  return fail(Code::unavailable,
              "no node answers at " + address.url() + " (" + why + "): start one with 'mayfly serve', or name it with --url or MAYFLY_URL");
}

// 0, or errno.
int finish_connect(int socket, Duration time_max) {
  pollfd waits{.fd = socket, .events = POLLOUT, .revents = 0};
  const auto ms = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time_max).count());
  const int ready = ::poll(&waits, 1, ms);
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

std::string Address::host_header() const { return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port; }
std::string Address::url() const { return "http://" + host_header() + path; }

Result<Address> parse_url(std::string_view text) {
  const auto wrong = [&](const char* why) {
    return fail(Code::invalid_argument,
                "'" + std::string(text.substr(0, 200)) + "' does not name a node (" + why + "): write a URL like http://127.0.0.1:8080");
  };
  std::string_view rest = text;
  if (rest.starts_with("https://")) return wrong("https is not spoken yet");
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  else if (rest.find("://") != std::string_view::npos) return wrong("only http:// is spoken");
  Address address{.host = {}, .port = "8080", .path = {}};
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    address.path = rest.substr(slash);
    while (address.path.ends_with('/')) address.path.pop_back();
    rest = rest.substr(0, slash);
  }
  const bool plain =
      std::none_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f || c == '@' || c == '?' || c == '#'; });
  if (!plain) return wrong("it has a character that does not belong there");
  std::string_view port;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return wrong("a '[' is not closed");
    address.host = rest.substr(1, end - 1);
    port = rest.substr(end + 1);
  } else {
    const auto colon = rest.rfind(':');
    address.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon);
  }
  if (address.host.empty()) return wrong("it has no host");
  if (port.empty()) return address;
  int number = 0;
  const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), number);
  if (port[0] != ':' || error != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535)
    return wrong("its port is not a number from 1 to 65535");
  address.port = std::to_string(number);
  return address;
}

Result<os::Fd> connect(const Address& address, Duration time_max) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found); error != 0)
    return unreachable(address, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  int last = ECONNREFUSED;
  for (const addrinfo* at = found; at; at = at->ai_next) {
    os::Fd socket(::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) {
      last = errno;
      continue;
    }
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int error = ::connect(socket.get(), at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) error = finish_connect(socket.get(), time_max);
    if (error == 0) return socket;
    last = error;
  }
  return unreachable(address, std::strerror(last));
}

std::string encode(std::string_view text) { return percent_encoded(text, "$:"); }

}  // namespace mayfly::app
