#include "os/outbound.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <resolv.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace mayfly::os {
namespace {

constexpr std::size_t kAddressesMax = 8, kV4At = 12;
constexpr IpBytes kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_v4(const IpBytes& address) { return std::equal(address.begin(), address.begin() + kV4At, kMapped.begin()); }

}  // namespace

Result<std::vector<IpBytes>> resolve(const std::string& name) {
  if (::res_init() == 0) _res.retrans = 2, _res.retry = 2;  // this thread's own
  const addrinfo wanted{.ai_flags = AI_ADDRCONFIG, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  addrinfo* list = nullptr;
  int error = ::getaddrinfo(name.c_str(), nullptr, &wanted, &list);
  if (error != 0) {  // a machine with nothing but its loopback has no configured family
    addrinfo any = wanted;
    any.ai_flags = 0;
    error = ::getaddrinfo(name.c_str(), nullptr, &any, &list);
  }
  if (error != 0) return fail(Code::not_found, error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
  std::vector<IpBytes> all;
  for (const addrinfo* one = list; one && all.size() < kAddressesMax; one = one->ai_next) {
    IpBytes bytes = kMapped;
    if (one->ai_family == AF_INET) std::memcpy(bytes.data() + kV4At, &reinterpret_cast<const sockaddr_in*>(one->ai_addr)->sin_addr, 4);
    else if (one->ai_family == AF_INET6) std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(one->ai_addr)->sin6_addr, 16);
    else continue;
    if (std::ranges::find(all, bytes) == all.end()) all.push_back(bytes);
  }
  return all;
}

Result<Fd> begin_connect(const IpBytes& address, std::uint16_t port) {
  sockaddr_storage to{};
  socklen_t size = 0;
  if (is_v4(address)) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.data() + kV4At, 4);
    size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.data(), address.size());
    size = sizeof v6;
  }
  Fd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(os_error("socket"));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);  // a machine that vanished is noticed, some time
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), size) != 0 && errno != EINPROGRESS)
    return fail(Code::unavailable, std::strerror(errno));
  return fd;
}

Result<void> connect_outcome(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return fail(os_error("getsockopt"));
  if (error == 0) return {};
  return fail(Code::unavailable, std::strerror(error));
}

}  // namespace mayfly::os
