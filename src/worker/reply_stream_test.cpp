// A reply in parts on a real ring and loop; the test is the node, and as slow as it wants to be.
#include "worker/reply_stream.h"

#include <gtest/gtest.h>

#include <optional>

#include "os/clock.h"
#include "worker/test_node.h"

namespace mayfly::worker {
namespace {

using domain::ReplyPart;

class ReplyStreamTest : public testing::Test {
 protected:
  ReplyStreamTest()
      : link(shared.instance_socket.get(), os::open_ring(shared.memory.get(), 0, shared.request_bell.get()).value(),
             os::open_ring(shared.memory.get(), 1, shared.reply_bell.get()).value()) {
    EXPECT_TRUE(link.say_ready(4, {}, {}));
  }
  void begin(std::string head = "") { stream.emplace(loop, link, 7, std::move(head), [this] { ++resumed; }); }
  // What the node finds in the ring now.
  std::vector<TestReply> come() {
    std::vector<TestReply> all;
    while (auto reply = node.reply(1ms)) all.push_back(std::move(*reply));
    return all;
  }
  std::string bytes_of(const std::vector<TestReply>& parts) {
    std::string bytes;
    for (const TestReply& part : parts) bytes += part.body.substr(part.head.json_size);
    return bytes;
  }

  TestLink shared;
  TestNode node{shared};
  os::Loop loop = os::Loop::create().value();
  FrameLink link;
  std::optional<ReplyStream> stream;
  int resumed = 0;
};

TEST_F(ReplyStreamTest, TheFirstBytesGoWithTheHead) {
  begin("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_FALSE(stream->begun());
  stream->write("one");
  stream->write("two");
  EXPECT_TRUE(stream->begun());
  EXPECT_FALSE(stream->full());
  const auto parts = come();
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].head.part, ReplyPart::begin);
  EXPECT_EQ(parts[0].head.ticket, 7U);
  EXPECT_EQ(parts[0].head.json_size, 19U);
  EXPECT_EQ(parts[0].body, "HTTP/1.1 200 OK\r\n\r\none");
  EXPECT_EQ(parts[1].head.part, ReplyPart::piece);
  EXPECT_EQ(parts[1].body, "two");
}

TEST_F(ReplyStreamTest, NoMoreThanTheWindowIsUnderWay) {
  begin();
  std::string sent(domain::kStreamWindow + 100'000, 'x');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i / 1000 % 26);
  stream->write(sent);
  EXPECT_TRUE(stream->full());
  std::string got;
  for (int turn = 0; turn < 200 && got.size() < domain::kStreamWindow; ++turn) {
    got += bytes_of(come());
    loop.turn(2ms);
  }
  for (int turn = 0; turn < 5; ++turn) loop.turn(2ms);
  got += bytes_of(come());
  EXPECT_EQ(got.size(), domain::kStreamWindow) << "the rest waits for the caller";
  EXPECT_EQ(resumed, 0);
  stream->taken(50'000);
  got += bytes_of(come());
  EXPECT_EQ(got.size(), domain::kStreamWindow + 50'000);
  EXPECT_TRUE(stream->full());
  stream->taken(60'000);
  got += bytes_of(come());
  EXPECT_EQ(got, sent);
  EXPECT_EQ(resumed, 1);
  EXPECT_FALSE(stream->full());
}

TEST_F(ReplyStreamTest, ARingThatIsFullIsTriedAgainAndKeepsRoomForTheEnd) {
  begin();
  stream->write(std::string(200'000, 'x'));
  EXPECT_TRUE(stream->full()) << "the ring has less room than the window";
  EXPECT_TRUE(link.reply({.ticket = 9}, std::string(1000, 'y'))) << "another call's answer finds room";
  std::size_t got = 0;
  bool other = false;
  for (int turn = 0; turn < 500 && got < 200'000; ++turn) {
    for (const TestReply& part : come()) {
      if (part.head.ticket == 9) other = true;
      else got += part.body.size();
    }
    loop.turn(2ms);
  }
  EXPECT_EQ(got, 200'000U);
  EXPECT_TRUE(other);
  EXPECT_EQ(resumed, 1);
}

TEST_F(ReplyStreamTest, AWindowIsNeverWidened) {
  begin();
  stream->write("x");
  stream->taken(1 << 30);
  stream->write(std::string(domain::kStreamWindow + 1000, 'x'));
  std::size_t got = 0;
  for (int turn = 0; turn < 200; ++turn) {
    got += bytes_of(come()).size();
    loop.turn(turn < 20 ? 2ms : 0ms);
  }
  EXPECT_EQ(got, domain::kStreamWindow + 1);
  EXPECT_TRUE(stream->full());
}

}  // namespace
}  // namespace mayfly::worker
