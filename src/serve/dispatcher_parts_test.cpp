// Replies in parts through the dispatcher, in virtual time: what a caller is told, and what an instance is let do.
#include <gtest/gtest.h>

#include "serve/test_serving.h"

namespace mayfly::serve {
namespace {

using namespace std::chrono_literals;
using domain::ReplyForm;
using domain::ReplyPart;

// A caller who takes parts, in the order in which it was told.
class PartsClient final : public ReplySink {
 public:
  void on_reply(Ticket, InvocationReply&& reply) override {
    told += reply.begins ? "begin " : reply.ok ? "whole " : "error ";
    told += reply.ok ? std::string(reply.body) + ";" : reply.error.message + ";";
    over = !reply.begins;
  }
  void on_piece(Ticket, std::string_view bytes) override {
    ASSERT(!over, "a piece of what is over");
    size += bytes.size();
    if (bytes.size() < 100) told += "piece " + std::string(bytes) + ";";
  }
  void on_end(Ticket, InvocationReply&& reply) override {
    ASSERT(!over, "an end, twice");
    over = true;
    told += reply.ok ? "end " + std::string(reply.body) + ";" : "cut " + reply.error.message + ";";
  }
  std::string told;
  std::size_t size = 0;
  bool over = false;
};

class DispatcherParts : public testing::Test {
 protected:
  DispatcherParts() : DispatcherParts(Dispatcher::Limits()) {}
  explicit DispatcherParts(Dispatcher::Limits limits) : node(behaviour(), limits) {
    node.warm(node.add(), 1);
    process = node.world.diary.started.at(0).process;
  }
  static instances::FakeBehaviour behaviour() {
    instances::FakeBehaviour slow = instances::steady(4);
    slow.run = {1h, 1h};  // what it answers is said by the test
    return slow;
  }
  Ticket call(ReplyForm form = ReplyForm::parts) { return call(client, form); }
  Ticket call(PartsClient& by, ReplyForm form) {
    node.world.poke();
    const Ticket ticket = node.dispatcher.invoke(
        {.function = "fraud", .body = "{}", .arrived = node.world.turn.now, .reply_form = form}, by);
    node.play(1ms);
    return ticket;
  }
  void say(Ticket ticket, ReplyPart part, std::string_view body, Code code = {}) {
    instances::Reply reply;
    reply.head = {.ticket = ticket.number, .body_size = body.size(), .code = static_cast<std::uint8_t>(code), .part = part};
    reply.body = body;
    node.world.poke();
    node.world.fleet.on_reply(process, std::move(reply));
    node.play(1ms);
  }

  TestServing node;
  ProcessId process;
  PartsClient client;
};

TEST_F(DispatcherParts, ComeInOrderAndAreOneCall) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  EXPECT_EQ(client.told, "begin one;");
  say(ticket, ReplyPart::piece, "two");
  EXPECT_EQ(node.lane().in_flight, 1);
  say(ticket, ReplyPart::end, "three");
  EXPECT_EQ(client.told, "begin one;piece two;end three;");
  EXPECT_EQ(node.lane().in_flight, 0);
  EXPECT_EQ(node.records.size(), 0U);
  node.dispatcher.sent(ticket, node.world.turn.now, 11);
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.bytes_out, 11U);
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST_F(DispatcherParts, AWholeReplyIsAsBefore) {
  say(call(), ReplyPart::whole, "all");
  EXPECT_EQ(client.told, "whole all;");
}

TEST_F(DispatcherParts, AnErrorAtTheEndIsTold) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  say(ticket, ReplyPart::end, "it broke", Code::internal);
  EXPECT_EQ(client.told, "begin one;cut it broke;");
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].error, "it broke");
}

TEST_F(DispatcherParts, TheTimeLimitCutsIt) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  node.play(31s);
  EXPECT_TRUE(client.told.starts_with("begin one;cut no answer within the time limit of 30000 ms")) << client.told;
  say(ticket, ReplyPart::piece, "late");  // and nothing of it is told
  EXPECT_TRUE(client.over);
}

TEST_F(DispatcherParts, ADeathCutsIt) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  node.world.poke();
  node.world.launcher.kill(process);
  node.play(1s);
  EXPECT_TRUE(client.told.starts_with("begin one;cut the instance that ran this call ended")) << client.told;
}

TEST_F(DispatcherParts, WhoAskedForNoneGetsNone) {
  const Ticket ticket = call(ReplyForm::whole);
  say(ticket, ReplyPart::begin, "one");
  EXPECT_TRUE(client.told.starts_with("error the instance answered in parts that nobody asked for")) << client.told;
  node.play(1s);
  EXPECT_EQ(node.world.diary.ended.size(), 1U) << "and who lied is gone";
}

TEST_F(DispatcherParts, OfAnotherOrderAreALie) {
  const Ticket first = call();
  say(first, ReplyPart::piece, "one");
  EXPECT_TRUE(client.told.starts_with("error the instance answered in parts")) << client.told;
  node.play(1s);
  EXPECT_EQ(node.world.diary.ended.size(), 1U);
}

TEST_F(DispatcherParts, AnEndThatFitsNothingIsAnError) {
  say(call(), ReplyPart::end, "all");
  EXPECT_TRUE(client.told.starts_with("error the instance answered in parts that don't fit")) << client.told;
  client = {};
  const Ticket second = call();
  say(second, ReplyPart::begin, "one");
  say(second, ReplyPart::whole, "all");
  EXPECT_TRUE(client.told.starts_with("begin one;cut the instance answered in parts that don't fit")) << client.told;
}

