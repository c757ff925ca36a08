#include "os/http_get.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "os/clock.h"
#include "os/fd.h"

namespace mayfly::os {
namespace {

// A server of one connection: reads a request, says `answer`, and then as long as it is there `again`.
class Server {
 public:
  explicit Server(std::string answer, std::string again = {}, bool closes = false)
      : listens_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in place{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof place;
    EXPECT_EQ(::bind(listens_.get(), reinterpret_cast<sockaddr*>(&place), size), 0);
    EXPECT_EQ(::listen(listens_.get(), 1), 0);
    EXPECT_EQ(::getsockname(listens_.get(), reinterpret_cast<sockaddr*>(&place), &size), 0);
    port = ntohs(place.sin_port);
    thread_ = std::thread([this, answer = std::move(answer), again = std::move(again), closes] {
      pollfd waits{.fd = listens_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&waits, 1, 10'000) != 1) return;
      const Fd peer(::accept4(listens_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char text[4096];
      const ssize_t got = ::recv(peer.get(), text, sizeof text, 0);
      request.assign(text, got > 0 ? static_cast<std::size_t>(got) : 0);
      bool taken = ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL) >= 0;
      while (!closes && !ends_) {
        if (taken && !again.empty()) taken = ::send(peer.get(), again.data(), again.size(), MSG_NOSIGNAL) >= 0;
        else std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  }
  ~Server() { end(); }
  void end() {
    ends_ = true;
    if (thread_.joinable()) thread_.join();
  }

  std::uint16_t port = 0;
  std::string request;

 private:
  Fd listens_;
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

struct Outcome { Result<HttpGot> got; std::string body; };

Outcome fetch(const Server& server, HttpGet get = {}) {
  get.host = "127.0.0.1";
  get.port = server.port;
  get.target = "/a";
  get.head = "Host: h\r\n";
  std::string body;
  auto got = http_get(get, [&](std::span<const std::byte> bytes) -> Result<void> {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
  return {std::move(got), std::move(body)};
}

TEST(HttpGet, HandsOnTheBody) {
  Server server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  const Outcome outcome = fetch(server);
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(outcome.body, "abcde");
  server.end();
  EXPECT_EQ(server.request, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
}

TEST(HttpGet, SendsABodyByAnotherMethod) {
  Server server("HTTP/1.1 201 Created\r\nX-Made: a\r\nContent-Length: 2\r\n\r\nok");
  const Outcome outcome = fetch(server, {.method = "PUT", .body = "body"});
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(outcome.got->refusal, "ok");
  EXPECT_EQ(outcome.got->head, "HTTP/1.1 201 Created\r\nX-Made: a\r\nContent-Length: 2\r\n");
  server.end();
  EXPECT_TRUE(server.request.starts_with("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"));
}

TEST(HttpGet, AnAnswerBeforeTheBodyIsReadIsTheAnswer) {
  const std::string body(64 << 20, 'x');                // more than sockets hold
  const Server server("HTTP/1.1 404 Gone\r\nContent-Length: 2\r\n\r\nno", "", true);
  const Outcome outcome = fetch(server, {.method = "PUT", .body = body});
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(std::to_string(outcome.got->status) + outcome.got->refusal, "404no");
}

TEST(HttpGet, FollowsNoRedirection) {
  const Server server("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 4\r\n\r\nmove");
  const Outcome outcome = fetch(server);
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(std::to_string(outcome.got->status) + outcome.got->refusal + outcome.body, "302move");
}

TEST(HttpGet, TellsItsHeaders) {
  const Server server("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nwww-authenticate:\tBearer realm=\"y\" \r\n"
                      "X-WWW-Authenticate: no\r\nEmpty:\r\nContent-Length: 0\r\n\r\n");
  const Outcome outcome = fetch(server);
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(outcome.got->headers("WWW-Authenticate"), (std::vector<std::string>{"Basic realm=\"x\"", "Bearer realm=\"y\""}));
  EXPECT_EQ(outcome.got->header("content-length") + outcome.got->header("empty") + outcome.got->header("none"), "0");
}

TEST(HttpGet, OfARefusalItReadsItsBeginning) {
  const Server endless("HTTP/1.1 404 Not Found\r\n\r\n", std::string(4000, 'a'));
  const Outcome outcome = fetch(endless);
  ASSERT_TRUE(outcome.got) << outcome.got.error().message;
  EXPECT_EQ(outcome.got->refusal.size(), 4096u);
  EXPECT_EQ(outcome.body, "");
}

TEST(HttpGet, SeveralHaveOneEnd) {
  const Server silent("");
  const Outcome outcome = fetch(silent, {.until = monotonic_now() + std::chrono::milliseconds(300)});
  ASSERT_FALSE(outcome.got);
  EXPECT_EQ(outcome.got.error().code, Code::unavailable);
}

TEST(HttpGet, WhatNeverAnswersIsLeft) {
  const Server silent("");
  const Outcome outcome = fetch(silent, {.stall_max = std::chrono::milliseconds(300)});
  ASSERT_FALSE(outcome.got);
  EXPECT_EQ(outcome.got.error().code, Code::unavailable);
  const Server half("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
  EXPECT_FALSE(fetch(half, {.stall_max = std::chrono::milliseconds(300)}).got);
}

TEST(HttpGet, EndsInTimeHoweverBusyTheServerIs) {
  const Server endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n");
  const Outcome outcome = fetch(endless, {.time_max = std::chrono::milliseconds(500)});
  ASSERT_FALSE(outcome.got);
  EXPECT_EQ(outcome.got.error().code, Code::unavailable);
  const Server interim("", "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_FALSE(fetch(interim, {.time_max = std::chrono::milliseconds(500)}).got);
}

TEST(HttpGet, TakesAtMostItsSize) {
  const Server told("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_EQ(fetch(told, {.size_max = {1000}}).got.error().code, Code::invalid_argument);
  const Server untold("HTTP/1.1 200 OK\r\n\r\n", std::string(4000, 'a'));
  const Outcome outcome = fetch(untold, {.size_max = {10'000}});
  ASSERT_FALSE(outcome.got);
  EXPECT_EQ(outcome.got.error().code, Code::invalid_argument);
  EXPECT_LE(outcome.body.size(), 10'000u);
}

TEST(HttpGet, EndsSoonWhereItIsStopped) {
  const Server silent("");
  const std::atomic<bool> stop = true;
  EXPECT_EQ(fetch(silent, {.stop = &stop}).got.error().code, Code::cancelled);
}

TEST(HttpGet, WhatIsCutOffOrNoHttpIsRefused) {
  const Server cut("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "", true);
  EXPECT_FALSE(fetch(cut).got);
  const Server other("SSH-2.0-OpenSSH_9.2\r\n\r\n", "", true);
  EXPECT_FALSE(fetch(other).got);
  const Server head("HTTP/1.1 200 OK\r\n", "X: " + std::string(4000, 'a') + "\r\n");
  EXPECT_FALSE(fetch(head).got) << "a head without end";
}

}  // namespace
}  // namespace mayfly::os
