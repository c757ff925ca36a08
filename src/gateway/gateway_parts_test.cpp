// Answers that come in pieces, to a client over a real socket: the test is the instance.
#include <gtest/gtest.h>

#include "gateway/event_stream.h"
#include "gateway/test_gateway.h"

namespace mayfly::gateway {
namespace {

using domain::ReplyForm;

class GatewayPartsTest : public GatewayTest {
 protected:
  GatewayPartsTest() { invoker.at_once = false; }
  void call(const std::string& what, const std::string& headers = "") {
    invoker.last.sink = nullptr;
    send(what, headers, "{}");
    for (int i = 0; i < 500 && !invoker.last.sink; ++i) loop.turn(milliseconds(1));
    ASSERT_TRUE(invoker.last.sink);
  }
  Ticket ticket() const { return {invoker.tickets}; }
  void begin(const std::string& head, std::string_view body) {
    const std::string text = head + std::string(body);
    invoker.last.sink->on_reply(ticket(), {.ok = true, .begins = true, .body = text, .json_size = head.size(), .version = 3});
  }
  void piece(std::string_view body) { invoker.last.sink->on_piece(ticket(), body); }
  void end(std::string_view body = {}) { invoker.last.sink->on_end(ticket(), {.ok = true, .body = body, .version = 3}); }
  void fail() { invoker.last.sink->on_end(ticket(), {.error = {Code::internal, "it broke"}, .version = 3}); }
  // All that comes until nothing does; `closed` says whether the connection did.
  std::string come() {
    std::string text;
    for (int quiet = 0; quiet < 20; ++quiet) {
      loop.turn(milliseconds(1));
      char buffer[65536];
      os::Moved got = 0;
      while ((got = os::receive(client.get(), buffer)) > 0) {
        text.append(buffer, static_cast<std::size_t>(got));
        quiet = 0;
      }
      closed = closed || (got <= 0 && got != os::kWouldBlock);
    }
    return text;
  }
  bool closed = false;
};

TEST_F(GatewayPartsTest, PiecesArriveBeforeTheEnd) {
  call("POST /functions/fraud");
  EXPECT_EQ(invoker.last.reply_form, ReplyForm::http_parts);
  begin("HTTP/1.1 201 Made\r\nContent-Type: text/x\r\nX-Own: 1\r\n\r\n", "one");
  const std::string first = come();
  EXPECT_EQ(status_of(first), 201);
  EXPECT_EQ(header(first, "X-Own"), "1");
  EXPECT_EQ(header(first, "Transfer-Encoding"), "chunked");
  EXPECT_TRUE(first.ends_with("\r\n\r\n3\r\none\r\n")) << first;
  piece("two");
  EXPECT_EQ(come(), "3\r\ntwo\r\n");
  EXPECT_EQ(invoker.taken_bytes, 6U);
  end("last");
  EXPECT_EQ(come(), "4\r\nlast\r\n0\r\n\r\n");
  EXPECT_EQ(invoker.closed[invoker.tickets], 1);
  EXPECT_FALSE(closed);
}

TEST_F(GatewayPartsTest, ALengthIsKeptAndHeldTo) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "one");
  piece("two");
  end();
  const std::string reply = come();
  EXPECT_EQ(header(reply, "Content-Length"), "6");
  EXPECT_EQ(body_of(reply), "onetwo");
  EXPECT_FALSE(closed);
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "one");
  end();
  EXPECT_EQ(body_of(come()), "one");
  EXPECT_TRUE(closed) << "it has less than it said";
}

TEST_F(GatewayPartsTest, MoreThanWasSaidIsCutOff) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "one");
  piece("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(body_of(come()), "one");
  EXPECT_TRUE(closed);
}

TEST_F(GatewayPartsTest, WhatHasNoBodyGetsNone) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 204 No\r\n\r\n", "never");
  end("sent");
  const std::string reply = come();
  EXPECT_EQ(status_of(reply), 204);
  EXPECT_EQ(header(reply, "Transfer-Encoding"), "");
  EXPECT_EQ(body_of(reply), "");
  EXPECT_FALSE(closed);
}

