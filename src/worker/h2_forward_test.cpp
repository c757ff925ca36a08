// The client of a program that serves HTTP/2, against one that does as a script says, and against what is none.
#include "worker/h2_forward.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "os/clock.h"
#include "worker/test_h2_server.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;
using Reply = TestH2Server::Reply;
using Request = TestH2Server::Request;

constexpr std::string_view kGet = "GET /a?b=c HTTP/1.1\r\nHost: h:81\r\n\r\n",
                           kPost = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";

class H2ForwardTest : public testing::Test {
 protected:
  void serve(TestH2Server::Script script) {
    forward.reset();
    server.emplace(loop, std::move(script));
    forward.emplace(loop, server->address(), 1 << 20);
  }
  void serve(const Reply& reply) { serve([=](const Request&) { return reply; }); }
  void serve_bytes(std::string bytes, bool close) {
    forward.reset();
    plain.emplace(loop, [=](std::size_t, std::string_view) { return TestHttpServer::Answer{bytes, close}; });
    forward.emplace(loop, plain->address(), 1 << 20);
  }
  void send(std::uint64_t ticket, std::string_view bytes) {
    forward->send(ticket, bytes, [this, ticket](Result<Forward::Answer> answer) {
      EXPECT_FALSE(outcomes.contains(ticket)) << "two outcomes for " << ticket;
      outcomes[ticket] = answer ? std::string(answer->head.substr(9, 3)) + " " + std::string(answer->body) : answer.error().message;
      heads[ticket] = answer ? answer->head : "";
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
    send(++asked, bytes);
    return outcome(asked);
  }
  void idle() { for (int i = 0; i < 3; ++i) loop.turn(5ms); }

  os::Loop loop = os::Loop::create().value();
  std::map<std::uint64_t, std::string> outcomes, heads;
  std::uint64_t asked = 1000;
  std::optional<TestH2Server> server;
  std::optional<TestHttpServer> plain;
  std::optional<H2Forward> forward;
};

TEST_F(H2ForwardTest, RequestsAreFieldsAndOneConnectionIsKept) {
  std::vector<Request> seen;
  serve([&](const Request& request) { return seen.push_back(request), Reply{.headers = {{"x-own", "a"}, {"x-own", "b"}}, .body = "hi"}; });
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(heads[asked], "HTTP/1.1 200 \r\nx-own: a\r\nx-own: b\r\n");
  EXPECT_EQ(ask("PUT /x HTTP/1.1\r\nHost: h\r\nX-Custom:  v \r\nConnection: close\r\nTE: trailers\r\n"
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"), "200 hi");
  ASSERT_GE(seen.size(), 2U);
  const std::map<std::string, std::string> get{{":method", "GET"}, {":scheme", "http"}, {":path", "/a?b=c"}, {":authority", "h:81"}};
  EXPECT_EQ(seen[0].headers, get);
  EXPECT_EQ(seen.back().headers.at("content-length"), "3");
  EXPECT_EQ(
      seen.back().headers.contains("connection") + seen.back().headers.contains("te") + seen.back().headers.contains("transfer-encoding"),
      0);
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(H2ForwardTest, SeveralAreStreamsOfOneConnection) {
  std::vector<Request> seen;
  serve([&](const Request& request) { return seen.push_back(request), Reply{.hold = true}; });
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket) send(ticket, kGet);
  turn_until([&] { return seen.size() == 3; });
  for (const std::size_t one : {2U, 0U, 1U}) {
    server->answer(0, seen[one].stream, {.body = std::to_string(one)});
    EXPECT_EQ(outcome(one + 1), "200 " + std::to_string(one));
  }
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(H2ForwardTest, InterimAnswersAndTrailersAreDropped) {
  serve(Reply{.status = "201", .headers = {{"a", "b"}}, .body = "body", .around = true});
  EXPECT_EQ(ask(kGet), "201 body");
  EXPECT_EQ(heads[asked], "HTTP/1.1 201 \r\na: b\r\n");
  serve(Reply{.status = "304"});
  EXPECT_EQ(ask(kGet), "304 ");
  serve(Reply{.headers = {{"content-length", "9"}}});
  EXPECT_EQ(ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"), "200 ");
}

TEST_F(H2ForwardTest, AStreamThatIsResetFailsAlone) {
  serve([&](const Request& request) {
    return request.headers.at(":method") == "POST" ? Reply{.reset = NGHTTP2_INTERNAL_ERROR} : Reply{.body = "hi"};
  });
  send(1, kPost);
  send(2, kGet);
  EXPECT_EQ(outcome(1), "the program's answer broke off: its stream was reset, INTERNAL_ERROR");
  EXPECT_EQ(outcome(2), "200 hi");
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(H2ForwardTest, WhatWasNotBegunIsSentOnceMore) {
  int refused = 0;
  serve([&](const Request&) { return ++refused == 1 ? Reply{.reset = NGHTTP2_REFUSED_STREAM} : Reply{.body = "hi"}; });
  EXPECT_EQ(ask(kPost), "200 hi") << "whatever its method";
  serve(Reply{.reset = NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(ask(kPost), "the program's answer broke off: its stream was reset, REFUSED_STREAM") << "but once";
  serve([&](const Request& request) { return request.connection == 0 ? Reply{.last_stream = 0} : Reply{.body = "hi"}; });
  EXPECT_EQ(ask(kPost), "200 hi") << "a connection that goes away says what it has begun";
  EXPECT_EQ(server->connections(), 2U);
}

TEST_F(H2ForwardTest, AKeptConnectionThatClosesIsTriedOnceMoreWhereThatIsSafe) {
  std::map<std::size_t, int> count;
  serve([&](const Request& request) { return ++count[request.connection] == 1 ? Reply{.body = "hi"} : Reply{.close = true}; });
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(server->connections(), 2U);
  EXPECT_EQ(ask("POST / HTTP/1.1\r\nHost: h\r\n\r\n"), "the program closed the connection without an answer");
  EXPECT_EQ(server->connections(), 2U);
  EXPECT_EQ(ask(kGet), "200 hi");
  server->close(2);
  EXPECT_EQ(ask(kPost).substr(0, 3), "200") << "one that closed while idle is not used";
}

TEST_F(H2ForwardTest, WhatIsDroppedHasNoOutcomeAndItsStreamIsReset) {
  std::vector<Request> seen;
  serve([&](const Request& request) { return seen.push_back(request), Reply{.body = "hi", .hold = seen.size() == 1}; });
  send(1, kGet);
  turn_until([&] { return seen.size() == 1; });
  forward->drop(1);
  forward->drop(2);  // of nobody
  turn_until([&] { return !server->closed.empty(); });
  EXPECT_EQ(server->closed.front(), (std::pair<std::int32_t, std::uint32_t>{seen[0].stream, NGHTTP2_CANCEL}));
  EXPECT_EQ(ask(kGet), "200 hi");
  send(3, kGet);
  forward->drop(3);
  idle();
  EXPECT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(H2ForwardTest, AnAnswerHasLimits) {
  serve([](const Request& request) {
    return request.headers.at(":method") == "GET" ? Reply{.body = std::string((1 << 20) + 1, 'x')} : Reply{.body = "hi"};
  });
  EXPECT_EQ(ask(kGet), "the program answers with more than 1048576 bytes, as many as are taken");
  EXPECT_EQ(ask(kPost), "200 hi");
  EXPECT_EQ(server->connections(), 1U) << "the connection is kept";
  serve(Reply{.body = std::string(1 << 20, 'x')});
  EXPECT_EQ(ask(kGet).size(), 4U + (1 << 20));
  std::vector<std::pair<std::string, std::string>> headers(70, {"name", std::string(1000, 'v')});
  serve(Reply{.headers = headers});
  EXPECT_EQ(ask(kGet), "the program's answer has more than 64 KiB of headers");
}

TEST_F(H2ForwardTest, ALargeRequestGoesInPiecesAndMayBeAnsweredEarly) {
  const std::string large = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3145728\r\n\r\n" + std::string(3 << 20, 'x');
  serve([](const Request& request) { return Reply{.body = std::to_string(request.body.size())}; });
  EXPECT_EQ(ask(large), "200 3145728");
  serve(Reply{.status = "413"});
  server->at_head = true;
  EXPECT_EQ(ask(large), "413 ");
  EXPECT_EQ(ask(kGet), "413 ") << "and the connection goes on";
}

TEST_F(H2ForwardTest, WhatIsNoHttp2) {
  serve_bytes("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true);
  EXPECT_NE(ask(kGet).find("leave protocol out"), std::string::npos);
  serve_bytes(std::string(64, 'x'), true);
  EXPECT_EQ(ask(kGet), "the program's answer is not valid HTTP/2");
  serve_bytes("", true);
  EXPECT_EQ(ask(kGet), "the program closed the connection without an answer");
  serve(Reply{.body = "hi"});
  EXPECT_NE(ask("nonsense").find("no head"), std::string::npos);
  EXPECT_EQ(ask(kGet), "200 hi");
}

TEST_F(H2ForwardTest, TheProbesConnectionIsUsed) {
  serve(Reply{.body = "hi"});
  std::optional<bool> listens;
  forward->probe([&](bool is) { listens = is; });
  turn_until([&] { return listens.has_value(); });
  EXPECT_TRUE(*listens);
  EXPECT_EQ(ask(kGet), "200 hi");
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(H2ForwardTest, WhereNobodyListens) {
  serve(Reply{});
  server.reset();
  std::optional<bool> listens;
  forward->probe([&](bool is) { listens = is; });
  turn_until([&] { return listens.has_value(); });
  EXPECT_FALSE(*listens);
  EXPECT_EQ(ask(kGet), "the program takes no connection");
}

}  // namespace
}  // namespace mayfly::worker
