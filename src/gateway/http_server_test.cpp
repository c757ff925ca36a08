// The server over real sockets, one loop for it and for the test: what clients send in pieces, ahead,
// wrongly, slowly, or not at all.
#include "gateway/http_server.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "domain/frame.h"
#include "gateway/detail/test_client.h"

namespace mayfly::gateway {
namespace {

using detail::Client;
using std::chrono::milliseconds;

struct Owner final : ExchangeOwner {
  void on_gone() override { ++gone; }
  void on_sent(Instant, std::uint64_t bytes) override { ++sent; sent_bytes = bytes; }
  int gone = 0, sent = 0;
  std::uint64_t sent_bytes = 0;
};

struct Sink final : UploadSink {
  struct Seen {
    std::uint64_t bytes = 0, hash = 0;
    int ends = 0, gone = 0;
    bool take = true, refuse = false;
    Responder to;
  };
  Sink(Seen& s, Responder r) : seen(s), to(r) {}
  void on_chunk(std::string bytes) override {
    seen.bytes += bytes.size();
    if (seen.take) to.taken(bytes.size());
    if (seen.refuse) to.fail({Code::exhausted, "the disk is full"});
  }
  void on_end() override { ++seen.ends; to.send({.status = 201, .body = std::to_string(seen.bytes)}); }
  void on_gone() override { ++seen.gone; }
  Seen& seen;
  Responder to;
};

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    router.add(Method::get, "/hello", [](HttpRequest&, Responder to) { to.send({.content_type = "text/plain", .body = "hello"}); });
    router.add({.method = Method::post, .pattern = "/echo", .handler = [this](HttpRequest& request, Responder to) {
      last_in_file = static_cast<bool>(request.body_memfd);
      last_sealed = last_in_file && os::is_sealed(request.body_memfd.get(), request.body_size);
      if (last_in_file) return server->reply(to, {.content_type = "x/y", .body_memfd = std::move(request.body_memfd),
                                                      .body_size = request.body_size});
      server->reply(to, {.content_type = "x/y", .body = request.body});
    }, .body_max = 64 << 20, .body_as_text = false});
    router.add(Method::post, "/text", [](HttpRequest& request, Responder to) {
      to.send({.body = std::to_string(request.body.size())});
    }, 1 << 20);
    router.add(Method::get, "/later", [this](HttpRequest&, Responder to) {
      server->own(to, owners.emplace_back());
      waiting.push_back(to);
    });
    router.add(Method::get, "/stream", [this](HttpRequest&, Responder to) {
      to.begin({.content_type = "text/plain"}, [this] { ++streams_gone; });
      waiting.push_back(to);
    });
    router.add_upload(Method::put, "/upload", [this](HttpRequest&, Responder to) {
      seen.to = to;
      return std::make_unique<Sink>(seen, to);
    }, std::uint64_t{1} << 30);
  }
  void serve(HttpLimits limits = {}) {
    server = std::make_unique<HttpServer>(loop, router, limits);
    ASSERT_TRUE(server->listen("127.0.0.1:0"));
  }
  Client connect() { return Client(loop, server->address()); }
  void turn(Duration wait = milliseconds(20)) {
    for (const Instant until = loop.refresh_now() + wait; loop.now() < until;) loop.turn(milliseconds(1));
  }
  // Until it is so, or five seconds have passed: a busy machine is no failure.
  bool turn_until(const std::function<bool()>& is_so) {
    for (const Instant until = loop.refresh_now() + std::chrono::seconds(5); !is_so() && loop.now() < until;) loop.turn(milliseconds(1));
    return is_so();
  }
  static std::string body_of(const std::string& reply) {
    const std::size_t at = reply.find("\r\n\r\n");
    return at == std::string::npos ? "no reply: " + reply : reply.substr(at + 4);
  }

  os::Loop loop = *os::Loop::create();
  Router router;
  std::unique_ptr<HttpServer> server;
  std::deque<Owner> owners;
  std::vector<Responder> waiting;
  Sink::Seen seen;
  int streams_gone = 0;
  bool last_in_file = false, last_sealed = false;
};

constexpr std::string_view kHello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  serve();
  Client client = connect();
  for (int i = 0; i < 3; ++i) {
    client.send(kHello);
    const std::string reply = client.read_until("hello");
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 200 OK\r\nDate: ")) << reply;
    EXPECT_NE(reply.find("Content-Length: 5\r\n"), std::string::npos);
    EXPECT_EQ(reply.find("Connection:"), std::string::npos);
  }
  EXPECT_FALSE(client.closed);
  EXPECT_EQ(server->requests(), 3);
}