TEST_F(GatewayPartsTest, AnErrorAfterTheHeadClosesWithoutAnEnd) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\n\r\n", "one");
  EXPECT_TRUE(come().ends_with("one\r\n"));
  fail();
  EXPECT_EQ(come(), "");
  EXPECT_TRUE(closed);
}

TEST_F(GatewayPartsTest, AHeadThatIsNoneIsRefusedAndTheCallGivenUp) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "one");
  EXPECT_EQ(status_of(come()), 500);
  EXPECT_EQ(invoker.cancelled[invoker.tickets], 1);
}

TEST_F(GatewayPartsTest, WhoWantsTheLogGetsAllAtOnce) {
  call("POST /functions/fraud", "X-Mayfly-Log: tail\r\n");
  EXPECT_EQ(invoker.last.reply_form, ReplyForm::whole);
}

TEST_F(GatewayPartsTest, AClientThatDoesNotReadTakesNothingAndManySmallPiecesAreHeldAsTheyAre) {
  call("POST /2021-11-15/functions/fraud/response-streaming-invocations");
  EXPECT_EQ(invoker.last.reply_form, ReplyForm::parts);
  begin("", "x");
  std::uint64_t sent = 1;
  const std::string large(domain::kPartMax, 'x');
  for (int i = 0; i < 1000 && sent - invoker.taken_bytes < domain::kStreamWindow; ++i, sent += large.size()) piece(large);
  ASSERT_GE(sent - invoker.taken_bytes, domain::kStreamWindow) << "until the kernel takes no more";
  const std::uint64_t before = invoker.taken_bytes;
  for (int i = 0; i < 100'000; ++i, ++sent) piece("y");  // framed one by one this were more than the node keeps for a client
  EXPECT_EQ(invoker.taken_bytes, before);
  const std::string all = come();
  EXPECT_EQ(invoker.taken_bytes, sent);
  EXPECT_FALSE(closed);
  EXPECT_LT(all.size(), sent + 200'000);
  end();
  EXPECT_NE(come().find("InvokeComplete"), std::string::npos);
}

TEST_F(GatewayPartsTest, AClientThatLeavesCancelsTheCall) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\n\r\n", "one");
  come();
  client.reset();
  for (int i = 0; i < 500 && invoker.cancelled.empty(); ++i) loop.turn(milliseconds(1));
  EXPECT_EQ(invoker.cancelled[invoker.tickets], 1);
}

TEST_F(GatewayPartsTest, ADrainClosesBehindTheEnd) {
  call("POST /functions/fraud");
  begin("HTTP/1.1 200 OK\r\n\r\n", "one");
  come();
  bool drained = false;
  gateway.drain(std::chrono::seconds(60), [&] { drained = true; });
  end();
  EXPECT_EQ(come(), "0\r\n\r\n");
  EXPECT_TRUE(closed);
  EXPECT_TRUE(drained);
}

TEST_F(GatewayPartsTest, AnEventStreamSaysHowItEnded) {
  call("POST /2021-11-15/functions/fraud/response-streaming-invocations");
  begin("", "one");
  const std::string first = come();
  EXPECT_EQ(header(first, "Content-Type"), kEventStreamType);
  EXPECT_EQ(header(first, "X-Amz-Executed-Version"), "3");
  EXPECT_NE(first.find("PayloadChunk"), std::string::npos);
  fail();
  const std::string last = come();
  EXPECT_NE(last.find("InvokeComplete"), std::string::npos);
  EXPECT_NE(last.find("Unhandled"), std::string::npos);
  EXPECT_NE(last.find("it broke"), std::string::npos);
  EXPECT_TRUE(last.ends_with("0\r\n\r\n"));
  call("POST /2021-11-15/functions/fraud/response-streaming-invocations");
  invoker.reply(ticket(), "whole");
  const std::string whole = receive();
  EXPECT_NE(whole.find("whole"), std::string::npos);
  EXPECT_NE(whole.find("InvokeComplete"), std::string::npos) << "also of what answers at once";
}

}  // namespace
}  // namespace mayfly::gateway
