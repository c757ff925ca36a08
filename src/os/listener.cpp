#include "os/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

namespace mayfly::os {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<SocketAddress> parse_address(std::string_view text, bool inside = false) {
  const std::size_t colon = text.rfind(':');
  const std::string quoted = "'" + std::string(text) + "'";
  const Error malformed{Code::invalid_argument, "listen address " + quoted + " is not HOST:PORT; write it like 127.0.0.1:8080"};
  if (colon == text.npos) return fail(malformed);
  std::string host(text.substr(0, colon));
  const std::string_view port_text = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size()) return fail(malformed);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  bool loopback = false;
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    std::copy_n(reinterpret_cast<const char*>(&v4), sizeof v4, reinterpret_cast<char*>(&address.storage));
    address.size = sizeof v4;
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    std::copy_n(reinterpret_cast<const char*>(&v6), sizeof v6, reinterpret_cast<char*>(&address.storage));
    address.size = sizeof v6;
  } else {
    return fail(malformed);
  }
  if (!loopback && !inside)
    return fail(Code::permission_denied, "listen address " + quoted +
        " can be reached from other machines, and this version has neither keys nor TLS: "
        "whoever reached it could deploy and delete. Listen on 127.0.0.1 or [::1], and put a proxy that authenticates in front");
  return address;
}

// A path of any length: the kernel takes 108 bytes, so its folder is named by a descriptor, held by the caller meanwhile.
struct LocalAddress {
  sockaddr_un address{};
  Fd folder;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

Result<LocalAddress> local_address(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path);
  LocalAddress local;
  local.folder = Fd(::open(whole.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!local.folder) return fail(os_error("open", whole.parent_path().string()));
  const std::string near = "/proc/self/fd/" + std::to_string(local.folder.get()) + "/" + whole.filename().string();
  const std::string& named = whole.native().size() < sizeof local.address.sun_path ? whole.native() : near;
  if (named.size() >= sizeof local.address.sun_path)
    return fail(Code::invalid_argument, "the name of a unix socket is too long: " + whole.filename().string());
  local.address.sun_family = AF_UNIX;
  named.copy(local.address.sun_path, named.size());
  return local;
}

std::string text_of(const sockaddr_storage& storage) {
  char host[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
  ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
  return std::string(host) + ":" + std::to_string(ntohs(v4.sin_port));
}

Moved moved_or_why(ssize_t moved) {
  if (moved >= 0) return moved;
  return errno == EAGAIN || errno == EINTR ? kWouldBlock : kPeerGone;
}

}  // namespace

Result<Listener> Listener::create(std::string_view address) { return create(address, false); }
Result<Listener> Listener::create_inside(std::string_view address) { return create(address, true); }

Result<Listener> Listener::create(std::string_view address, bool inside) {
  TRY(const SocketAddress parsed, parse_address(address, inside));
  Fd fd(::socket(parsed.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(os_error("socket"));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // its connections inherit it
  if (::bind(fd.get(), parsed.get(), parsed.size) != 0) {
    if (errno == EADDRINUSE)
      return fail(Code::conflict, "another program listens on " + std::string(address) +
          " already: stop it, or choose another port with --listen");
    return fail(os_error("bind", address));
  }
  if (::listen(fd.get(), 4096) != 0) return fail(os_error("listen", address));
  sockaddr_storage real{};
  socklen_t size = sizeof real;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&real), &size) != 0) return fail(os_error("getsockname"));
  return Listener(std::move(fd), text_of(real));
}

Result<Listener> Listener::create_local(const std::string& path) {
  TRY(const LocalAddress local, local_address(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(os_error("socket"));
  if (::bind(fd.get(), local.get(), sizeof local.address) != 0) return fail(os_error("bind", path));
  if (::chmod(path.c_str(), 0666) != 0) return fail(os_error("chmod", path));
  if (::listen(fd.get(), 4096) != 0) return fail(os_error("listen", path));
  return Listener(std::move(fd), path);
}

Result<Fd> Listener::accept() {
  for (;;) {
    Fd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd || errno == EAGAIN) return fd;
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
    if (errno == ENOBUFS) errno = ENOMEM;
    return fail(os_error("accept4"));
  }
}

Moved receive(int socket, std::span<char> into) {
  ssize_t got = 0;
  do got = ::recv(socket, into.data(), into.size(), 0);
  while (got < 0 && errno == EINTR);
  return moved_or_why(got);
}

Moved send(int socket, std::string_view bytes) {
  ssize_t sent = 0;
  do sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return moved_or_why(sent);
}

Moved send(int socket, std::string_view first, std::string_view second) {
  iovec parts[2] = {{const_cast<char*>(first.data()), first.size()}, {const_cast<char*>(second.data()), second.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t sent = 0;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return moved_or_why(sent);
}

Moved send_file(int socket, int file, std::uint64_t& offset, std::uint64_t bytes) {
  auto at = static_cast<off_t>(offset);
  ssize_t sent = 0;
  do sent = ::sendfile(socket, file, &at, static_cast<std::size_t>(std::min<std::uint64_t>(bytes, 1U << 30)));
  while (sent < 0 && errno == EINTR);
  if (sent > 0) offset = static_cast<std::uint64_t>(at);
  return moved_or_why(sent);
}

void shut_writing(int socket) { ::shutdown(socket, SHUT_WR); }

void close_with_reset(Fd& socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  socket.reset();
}

Result<void> append(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(os_error("write"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::pair<Fd, Fd>> make_stream_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) return fail(os_error("socketpair"));
  return std::pair{Fd(fds[0]), Fd(fds[1])};
}

Result<Fd> connect_to(std::string_view address) {
  TRY(const SocketAddress parsed, parse_address(address));
  Fd fd(::socket(parsed.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(os_error("socket"));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), parsed.get(), parsed.size) != 0) return fail(os_error("connect", address));
  return fd;
}

Result<Fd> connect_local(const std::string& path) {
  TRY(const LocalAddress local, local_address(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(os_error("socket"));
  if (::connect(fd.get(), local.get(), sizeof local.address) == 0) return fd;
  if (errno == EAGAIN) return fail(Code::exhausted, "too many connections wait at " + path + ": try later");
  if (errno == ECONNREFUSED || errno == ENOENT) return fail(Code::unavailable, "nobody listens at " + path);
  return fail(os_error("connect", path));
}

Result<Fd> begin_connect(std::string_view address) {
  TRY(const SocketAddress parsed, parse_address(address));
  Fd fd(::socket(parsed.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(os_error("socket"));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), parsed.get(), parsed.size) != 0 && errno != EINPROGRESS) return fail(os_error("connect", address));
  return fd;
}

bool is_connected(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0;
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  [[maybe_unused]] const auto got = ::getrandom(&seed, sizeof seed, 0);
  return seed;
}

}  // namespace mayfly::os
