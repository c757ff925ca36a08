// The floor that calls of code are measured against: the smallest server of AWS Lambda's Runtime API that serves one program. A client
// POSTs an event to any other path, the program that polls gets it, the client gets what it answers. No parsing beyond what that
// takes, no limits, no clock.
//
//   lambda_floor   prints its address, then "next" when a program asks for its first event
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace {

constexpr std::string_view kApi = "/2018-06-01/runtime/";

struct Floor {
  int epoll = ::epoll_create1(0);
  std::map<int, std::string> read;       // what came of a connection and is no request yet
  std::deque<std::string> events;        // that no program has
  std::deque<int> clients, programs;     // who waits for an answer, who for an event
  bool asked = false;

  static void send(int fd, std::string_view status, std::string_view headers, std::string_view body) {
    std::string reply = "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/json\r\n" + std::string(headers) +
                        "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
    if (::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) < 0) std::perror("send");
  }

  void pair() {
    while (!events.empty() && !programs.empty()) {
      send(programs.front(), "200 OK",
           "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\nLambda-Runtime-Deadline-Ms: 32503680000000\r\n"
           "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:floor\r\n"
           "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n", events.front());
      programs.pop_front();
      events.pop_front();
    }
  }

  void request(int fd, std::string_view target, std::string&& body) {
    if (!target.starts_with(kApi)) {
      clients.push_back(fd);
      events.push_back(std::move(body));
    } else if (target.ends_with("/next")) {
      if (!std::exchange(asked, true)) {
        std::puts("next");
        std::fflush(stdout);
      }
      programs.push_back(fd);
    } else {
      send(fd, "202 Accepted", "", R"({"status":"OK"})");
      if (!clients.empty()) {
        send(clients.front(), "200 OK", "", body);
        clients.pop_front();
      }
    }
    pair();
  }

  void readable(int fd) {
    char bytes[1 << 16];
    const ssize_t count = ::recv(fd, bytes, sizeof bytes, 0);
    if (count <= 0) {
      std::erase(programs, fd);
      read.erase(fd);
      ::close(fd);
      return;
    }
    std::string& text = read[fd];
    text.append(bytes, static_cast<std::size_t>(count));
    for (;;) {
      const std::size_t end = text.find("\r\n\r\n");
      if (end == std::string::npos) return;
      std::size_t length = 0;
      for (std::size_t at = text.find("\r\n"); at < end; at = text.find("\r\n", at + 2))
        if (constexpr std::string_view kName = "content-length:"; ::strncasecmp(text.c_str() + at + 2, kName.data(), kName.size()) == 0)
          length = std::strtoul(text.c_str() + at + 2 + kName.size(), nullptr, 10);
      if (text.size() < end + 4 + length) return;
      const std::size_t from = text.find(' ') + 1;
      const std::string target = text.substr(from, text.find(' ', from) - from);
      std::string body = text.substr(end + 4, length);
      text.erase(0, end + 4 + length);
      request(fd, target, std::move(body));
    }
  }
};

}  // namespace

int main() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  ::setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 1024) != 0) return 1;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  Floor floor;
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  ::epoll_ctl(floor.epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    epoll_event events[64];
    const int count = ::epoll_wait(floor.epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd != listener) {
        floor.readable(events[i].data.fd);
        continue;
      }
      epoll_event readable{.events = EPOLLIN, .data = {.fd = ::accept(listener, nullptr, nullptr)}};
      ::epoll_ctl(floor.epoll, EPOLL_CTL_ADD, readable.data.fd, &readable);
    }
  }
}