TEST_F(DispatcherParts, MoreThanWasLetIsALie) {
  const Ticket ticket = call();
  const std::string piece(domain::kPartMax, 'x');
  say(ticket, ReplyPart::begin, piece);
  for (std::uint64_t sent = 2 * piece.size(); sent <= domain::kStreamWindow; sent += piece.size()) say(ticket, ReplyPart::piece, piece);
  EXPECT_FALSE(client.over);
  node.dispatcher.taken(ticket, 10);   // told in halves of the window: these ten don't count yet
  say(ticket, ReplyPart::piece, "x");
  EXPECT_TRUE(client.told.ends_with("cut the instance sent more of its reply than was let;")) << client.told.size();
  node.play(1s);
  EXPECT_EQ(node.world.diary.ended.size(), 1U);
}

TEST_F(DispatcherParts, PartsWithoutEndAreNoSignOfLife) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  node.play(31s);
  EXPECT_TRUE(client.over);
  for (int i = 0; i < 20; ++i) {
    say(ticket, ReplyPart::piece, "more");
    node.play(100ms);
  }
  EXPECT_EQ(node.world.diary.ended.size(), 1U) << "it was told to stop, and goes on";
}

TEST_F(DispatcherParts, WhatWasTakenIsLetAgain) {
  const Ticket ticket = call();
  const std::string piece(domain::kPartMax, 'x');
  say(ticket, ReplyPart::begin, "");
  for (int round = 0; round < 10; ++round) {
    for (std::uint64_t sent = 0; sent < domain::kStreamWindow / 2; sent += piece.size()) say(ticket, ReplyPart::piece, piece);
    node.dispatcher.taken(ticket, domain::kStreamWindow / 2);
  }
  EXPECT_FALSE(client.over);
  EXPECT_EQ(client.size, 5 * domain::kStreamWindow);
}

TEST_F(DispatcherParts, ACallerWhoLeavesIsToldNothingMore) {
  const Ticket ticket = call();
  say(ticket, ReplyPart::begin, "one");
  node.dispatcher.cancel(ticket);
  say(ticket, ReplyPart::piece, "two");
  say(ticket, ReplyPart::end, "three");
  EXPECT_EQ(client.told, "begin one;");
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
  EXPECT_EQ(node.lane().in_flight, 0);
}

TEST(Dispatcher, ACallerWhoLeavesEndsNoHandler) {
  for (const bool code : {true, false}) {
    TestServing node;
    instances::Group& group = node.add();
    node.warm(group, 1);
    if (code) group.plan.instance.role = domain::Role::code;
    const Ticket left = node.call();
    node.dispatcher.cancel(left);
    EXPECT_EQ(node.world.launcher.cancels(), code ? 0U : 1U);
    node.play(1s);
    EXPECT_EQ(node.dispatcher.in_flight(), 0U);
  }
}

TEST(Dispatcher, CodeIsRemindedOnceAtADeadline) {
  for (const bool code : {true, false})
    for (const bool leaves : {true, false}) {
      instances::FakeBehaviour slow = instances::steady();
      slow.run = {20s, 20s};
      TestServing node(slow);
      instances::Group& group = node.add({.timeout = 1s});
      node.warm(group, 1);
      if (code) group.plan.instance.role = domain::Role::code;
      const Ticket ticket = node.call();
      if (leaves) node.dispatcher.cancel(ticket);
      node.play(900ms);
      EXPECT_EQ(node.world.launcher.reminders(), 0U);
      node.play(150ms);
      EXPECT_EQ(node.world.launcher.reminders(), code ? 1U : 0U) << leaves;
      node.play(3s);
      EXPECT_EQ(node.world.launcher.reminders(), code ? 1U : 0U) << leaves;
      EXPECT_EQ(node.dispatcher.in_flight(), 0U);
    }
}

// Until it begins a handler runs on without its caller; what streams would wait for a reader.
TEST_F(DispatcherParts, AHandlerThatStreamsToNobodyIsToldToEnd) {
  node.world.fleet.groups().begin()->second->plan.instance.role = domain::Role::code;
  const Ticket ticket = call();
  node.dispatcher.cancel(ticket);
  EXPECT_EQ(node.world.launcher.cancels(), 0U);
  say(ticket, ReplyPart::begin, "one");
  EXPECT_EQ(node.world.launcher.cancels(), 1U);
  say(ticket, ReplyPart::piece, "two");
  say(ticket, ReplyPart::end, "three");
  EXPECT_EQ(client.told, "");
  EXPECT_EQ(node.world.launcher.cancels(), 1U);
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

class FullNode : public DispatcherParts {
 protected:
  FullNode() : DispatcherParts({.untaken_max = 3 * domain::kPartMax}) {}
};

TEST_F(FullNode, OneCallEndsAndNobodyIsBlamed) {
  const std::string piece(domain::kPartMax, 'x');
  const Ticket first = call();
  say(first, ReplyPart::begin, piece);
  say(first, ReplyPart::piece, piece);
  say(first, ReplyPart::piece, piece);
  PartsClient other;
  const Ticket second = call(other, ReplyForm::parts);
  say(second, ReplyPart::begin, "x");
  EXPECT_TRUE(other.told.starts_with("error callers of this node have 98304 bytes")) << other.told;
  EXPECT_FALSE(client.over);
  node.play(1s);
  EXPECT_EQ(node.world.diary.ended.size(), 0U);
}

}  // namespace
}  // namespace mayfly::serve
