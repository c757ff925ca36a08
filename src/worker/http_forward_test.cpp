// The client of a program that serves HTTP, against one that does as a script says.
#include "worker/http_forward.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "os/clock.h"
#include "worker/test_http_server.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", kPost = "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
constexpr const char* kHi = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

class HttpForwardTest : public testing::Test {
 protected:
  void serve(TestHttpServer::Script script) {
    server.emplace(loop, std::move(script));
    forward.emplace(loop, server->address(), 1 << 20);
  }
  // Whenever a head is whole, this.
  void serve(std::string answer, bool close = false) {
    serve([=](std::size_t, std::string_view come) {
      return come.find("\r\n\r\n") == come.npos ? TestHttpServer::Answer{} : TestHttpServer::Answer{answer, close};
    });
  }
  void send(std::uint64_t ticket, std::string_view bytes) {
    forward->send(ticket, bytes, [this, ticket](Result<HttpForward::Answer> answer) {
      EXPECT_FALSE(outcomes.contains(ticket)) << "two outcomes for " << ticket;
      outcomes[ticket] = answer ? std::string(answer->head.substr(9, 3)) + " " + std::string(answer->body) : answer.error().message;
    });
  }
  void turn_until(const std::function<bool()>& good) {
    const Instant end = os::monotonic_now() + 10s;
    while (!good() && os::monotonic_now() < end) loop.turn(5ms);
    EXPECT_TRUE(good());
  }
  std::string outcome(std::uint64_t ticket) {
    turn_until([&] { return outcomes.contains(ticket); });
    return outcomes[ticket];
  }
  std::string ask(std::string_view bytes) {
    static std::uint64_t ticket = 1000;
    send(++ticket, bytes);
    return outcome(ticket);
  }
  void idle() { for (int i = 0; i < 3; ++i) loop.turn(5ms); }

  os::Loop loop = os::Loop::create().value();
  std::map<std::uint64_t, std::string> outcomes;
  std::optional<TestHttpServer> server;
  std::optional<HttpForward> forward;
};

TEST_F(HttpForwardTest, ALargeAnswerIsPassedOnAsItComesAndWaitsForWhoIsFull) {
  const std::string large(3 << 20, 'x');
  serve("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n" + large);
  std::string head, body;
  bool full = true;
  forward->send(7, kGet, [&](Result<HttpForward::Answer> answer) {
                  ASSERT_TRUE(answer);
                  outcomes[7] = "end " + std::string(answer->head);
                  body += answer->body;
                },
                {.begins = [&](std::string_view first, std::string_view bytes) { EXPECT_EQ(head, ""); head = first; body = bytes; },
                 .piece = [&](std::string_view bytes) { body += bytes; },
                 .full = [&] { return full; }});
  turn_until([&] { return !head.empty(); });
  for (int i = 0; i < 5; ++i) loop.turn(5ms);
  EXPECT_LE(body.size(), 256U * 1024) << "nothing is read while it is full";
  EXPECT_FALSE(outcomes.contains(7));
  full = false;
  forward->resume(7);
  EXPECT_EQ(outcome(7), "end ");
  EXPECT_EQ(body, large);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_NE(ask(kGet).find("as many as are taken"), std::string::npos) << "who takes no parts has a limit";
}

TEST_F(HttpForwardTest, AnAnswerThatIsThereIsOneThoughPartsAreTaken) {
  serve(kHi);
  const auto done = [&](Result<HttpForward::Answer> answer) {
    outcomes[7] = std::string(answer->head.substr(9, 3)) + std::string(answer->body);
  };
  forward->send(7, kGet, done,
                {.begins = [&](std::string_view, std::string_view) { ADD_FAILURE() << "it begins"; },
                 .piece = {},
                 .full = [] { return false; }});
  EXPECT_EQ(outcome(7), "200hi");
}

TEST_F(HttpForwardTest, AConnectionIsKeptAndUsedAgain) {
  serve(kHi);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask(i % 2 ? kPost : kGet), "200 hi");
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(HttpForwardTest, SeveralAtATimeHaveOneEach) {
  serve([](std::size_t, std::string_view) { return TestHttpServer::Answer{}; });
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket) send(ticket, kGet);
  turn_until([&] { return server->connections() == 3; });
  for (const std::size_t one : {2, 0, 1}) server->say(one, kHi);
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket) EXPECT_EQ(outcome(ticket), "200 hi");
}

