// The way out between a test that plays the program (a TCP client) and one that plays the node (the socket for questions).
#include "worker/outbound.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>

#include "domain/network.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

class OutboundTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = os::make_packet_pair().value();
    node_ = std::move(pair.first);
    std::vector<os::Listener> listeners;
    for (int i = 0; i < 2; ++i) listeners.push_back(os::Listener::create_inside("127.0.0.1:0").value());
    for (const os::Listener& listener : listeners) addresses_.push_back(listener.address());
    outbound_ = Outbound::create(loop_, std::move(listeners), std::move(pair.second)).value();
  }
  void turn(int times = 3) {
    for (int i = 0; i < times; ++i) loop_.turn(1ms);
  }
  os::Fd program(std::size_t destination = 0) { return os::connect_to(addresses_.at(destination)).value(); }
  std::optional<domain::OutboundAsk> asked() {
    domain::OutboundAsk ask;
    for (int i = 0; i < 200; ++i) {
      turn(1);
      const auto packet = os::receive_packet(node_.get(), std::as_writable_bytes(std::span(&ask, 1)));
      if (packet && packet->size == sizeof ask) return ask;
    }
    return std::nullopt;
  }
  // Grants it, and gives back the far end of what the program is connected to.
  os::Fd grant(std::uint64_t number) {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    const os::Fd given(pair[0]);
    answer(number, true, {pair, 1});
    return os::Fd(pair[1]);
  }
  void answer(std::uint64_t number, bool granted, std::span<const int> fds = {}) {
    const domain::OutboundAnswer said{.number = number, .granted = granted};
    EXPECT_TRUE(os::send_packet(node_.get(), os::bytes_of(said), fds));
    turn();
  }
  std::string received(int socket, std::size_t wanted) {
    std::string all, piece(65536, '\0');
    for (int i = 0; i < 1000 && all.size() < wanted; ++i) {
      turn(1);
      const ssize_t got = ::recv(socket, piece.data(), piece.size(), MSG_DONTWAIT);
      if (got > 0) all.append(piece, 0, static_cast<std::size_t>(got));
    }
    return all;
  }

  os::Loop loop_ = os::Loop::create().value();
  std::vector<std::string> addresses_;
  os::Fd node_;
  std::unique_ptr<Outbound> outbound_;
};

TEST_F(OutboundTest, AConnectionIsAskedForAndCarried) {
  const os::Fd client = program(1);
  const auto ask = asked();
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->destination, 1U);
  ASSERT_EQ(os::send(client.get(), "early"), 5);    // before the answer
  const os::Fd far = grant(ask->number);
  EXPECT_EQ(received(far.get(), 5), "early");
  ASSERT_EQ(os::send(far.get(), "answer"), 6);
  EXPECT_EQ(received(client.get(), 6), "answer");
}

TEST_F(OutboundTest, TheEndOfOneDirectionLeavesTheOther) {
  const os::Fd client = program();
  os::Fd far = grant(asked().value().number);
  ASSERT_EQ(os::send(client.get(), "all"), 3);
  os::shut_writing(client.get());
  EXPECT_EQ(received(far.get(), 3), "all");
  char byte = 0;
  EXPECT_EQ(::recv(far.get(), &byte, 1, 0), 0) << "the end arrives";
  ASSERT_EQ(os::send(far.get(), "still"), 5);
  EXPECT_EQ(received(client.get(), 5), "still");
  EXPECT_EQ(outbound_->connections(), 1U);
  far.reset();
  turn();
  EXPECT_EQ(outbound_->connections(), 0U);
}

TEST_F(OutboundTest, ANoIsAReset) {
  const os::Fd client = program();
  answer(asked().value().number, false);
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(OutboundTest, AnswersThatNobodyAskedForAreDropped) {
  const os::Fd client = program();
  const auto ask = asked().value();
  answer(ask.number + 7, true);
  answer(ask.number, true);  // without a socket: a no
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(outbound_->connections(), 0U);
}

TEST_F(OutboundTest, QuestionsAndConnectionsAreBounded) {
  std::vector<os::Fd> clients, far;
  for (std::size_t i = 0; i < Outbound::kConnectionsMax + 20; ++i) clients.push_back(program());
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 50; ++i) {
    turn(1);
    domain::OutboundAsk ask;
    while (os::receive_packet(node_.get(), std::as_writable_bytes(std::span(&ask, 1)))) numbers.push_back(ask.number);
  }
  EXPECT_EQ(numbers.size(), Outbound::kAsksMax);
  for (std::size_t i = 0; i < Outbound::kConnectionsMax; ++i) {
    const auto ask = i < numbers.size() ? domain::OutboundAsk{.number = numbers[i]} : asked().value();
    far.push_back(grant(ask.number));
  }
  EXPECT_EQ(outbound_->connections(), Outbound::kConnectionsMax);
  domain::OutboundAsk more;
  turn();
  EXPECT_FALSE(os::receive_packet(node_.get(), std::as_writable_bytes(std::span(&more, 1)))) << "one more waits";
  clients.erase(clients.begin());
  far.erase(far.begin());
  EXPECT_TRUE(asked()) << "until another has ended";
}

TEST_F(OutboundTest, WithoutTheNodeNothingIsListenedFor) {
  node_.reset();
  turn();
  EXPECT_FALSE(os::connect_to(addresses_[0]) && asked());
}

}  // namespace
}  // namespace mayfly::worker