TEST_F(HttpServerTest, SplitAtEveryByteTheAnswerIsTheSame) {
  serve();
  const std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
                              "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "3;x=y\r\nabc\r\nb\r\nhello again\r\n0\r\nt: v\r\n\r\n";
  for (std::size_t split = 1; split < request.size(); ++split) {
    Client client = connect();
    client.send(request.substr(0, split));
    turn(Duration{});
    client.send(request.substr(split));
    const std::string reply = client.read_until("hello again");
    ASSERT_EQ(body_of(reply).substr(0, 11), "hello world") << split;
    ASSERT_TRUE(reply.ends_with("\r\n\r\nabchello again")) << split << reply;
  }
  Client slow = connect();
  for (const char c : request) slow.send({&c, 1});
  EXPECT_TRUE(slow.read_until("again").ends_with("abchello again"));
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  serve();
  Client client = connect();
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" + std::to_string(1000 + i);
  client.send(requests);
  const std::string replies = client.read_until("1499");
  std::size_t at = 0;
  for (int i = 0; i < 500; ++i) {
    at = replies.find("\r\n\r\n" + std::to_string(1000 + i), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(HttpServerTest, APipelinedRequestWaitsForTheOneBefore) {
  serve();
  Client client = connect();
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + std::string(kHello));
  EXPECT_EQ(client.read(1, milliseconds(30)), "");
  ASSERT_EQ(waiting.size(), 1);
  EXPECT_TRUE(waiting[0].alive());
  waiting[0].send({.content_type = "", .body = "first"});
  const std::string replies = client.read_until("hello");
  EXPECT_LT(replies.find("first"), replies.find("hello"));
  EXPECT_FALSE(waiting[0].alive());
  waiting[0].send({.body = "second"});                  // does nothing
  EXPECT_EQ(client.read(1, milliseconds(30)), "");
  EXPECT_EQ(owners[0].sent, 1);
  EXPECT_EQ(owners[0].gone, 0);
}

TEST_F(HttpServerTest, AClientThatLeavesIsNoticed) {
  serve();
  Client client = connect();
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return waiting.size() == 1; }));
  client.leave();
  EXPECT_TRUE(turn_until([&] { return owners[0].gone == 1; }));
  EXPECT_EQ(owners[0].sent, 0);
  EXPECT_FALSE(waiting[0].alive());
  waiting[0].send({});
  EXPECT_EQ(server->connections(), 0);
}

TEST_F(HttpServerTest, MalformedRequestsAreRefusedAndTheConnectionCloses) {
  serve();
  for (const std::string request : {"GET / HTTP/1.1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                    "GET /hello\r\n\r\n", "GET /hello HTTP/1.1\nHost: a\n\n",
                                        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    Client client = connect();
    client.send(request + std::string(kHello));
    const std::string reply = client.read(std::string::npos, milliseconds(1000));
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 400 ")) << reply;
    EXPECT_TRUE(client.closed);
    EXPECT_EQ(reply.find("200 OK"), std::string::npos) << "what follows a refused request is never read as one";
  }
}

TEST_F(HttpServerTest, UnknownPathsAndMethods) {
  serve();
  Client client = connect();
  client.send("GET /helo HTTP/1.1\r\nHost: a\r\n\r\n");
  std::string reply = client.read_until("}}");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 404 ")) << reply;
  EXPECT_NE(reply.find("GET /hello"), std::string::npos);
  client.send("DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  reply = client.read_until("}}");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 405 ")) << reply;
  EXPECT_NE(reply.find("Allow: GET, HEAD\r\n"), std::string::npos);
  client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" + std::string(kHello));
  reply = client.read_until("hello");
  EXPECT_NE(reply.find("Content-Length: 5\r\n\r\nHTTP/1.1 200"), std::string::npos) << reply;
}

TEST_F(HttpServerTest, OldAndClosingClients) {
  serve();
  Client old = connect();
  old.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_NE(old.read().find("Connection: close"), std::string::npos);
  EXPECT_TRUE(old.closed);
  Client kept = connect();
  kept.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(kept.read_until("hello").find("Connection: keep-alive"), std::string::npos);
  EXPECT_FALSE(kept.closed);
  Client closing = connect();
  closing.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(closing.read().find("hello"), std::string::npos);
  EXPECT_TRUE(closing.closed);
}

