// The node's end of a way out, against a test that plays the host process: also one that the program has taken over.
#include "instances/outbound_door.h"

#include <gtest/gtest.h>
#include <fcntl.h>

#include <atomic>
#include <cstring>
#include <map>
#include <optional>

#include "os/listener.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

class OutboundDoorTest : public testing::Test {
 protected:
  // A door to these; what names lead to is in `names_`.
  void open(const std::vector<std::string>& destinations, domain::NetworkRules rules = {}) {
    door_ = OutboundDoor::create(loop_, {pool_, domain::parse_destinations(destinations).value(), rules,
                                 [this](std::string_view line) { log_ += std::string(line) + "\n"; },
                                 [this](const std::string& name) -> Result<std::vector<os::IpBytes>> {
                                   while (held_) {}
                                   std::vector<os::IpBytes> all;
                                   if (!names_.contains(name)) return fail(Code::not_found, "Name or service not known");
                                   for (const std::string& ip : names_.at(name)) all.push_back(domain::parse_ip(ip).value().bytes);
                                   return all;
                                 }}).value();
    host_ = os::duplicate(door_->far()).value();
    ASSERT_EQ(::fcntl(host_.get(), F_SETFL, O_NONBLOCK), 0);
    door_->forget_far();
  }
  void ask(std::uint64_t number, std::uint32_t destination) {
    const domain::OutboundAsk ask{.number = number, .destination = destination};
    ASSERT_TRUE(os::send_packet(host_.get(), os::bytes_of(ask)));
  }
  struct Answer {
    domain::OutboundAnswer said;
    os::Fd socket;
  };
  std::optional<Answer> answer() {
    for (int i = 0; i < 1000; ++i) {
      loop_.turn(5ms);
      Answer answer;
      auto packet = os::receive_packet(host_.get(), std::as_writable_bytes(std::span(&answer.said, 1)));
      if (!packet && packet.error().code == Code::exhausted) continue;
      if (!packet || packet->size == 0) return std::nullopt;
      if (!packet->fds.empty()) answer.socket = std::move(packet->fds[0]);
      return answer;
    }
    return std::nullopt;
  }
  // "yes" with a connected socket, or "no".
  std::string outcome(std::uint32_t destination) {
    ask(++asked_, destination);
    const auto got = answer();
    if (!got || got->said.number != asked_) return "nothing";
    if (got->said.granted == 0) return got->socket ? "a no with a socket" : "no";
    return got->socket && os::is_connected(got->socket.get()) ? "yes" : "a yes without a connection";
  }
  static std::string port_of(const os::Listener& listener) { return listener.address().substr(listener.address().rfind(':') + 1); }

  os::Loop loop_ = os::Loop::create().value();
  std::map<std::string, std::vector<std::string>> names_;
  std::string log_;
  std::atomic<bool> held_ = false;                 // as by a resolver that does not answer
  os::Pool pool_{loop_, 1, 80};
  os::Listener server_ = os::Listener::create("127.0.0.1:0").value();
  std::unique_ptr<OutboundDoor> door_;
  os::Fd host_;
  std::uint64_t asked_ = 0;
};

TEST_F(OutboundDoorTest, ANameIsLookedUpAndConnected) {
  names_["db.example"] = {"127.0.0.1"};
  open({"db.example:" + port_of(server_)}, {.loopback = true});
  EXPECT_EQ(outcome(0), "yes") << log_;
  EXPECT_TRUE(server_.accept().value());
}

TEST_F(OutboundDoorTest, AddressesAreTriedInTurn) {
  names_["db.example"] = {"::1", "127.0.0.2", "127.0.0.1"};  // nobody listens at the first two
  open({"db.example:" + port_of(server_)}, {.loopback = true});
  EXPECT_EQ(outcome(0), "yes") << log_;
  EXPECT_EQ(log_, "");
}

TEST_F(OutboundDoorTest, NoNameLeadsWhereNoneMay) {
  const std::string port = port_of(server_);
  names_ = {{"loop.example", {"127.0.0.1"}}, {"mapped.example", {"::ffff:127.0.0.1", "::1"}}, {"any.example", {"0.0.0.0", "::"}},
            {"meta.example", {"169.254.169.254"}}, {"six.example", {"fe80::1"}}, {"aws.example", {"fd00:ec2::254"}}};
  open({"loop.example:" + port, "mapped.example:" + port, "any.example:" + port, "meta.example:80", "six.example:80", "aws.example:80",
        "absent.example:80"});
  for (std::uint32_t at = 0; at < 7; ++at) EXPECT_EQ(outcome(at), "no") << at;
  EXPECT_FALSE(server_.accept().value()) << "somebody connected";
  for (const char* said : {"loop.example:", "network_loopback: true", "meta.example:80: it is 169.254.169.254, a link-local",
                           "aws.example:80", "credentials",
                           "absent.example:80: this machine's resolver does not know it: Name or service not known"})
    EXPECT_TRUE(log_.contains(said)) << said << "\n" << log_;
}

