// The floor that the gateway is measured against: the least that answers HTTP over epoll. It reads what is there and
// sends a reply back for each empty line that it sees; no parsing, no limits, no clock.
//
//   epoll_floor [PORT [BYTES=180]]   BYTES: of the whole reply. Prints the port, then CPU a request once a second while there is load
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

namespace {

double now(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0));
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 1024) != 0) return 1;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const int epoll = ::epoll_create1(0);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  const auto body = static_cast<std::size_t>(std::max(argc > 2 ? std::strtol(argv[2], nullptr, 10) : 180, 100L)) - 74;
  const std::string reply = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body) + "\r\n\r\n" +
                            std::string(body, 'x');
  double cpu = now(CLOCK_PROCESS_CPUTIME_ID), shown = now(CLOCK_MONOTONIC);
  unsigned long requests = 0;
  for (;;) {
    epoll_event events[256];
    const int count = ::epoll_wait(epoll, events, 256, 100);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int client = 0; (client = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          epoll_event readable{.events = EPOLLIN, .data = {.fd = client}};
          ::epoll_ctl(epoll, EPOLL_CTL_ADD, client, &readable);
        }
        continue;
      }
      char buffer[16384];
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) {
        ::close(fd);
        continue;
      }
      const std::string_view input(buffer, static_cast<std::size_t>(got));
      for (std::size_t at = 0; (at = input.find("\r\n\r\n", at)) != input.npos; at += 4, ++requests)
        if (::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) < 0) break;
    }
    const double wall = now(CLOCK_MONOTONIC);
    if (wall - shown < 1) continue;
    const double spent = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (requests > 1000) std::printf("%lu requests, %.2f us CPU each\n", requests, spent * 1e6 / static_cast<double>(requests));
    std::fflush(stdout);
    cpu += spent;
    shown = wall;
    requests = 0;
  }
}
