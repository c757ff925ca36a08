// The node's end of a program's own socket, with a test as the program.
#include "instances/detail/direct_line.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <vector>

#include "os/clock.h"
#include "os/process.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;
using domain::DirectKind;

class DirectLineTest : public testing::Test {
 protected:
  DirectLineTest() {
    auto pair = os::make_packet_pair().value();
    far = std::move(pair.second);
    line = DirectLine::open(loop, std::move(pair.first), os::open_process(::getpid()).value(),
                            {.answered = [this](Reply&& reply) { take(std::move(reply)); },
                             .broken = [this](const std::string& how) { broken.push_back(how); }}).value();
  }
  void take(Reply&& reply) {
    if (reply.body_memfd) large = std::string(os::map_file(reply.body_memfd.get(), reply.head.body_size, os::Access::read).value().text());
    bodies.push_back(reply.body_memfd ? "large" : std::string(reply.body));
    heads.push_back(reply.head);
  }
  static Request request(std::uint64_t ticket, std::string_view body = "{}") {
    return {.ticket = {ticket}, .deadline = os::monotonic_now() + 10s, .format = domain::WireFormat::plain_json, .body = body,
            .request_id_high = 1, .request_id_low = ticket};
  }
  std::string received() {
    std::string bytes(80'000, '\0');
    const auto size = os::receive_packet_now(far.get(), bytes);
    bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return bytes;
  }
  void say(std::uint64_t ticket, DirectKind kind, std::string_view body) {
    const domain::DirectAnswer head{.ticket = ticket, .kind = kind};
    ASSERT_GT(os::send_packet_now(far.get(), os::bytes_of(head), body), 0);
    loop.turn({});
  }

  os::Loop loop = os::Loop::create().value();
  os::Fd far;
  std::unique_ptr<DirectLine> line;
  std::vector<std::string> bodies, broken;
  std::vector<domain::ReplyHead> heads;
  std::string large;
};

TEST_F(DirectLineTest, ACallGoesThereAndItsAnswerBack) {
  ASSERT_TRUE(line->takes(request(5)));
  ASSERT_TRUE(line->send(request(5, "[1, 2]")));
  EXPECT_FALSE(line->takes(request(6))) << "one at a time";
  const std::string packet = received();
  domain::DirectCall call;
  ASSERT_GT(packet.size(), sizeof call);
  std::memcpy(&call, packet.data(), sizeof call);
  EXPECT_EQ(call.ticket, 5U);
  EXPECT_EQ(call.request_id[7], 1);
  EXPECT_EQ(call.request_id[15], 5);
  EXPECT_EQ(call.event_size, 6U);
  EXPECT_LE(call.time_left_ns, 11'000'000'000U);
  EXPECT_EQ(packet.substr(sizeof call), "[1, 2]");
  say(5, DirectKind::response, "3");
  EXPECT_EQ(bodies, std::vector<std::string>{"3"});
  EXPECT_EQ(heads[0].ticket, 5U);
  EXPECT_EQ(heads[0].code, 0);
  EXPECT_TRUE(line->takes(request(6)));
}

TEST_F(DirectLineTest, WhatOthersMustSeeGoesAnotherWay) {
  Request wants_log = request(1), url = request(1), tensors = request(1), nameless = request(1), talkative = request(1);
  wants_log.wants_log = true;
  url.reply_form = domain::ReplyForm::url;
  tensors.format = domain::WireFormat::v2_json;
  nameless.request_id_high = nameless.request_id_low = 0;
  talkative.context_size = domain::kDirectSaidMax + 1;
  for (const Request& each : {wants_log, url, tensors, nameless, talkative}) EXPECT_FALSE(line->takes(each));
}

TEST_F(DirectLineTest, AnErrorIsTheFunctionsOwn) {
  ASSERT_TRUE(line->send(request(5)));
  say(5, DirectKind::error, R"({"errorType":"E"})");
  ASSERT_EQ(heads.size(), 1U);
  EXPECT_EQ(heads[0].code, static_cast<std::uint8_t>(Code::internal));
  EXPECT_EQ(heads[0].function_error, 1);
}

TEST_F(DirectLineTest, PiecesBecomeOneAnswerInMemory) {
  ASSERT_TRUE(line->send(request(5)));
  const std::string piece(48 * 1024, 'p');
  say(5, DirectKind::piece, piece);
  say(5, DirectKind::piece, piece);
  EXPECT_TRUE(bodies.empty());
  say(5, DirectKind::response, "end");
  EXPECT_EQ(bodies, std::vector<std::string>{"large"});
  EXPECT_EQ(large, piece + piece + "end");
}

TEST_F(DirectLineTest, WhatCantBeTrueBreaksIt) {
  ASSERT_TRUE(line->send(request(5)));
  say(6, DirectKind::response, "another's");
  EXPECT_EQ(broken.size(), 1U);
  EXPECT_FALSE(line->takes(request(7)));
  say(5, DirectKind::response, "too late");
  EXPECT_TRUE(bodies.empty());
}

TEST_F(DirectLineTest, UnaskedWordsBreakIt) {
  say(5, DirectKind::response, "nobody called");
  EXPECT_EQ(broken.size(), 1U);
}

TEST_F(DirectLineTest, AnAnswerWithoutEndBreaksIt) {
  ASSERT_TRUE(line->send(request(5)));
  const std::string piece(60 * 1024, 'p');
  for (int i = 0; i < 200 && broken.empty(); ++i) say(5, DirectKind::piece, piece);
  EXPECT_EQ(broken.size(), 1U);
  EXPECT_TRUE(bodies.empty());
}

TEST_F(DirectLineTest, AnAnswerCountsBeforeWhatItsHostSays) {
  ASSERT_TRUE(line->send(request(5)));
  const domain::DirectAnswer head{.ticket = 5};
  ASSERT_GT(os::send_packet_now(far.get(), os::bytes_of(head), "done"), 0);
  EXPECT_FALSE(line->give_up(5)) << "it lay there already";
  EXPECT_EQ(bodies, std::vector<std::string>{"done"});
  EXPECT_FALSE(line->give_up(5));
  EXPECT_TRUE(line->give_up(4)) << "none of its calls";
  ASSERT_TRUE(line->send(request(6)));
  EXPECT_TRUE(line->give_up(6));
  say(6, DirectKind::response, "too late");
  EXPECT_EQ(bodies.size(), 1U);
  EXPECT_TRUE(broken.empty());
  EXPECT_FALSE(line->takes(request(7))) << "its host ends it";
}

TEST_F(DirectLineTest, AClosedEndTakesNoMore) {
  ASSERT_TRUE(line->send(request(5)));
  far.reset();
  loop.turn({});
  EXPECT_TRUE(broken.empty()) << "its host says why";
  EXPECT_FALSE(line->takes(request(6)));
}

TEST_F(DirectLineTest, AProgramThatReadsNothingFillsOnlyItsOwnSocket) {
  const std::string body(domain::kInlineMax, 'b');
  int sent = 0;
  for (std::uint64_t ticket = 1; ticket < 100 && line->send(request(ticket, body)); ++ticket) ++sent;
  EXPECT_LT(sent, 20) << "and never blocks";
}

TEST(DirectLineOpen, OnlyWhatItIsMeantToBe) {
  os::Loop loop = os::Loop::create().value();
  const os::Fd program = os::open_process(::getpid()).value();
  EXPECT_FALSE(DirectLine::open(loop, os::make_eventfd().value(), program, {}));
  EXPECT_FALSE(DirectLine::open(loop, os::make_memfd("x", 10).value(), program, {}));
  EXPECT_FALSE(DirectLine::open(loop, std::move(os::make_packet_pair().value().first), os::make_eventfd().value(), {}));
}

}  // namespace
}  // namespace mayfly::instances