TEST_F(HttpForwardTest, WhatProgramsSay) {
  const std::pair<const char*, const char*> kCases[] = {
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 abc"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\nx", "201 x"},
      {"HTTP/1.1 204 No Content\r\n\r\n", "204 "},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the close", "200 until the close"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", "the program's answer broke off"},
      {"", "the program closed the connection without an answer"}};
  for (const auto& [said, seen] : kCases) {
    forward.reset();
    serve(said, true);
    EXPECT_EQ(ask(kGet), seen) << said;
  }
  forward.reset();
  serve("nonsense\r\n\r\n");
  EXPECT_TRUE(ask(kGet).starts_with("the program's ")) << "no HTTP";
  forward.reset();
  serve("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
  EXPECT_EQ(ask("HEAD / HTTP/1.1\r\n\r\n"), "200 ");
}

TEST_F(HttpForwardTest, AKeptConnectionThatClosesIsTriedOnceMoreWhereThatIsSafe) {
  serve([](std::size_t connection, std::string_view come) {  // each connection but the last answers once and closes at the second request
    static std::size_t asked[8];
    if (come.find("\r\n\r\n") == come.npos) return TestHttpServer::Answer{};
    return ++asked[connection] == 1 ? TestHttpServer::Answer{kHi} : TestHttpServer::Answer{.bytes = "", .close = true};
  });
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(server->connections(), 2U);
  EXPECT_EQ(ask(kPost), "the program closed the connection without an answer");
  EXPECT_EQ(server->connections(), 2U);
}

TEST_F(HttpForwardTest, AConnectionThatClosedOrSpokeWhileIdleIsNotUsed) {
  serve(kHi);
  EXPECT_EQ(ask(kPost), "200 hi");
  server->close(0);
  EXPECT_EQ(ask(kPost), "200 hi");
  server->say(1, "HTTP/1.1 408 Request Timeout\r\n\r\n");
  EXPECT_EQ(ask(kPost), "200 hi");
  EXPECT_EQ(server->connections(), 3U);
}

TEST_F(HttpForwardTest, WhatIsDroppedHasNoOutcomeAndItsConnectionCloses) {
  serve([](std::size_t connection, std::string_view) { return connection == 0 ? TestHttpServer::Answer{} : TestHttpServer::Answer{kHi}; });
  send(1, kGet);
  turn_until([&] { return server->connections() == 1; });
  idle();
  forward->drop(1);
  forward->drop(2);  // of nobody
  turn_until([&] { return server->left(0); });
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_FALSE(outcomes.contains(1));
}

TEST_F(HttpForwardTest, AnAnswerHasALimit) {
  serve([](std::size_t, std::string_view) { return TestHttpServer::Answer{}; });
  send(1, kGet);
  turn_until([&] { return server->connections() == 1; });
  server->say(0, "HTTP/1.1 200 OK\r\n\r\n");
  const std::string piece(64 * 1024, 'x');
  turn_until([&] {
    if (!outcomes.contains(1)) server->say(0, piece);
    return outcomes.contains(1);
  });
  EXPECT_EQ(outcomes[1], "the program answers with more than 1048576 bytes, as many as are taken");
}

TEST_F(HttpForwardTest, ALargeRequestGoesInPiecesAndMayBeAnsweredEarly) {
  const std::string large = "PUT / HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n" + std::string(8 << 20, 'x');
  serve([&](std::size_t, std::string_view come) {
    return come.size() < large.size() ? TestHttpServer::Answer{} : TestHttpServer::Answer{kHi};
  });
  EXPECT_EQ(ask(large), "200 hi");
  forward.reset();
  serve("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(ask(large), "413 ");
}

TEST_F(HttpForwardTest, WhereNobodyListens) {
  serve(kHi);
  const std::string address = server->address();
  server.reset();
  std::optional<bool> listens;
  forward->probe([&](bool is) { listens = is; });
  turn_until([&] { return listens.has_value(); });
  EXPECT_FALSE(*listens);
  EXPECT_EQ(ask(kGet), "the program takes no connection");
}

TEST_F(HttpForwardTest, TheProbesConnectionIsUsed) {
  serve(kHi);
  std::optional<bool> listens;
  forward->probe([&](bool is) { listens = is; });
  turn_until([&] { return listens.has_value(); });
  EXPECT_TRUE(*listens);
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(server->connections(), 1U);
}

}  // namespace
}  // namespace mayfly::worker