TEST_F(OutboundDoorTest, TheNodesOwnPortIsMeantByNoName) {
  const std::string port = port_of(server_);
  names_["rebound.example"] = {"127.0.0.1"};
  const domain::NetworkRules rules{.loopback = true, .node_port = static_cast<std::uint16_t>(std::stoi(port))};
  open({"rebound.example:" + port, "localhost:" + port, "127.0.0.1:" + port}, rules);
  names_["localhost"] = {"127.0.0.1"};
  EXPECT_EQ(outcome(0), "no");
  EXPECT_EQ(outcome(1), "no");
  EXPECT_TRUE(log_.contains("the node's own port")) << log_;
  EXPECT_EQ(outcome(2), "yes") << "what the list names by its address is what was wanted";
}

TEST_F(OutboundDoorTest, ALoopbackAddressWantsTheNodesWord) {
  open({"127.0.0.1:" + port_of(server_)});
  EXPECT_EQ(outcome(0), "no");
  EXPECT_TRUE(log_.contains("network_loopback: true")) << log_;
}

TEST_F(OutboundDoorTest, AHostThatLiesGetsNothing) {
  open({"127.0.0.1:" + port_of(server_)}, {.loopback = true});
  EXPECT_EQ(outcome(1), "no") << "a destination that is not in the list";
  EXPECT_EQ(outcome(0xffffffff), "no");
  EXPECT_EQ(outcome(0), "yes") << log_;
  ASSERT_TRUE(os::send_packet(host_.get(), std::as_bytes(std::span("10.0.0.1:80", 11))));
  for (int i = 0; i < 5; ++i) loop_.turn(1ms);
  const domain::OutboundAsk ask{.number = 9};
  static_cast<void>(os::send_packet(host_.get(), os::bytes_of(ask)).has_value());
  EXPECT_FALSE(answer().has_value()) << "after what no host says, nothing is answered";
}

TEST_F(OutboundDoorTest, AFloodOfQuestionsIsBounded) {
  names_["slow.example"] = {"127.0.0.1"};
  held_ = true;
  open({"slow.example:" + port_of(server_)}, {.loopback = true});
  for (std::uint64_t n = 1; n <= OutboundDoor::kAsksMax; ++n) ask(n, 0);
  for (int i = 0; i < 10; ++i) loop_.turn(1ms);
  EXPECT_EQ(log_, "");
  asked_ = OutboundDoor::kAsksMax;
  EXPECT_EQ(outcome(0), "no") << "one more";
  EXPECT_TRUE(log_.contains("64 connections are being made already")) << log_;
  held_ = false;
  for (std::size_t n = 0; n < OutboundDoor::kAsksMax; ++n) {
    const auto got = answer();
    ASSERT_TRUE(got) << n;
    EXPECT_EQ(got->said.granted, 1U) << log_;
  }
}

TEST_F(OutboundDoorTest, MoreNamesThanThePoolTakesAreRefused) {
  held_ = true;
  names_["slow.example"] = {"127.0.0.1"};
  open({"slow.example:1"}, {.loopback = true});
  os::Pool& pool = pool_;
  std::atomic<bool> taken = false;                 // a thread that takes its first task later would make room for one more
  ASSERT_TRUE(pool.run([this, &taken] { taken = true; while (held_) {} }, [] {}));
  while (!taken) {}
  while (pool.run([this] { while (held_) {} }, [] {})) {}
  EXPECT_EQ(outcome(0), "no");
  EXPECT_TRUE(log_.contains("too many names wait")) << log_;
  held_ = false;
}

TEST_F(OutboundDoorTest, ADoorThatGoesLeavesNothingBehind) {
  names_["db.example"] = {"127.0.0.1"};
  open({"db.example:1"}, {.loopback = true});
  ask(1, 0);
  loop_.turn(1ms);
  door_.reset();
  for (int i = 0; i < 20; ++i) loop_.turn(2ms);  // what the pool found is nobody's
  std::array<std::byte, 16> bytes;
  const auto packet = os::receive_packet(host_.get(), bytes);
  EXPECT_TRUE(packet && packet->size == 0) << "it closes";
}

}  // namespace
}  // namespace mayfly::instances