TEST_F(HttpServerTest, BigBodiesTravelInAFile) {
  serve();
  std::string body(20 << 20, 'x');
  for (std::size_t i = 0; i < body.size(); i += 1000) body[i] = static_cast<char>('a' + i % 26);
  for (const bool chunked : {false, true}) {
    Client client = connect();
    std::string request = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    if (chunked) {
      char size[20];
      std::snprintf(size, sizeof size, "%zx", body.size());
      request += "Transfer-Encoding: chunked\r\n\r\n" + std::string(size) + "\r\n" + body + "\r\n0\r\n\r\n";
    } else {
      request += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    ASSERT_TRUE(client.send(request + std::string(kHello)));
    const std::string reply = client.read_until("\r\n\r\nhello", std::chrono::seconds(20));
    EXPECT_TRUE(last_in_file && last_sealed);
    EXPECT_EQ(body_of(reply).substr(0, body.size()), body);
    EXPECT_TRUE(reply.ends_with("hello")) << "the next request on the connection";
  }
}

TEST_F(HttpServerTest, BodiesAtTheInlineLimit) {
  serve();
  for (const std::size_t size : {domain::kInlineMax - 1, domain::kInlineMax, domain::kInlineMax + 1}) {
    Client client = connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" + std::string(size - 1, 'a') +
        "!");
    EXPECT_EQ(body_of(client.read_until("!")).size(), size);
    EXPECT_EQ(last_in_file, size > domain::kInlineMax);
  }
}

TEST_F(HttpServerTest, TooLargeBodiesAreRefusedBeforeTheyAreRead) {
  serve();
  Client client = connect();
  client.send("POST /text HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_TRUE(client.read().starts_with("HTTP/1.1 413 "));
  Client chunked = connect();
  chunked.send("POST /text HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 17; ++i) chunked.send("10000\r\n" + std::string(0x10000, 'a') + "\r\n");
  EXPECT_TRUE(chunked.read_until("}}").starts_with("HTTP/1.1 413 "));
  Client fits = connect();
  fits.send("POST /text HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + std::string(1 << 20, 'b'));
  EXPECT_EQ(body_of(fits.read_until("1048576")), "1048576");
}

TEST_F(HttpServerTest, Expect100Continue) {
  serve();
  Client client = connect();
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("body");
  EXPECT_EQ(body_of(client.read_until("body")), "body");
}

TEST_F(HttpServerTest, UploadsPauseUntilTheirBytesAreTaken) {
  serve({.untaken_max = 1 << 20});
  seen.take = false;
  Client client = connect();
  client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n");
  const std::string piece(1 << 20, 'u');
  std::size_t sent = 0;
  for (int idle = 0; idle < 50;) {
    const os::Moved moved = os::send(client.fd(), std::string_view(piece).substr(0, std::min<std::size_t>(piece.size(), 33554432 - sent)));
    idle = moved > 0 ? 0 : idle + 1;
    sent += moved > 0 ? static_cast<std::size_t>(moved) : 0;
    loop.turn(milliseconds(1));
  }
  EXPECT_LT(sent, 33554432);
  EXPECT_LE(seen.bytes, (1 << 20) + (128 << 10));
  seen.take = true;
  seen.to.taken(seen.bytes);
  client.send(std::string(33554432 - sent, 'u'));
  EXPECT_EQ(body_of(client.read_until("33554432")), "33554432");
  EXPECT_EQ(seen.ends, 1);
  EXPECT_EQ(seen.gone, 0);
}

TEST_F(HttpServerTest, UploadsThatEndEarly) {
  serve();
  Client leaves = connect();
  leaves.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
  turn();
  leaves.leave();
  EXPECT_TRUE(turn_until([&] { return seen.gone == 1; }));
  seen.refuse = true;
  Client refused = connect();
  refused.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
  EXPECT_TRUE(refused.read(std::string::npos, milliseconds(100)).starts_with("HTTP/1.1 429 "));
  EXPECT_EQ(seen.gone, 2);
  EXPECT_EQ(seen.ends, 0);
  Client empty = connect();
  empty.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + std::string(kHello));
  EXPECT_NE(empty.read_until("hello").find("201 Created"), std::string::npos);
  EXPECT_EQ(seen.ends, 1);
}

TEST_F(HttpServerTest, StreamedAnswers) {
  serve();
  Client client = connect();
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return waiting.size() == 1; }));
  waiting.at(0).write("one\n");
  waiting[0].write("two\n");
  EXPECT_NE(client.read_until("two\n\r\n").find("\r\n\r\n4\r\none\n\r\n4\r\ntwo\n"), std::string::npos);
  waiting[0].end();
  client.send(kHello);
  EXPECT_TRUE(client.read_until("hello").starts_with("0\r\n\r\nHTTP/1.1 200 OK"));
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  turn();
  client.leave();
  EXPECT_TRUE(turn_until([&] { return streams_gone == 1; }));
  EXPECT_FALSE(waiting[1].alive());
}

