// The server's limits on bodies and answers, over real sockets: who passes one is told which, how much, and what to do,
// and everybody else is served meanwhile.
#include <gtest/gtest.h>
#include <signal.h>

#include <deque>
#include <functional>
#include <memory>

#include "gateway/detail/test_client.h"
#include "gateway/http_server.h"

namespace mayfly::gateway {
namespace {

using detail::Client;
using std::chrono::milliseconds;
constexpr Duration kLong = std::chrono::minutes(5);

struct Owner final : ExchangeOwner {
  void on_gone() override { ++gone; }
  void on_sent(Instant, std::uint64_t) override { ++sent; }
  int gone = 0, sent = 0;
};

struct Sink final : UploadSink {
  struct Seen {
    std::uint64_t bytes = 0;
    int ends = 0, gone = 0;
  };
  Sink(Seen& s, Responder r) : seen(s), to(r) {}
  void on_chunk(std::string bytes) override {
    seen.bytes += bytes.size();
    to.taken(bytes.size());
  }
  void on_end() override {
    ++seen.ends;
    to.send({.status = 201, .body = "kept"});
  }
  void on_gone() override { ++seen.gone; }
  Seen& seen;
  Responder to;
};

class HttpLimitsTest : public testing::Test {
 protected:
  void serve(HttpLimits limits) {
    ::signal(SIGPIPE, SIG_IGN);
    router.add(Method::get, "/hello", [](HttpRequest&, Responder to) { to.send({.body = "hello"}); });
    router.add({.method = Method::post, .pattern = "/size", .handler = [](HttpRequest& request, Responder to) {
      to.send({.body = std::to_string(request.body_size) + " bytes"});
    }, .body_max = 64 << 20, .body_as_text = false});
    router.add(Method::get, "/later", [this](HttpRequest&, Responder to) {
      server->own(to, owners.emplace_back());
      waiting.push_back(to);
    });
    router.add_upload(Method::put, "/upload", [this](HttpRequest&, Responder to) { return std::make_unique<Sink>(seen, to); }, 1 << 20);
    server = std::make_unique<HttpServer>(loop, router, limits);
    ASSERT_TRUE(server->listen("127.0.0.1:0"));
  }
  Client connect() { return Client(loop, server->address()); }
  void expect_others_are_served() {
    Client other = connect();
    other.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_NE(other.read_until("hello").find("200 OK"), std::string::npos);
    other.send("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    EXPECT_NE(other.read_until("4 bytes").find("200 OK"), std::string::npos);
  }
  // One byte of a body after the other, until there is an answer.
  std::string trickle(std::string_view head) {
    Client client = connect();
    client.send(head);
    std::string reply;
    for (const Instant until = loop.refresh_now() + std::chrono::seconds(20); reply.empty() && loop.now() < until;) {
      client.send("x");
      reply = client.read(1, milliseconds(5));
    }
    EXPECT_NE(reply, "") << "bytes that keep coming put it off";
    reply += client.read();
    EXPECT_TRUE(client.closed);
    return reply;
  }
  bool turn_until(const std::function<bool()>& is_so) {
    for (const Instant until = loop.refresh_now() + std::chrono::seconds(5); !is_so() && loop.now() < until;) loop.turn(milliseconds(1));
    return is_so();
  }

  os::Loop loop = *os::Loop::create();
  Router router;
  std::unique_ptr<HttpServer> server;
  std::deque<Owner> owners;
  std::vector<Responder> waiting;
  Sink::Seen seen;
};

bool says(const std::string& reply, std::string_view status, std::string_view code, std::string_view message) {
  return reply.starts_with("HTTP/1.1 " + std::string(status) + " ") && reply.find(code) != std::string::npos &&
         reply.find(message) != std::string::npos;
}

TEST_F(HttpLimitsTest, ABodyThatKeepsComingHasAnEnd) {
  serve({.body_stall_max = kLong, .body_max = milliseconds(200)});
  const std::string reply = trickle("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_TRUE(says(reply, "408", "deadline_exceeded",
                   "the request's body did not come in time: all of it within 200 ms (http.body_max); send it faster, or less at a time"))
      << reply;
  expect_others_are_served();
}

TEST_F(HttpLimitsTest, AnUploadHasItsOwnTime) {
  serve({.body_stall_max = kLong, .body_max = milliseconds(1), .upload_max = milliseconds(400)});
  const std::string reply = trickle("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_TRUE(says(reply, "408", "deadline_exceeded", "all of it within 400 ms (http.upload_max); send it faster, or less at a time"))
      << reply;
  EXPECT_GT(seen.bytes, 0u);
  EXPECT_EQ(seen.gone, 1);
  EXPECT_EQ(seen.ends, 0);
  Client other = connect();
  other.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_NE(other.read_until("kept").find("201 Created"), std::string::npos);
}

TEST_F(HttpLimitsTest, ABodyThatStallsIsToldSo) {
  serve({.body_stall_max = milliseconds(100)});
  Client client = connect();
  client.send("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
  const std::string reply = client.read();
  EXPECT_TRUE(says(reply, "408", "deadline_exceeded", "nothing of it for 100 ms (http.body_stall_max); bytes must keep coming")) << reply;
}

TEST_F(HttpLimitsTest, WhoComesLaterPutsNobodysEndOff) {
  serve({.head_max = milliseconds(100)});
  Client silent = connect();
  for (const Instant until = loop.refresh_now() + std::chrono::seconds(20); !silent.closed && loop.now() < until;) {
    connect();
    silent.read(1, milliseconds(5));
  }
  EXPECT_TRUE(silent.closed);
}

TEST_F(HttpLimitsTest, AnAnswerThatDoesNotComeIsGivenUp) {
  serve({.answer_max = milliseconds(200)});
  Client client = connect();
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string reply = client.read();
  EXPECT_TRUE(says(reply, "504", "deadline_exceeded",
                   "no answer within the 200 ms that one may take (http.answer_max): ask for less at a time")) << reply;
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(owners.at(0).gone, 1) << "the handler hears that nobody waits any more";
  EXPECT_EQ(owners[0].sent, 0);
  EXPECT_FALSE(waiting.at(0).alive());
  waiting[0].send({.body = "too late"});  // does nothing
  expect_others_are_served();
}

TEST_F(HttpLimitsTest, BodiesThatAreReceivedShareALimit) {
  serve({.bodies_max = 1 << 20});
  const std::string big(1'000'000, 'b');
  const auto head = [](std::size_t size) {
    return "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  };
  Client first = connect();
  first.send(head(big.size()) + big.substr(1));
  for (const bool chunked : {false, true}) {
    Client second = connect();
    const std::string some = "30d40\r\n" + big.substr(0, 200'000);
    second.send(chunked ? "POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + some : head(200'000));
    const std::string reply = second.read();
    EXPECT_TRUE(says(reply, "503", "exhausted", "are being received already, with this one they would pass the node's 1.05 MB "
                     "(http.bodies_max): try again later")) << reply;
    EXPECT_NE(reply.find("Retry-After: "), std::string::npos);
    EXPECT_TRUE(second.closed);
  }
  expect_others_are_served();
  first.send("b");
  EXPECT_NE(first.read_until("1000000 bytes").find("200 OK"), std::string::npos) << "whom it has begun with it serves";
  Client leaves = connect();
  leaves.send(head(big.size()) + "b");
  leaves.leave();
  ASSERT_TRUE(turn_until([&] { return server->connections() == 1; }));
  first.send(head(big.size()) + big);
  EXPECT_NE(first.read_until("1000000 bytes").find("200 OK"), std::string::npos) << "what others held is free again";
}

TEST_F(HttpLimitsTest, AnUploadHasASize) {
  serve({});
  Client said = connect();
  said.send("PUT /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_TRUE(says(said.read(), "413", "invalid_argument", "at most 1.05 MB are taken here: send less at a time"));
  EXPECT_EQ(seen.bytes, 0u) << "refused before a byte of it was read";
  Client chunked = connect();
  chunked.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 17; ++i) chunked.send("10000\r\n" + std::string(0x10000, 'a') + "\r\n");
  const std::string reply = chunked.read();
  EXPECT_TRUE(says(reply, "413", "invalid_argument", "larger than the 1.05 MB that are taken here: send less at a time")) << reply;
  EXPECT_LE(seen.bytes, 1u << 20);
  EXPECT_EQ(seen.gone, 1);
  Client fits = connect();
  fits.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + std::string(1 << 20, 'a'));
  EXPECT_NE(fits.read_until("kept").find("201 Created"), std::string::npos);
  expect_others_are_served();
}

}  // namespace
}  // namespace mayfly::gateway