TEST_F(HttpServerTest, AStreamThatNobodyReadsEnds) {
  serve({.unsent_max = 1 << 20});
  Client client = connect();
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  turn();
  for (int i = 0; i < 1000 && waiting[0].alive(); ++i) {
    waiting[0].write(std::string(64 << 10, 's'));
    EXPECT_LE(waiting[0].unsent(), 1 << 20);
    loop.turn({});
  }
  EXPECT_FALSE(waiting[0].alive());
  EXPECT_EQ(streams_gone, 1);
}

TEST_F(HttpServerTest, SlowClientsAreGivenUp) {
  serve({.head_max = milliseconds(100), .idle_max = milliseconds(300), .body_stall_max = milliseconds(100)});
  Client head = connect(), body = connect(), idle = connect(), silent = connect();
  head.send("GET /hello HT");
  body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  idle.send(kHello);
  EXPECT_TRUE(head.read(1).starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(body.read(1).starts_with("HTTP/1.1 408 "));
  silent.read(1, milliseconds(1));
  EXPECT_TRUE(silent.closed);
  idle.read_until("hello");
  EXPECT_FALSE(idle.closed);
  idle.read(std::string::npos, milliseconds(600));
  EXPECT_TRUE(idle.closed);
}

TEST_F(HttpServerTest, AClientThatReadsNothingIsGivenUp) {
  serve({.write_stall_max = milliseconds(150)});
  Client client = connect();
  const std::string body(16 << 20, 'x');
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(turn_until([&] { return server->connections() == 1; }));
  EXPECT_TRUE(turn_until([&] { return server->connections() == 0; }));
}

TEST_F(HttpServerTest, ConnectionsOverTheLimitAreToldSo) {
  serve({.connections_max = 2});
  Client a = connect(), b = connect();
  turn();
  Client c = connect();
  const std::string told = c.read();
  EXPECT_TRUE(told.starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(c.closed);
  EXPECT_EQ(server->refused_connections(), 1);
  const std::size_t head = told.find("\r\n\r\n");
  EXPECT_NE(told.find("Content-Length: " + std::to_string(told.size() - head - 4)), std::string::npos);
  a.leave();
  turn();
  Client d = connect();
  d.send(kHello);
  EXPECT_NE(d.read_until("hello").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, TwoThousandIdleConnections) {
  serve();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 2000; ++i) {
    clients.push_back(std::make_unique<Client>(loop, server->address()));
    if (i % 64 == 0) loop.turn({});
  }
  EXPECT_TRUE(turn_until([&] { return server->connections() == 2000; }));
  for (int i = 0; i < 2000; i += 100) {
    clients[static_cast<std::size_t>(i)]->send(kHello);
    EXPECT_NE(clients[static_cast<std::size_t>(i)]->read_until("hello").find("200 OK"), std::string::npos);
  }
  clients.clear();
  EXPECT_TRUE(turn_until([&] { return server->connections() == 0; }));
}

TEST_F(HttpServerTest, DrainFinishesWhatIsInFlight) {
  serve();
  Client idle = connect(), busy = connect();
  idle.send(kHello);
  idle.read_until("hello");
  busy.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  turn();
  bool drained = false;
  server->drain(std::chrono::seconds(5), [&] { drained = true; });
  idle.read(std::string::npos, std::chrono::seconds(5));
  EXPECT_TRUE(idle.closed);
  EXPECT_FALSE(drained);
  EXPECT_FALSE(os::connect_to(server->address()));
  waiting.at(0).send({.body = "done"});
  const std::string reply = busy.read();
  EXPECT_NE(reply.find("done"), std::string::npos);
  EXPECT_NE(reply.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(busy.closed);
  EXPECT_TRUE(drained);
}

TEST_F(HttpServerTest, DrainEndsAtItsDeadline) {
  serve();
  Client busy = connect();
  busy.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  turn();
  bool drained = false;
  server->drain(milliseconds(50), [&] { drained = true; });
  EXPECT_TRUE(turn_until([&] { return drained; }));
  EXPECT_EQ(owners.at(0).gone, 1);
}

TEST_F(HttpServerTest, OnlyLoopbackIsListenedOn) {
  for (const char* address : {"0.0.0.0:0", "10.0.0.1:80", "[::]:0"}) {
    HttpServer other(loop, router);
    const auto listening = other.listen(address);
    ASSERT_FALSE(listening);
    EXPECT_NE(listening.error().message.find("keys nor TLS"), std::string::npos);
  }
  HttpServer other(loop, router);
  EXPECT_EQ(other.listen("nonsense").error().code, Code::invalid_argument);
  EXPECT_TRUE(other.listen("localhost:0"));
  EXPECT_EQ(other.address().substr(0, 10), "127.0.0.1:");
  EXPECT_EQ(HttpServer(loop, router).listen(other.address()).error().code, Code::conflict);
}

}  // namespace
}  // namespace mayfly::gateway
