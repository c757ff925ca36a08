// The bridge between a test that plays the program (a TCP client) and one that plays the node (a unix listener).
#include "worker/model_bridge.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <vector>

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

class ModelBridgeTest : public testing::Test {
 protected:
  static std::string make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "mayfly-bridge-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    return name;
  }
  ~ModelBridgeTest() override { std::filesystem::remove_all(folder_); }

  // A path longer than the kernel takes for a socket.
  std::string socket() {
    const auto deep = folder_ / std::string(120, 'd');
    std::filesystem::create_directories(deep);
    return (deep / "models.sock").string();
  }
  os::Fd program() { return os::connect_to(bridge_->address()).value(); }
  void turn(int times = 3) {
    for (int i = 0; i < times; ++i) loop_.turn(1ms);
  }
  // The node's side of the newest connection.
  os::Fd accepted() {
    for (int i = 0; i < 200; ++i) {
      turn(1);
      auto fd = node_.accept();
      if (fd && *fd) return *std::move(fd);
    }
    return {};
  }
  std::string received(int socket, std::size_t wanted) {
    std::string all, piece(65536, '\0');
    for (int i = 0; i < 2000 && all.size() < wanted; ++i) {
      turn(1);
      if (const os::Moved got = os::receive(socket, piece); got > 0) all.append(piece, 0, static_cast<std::size_t>(got));
    }
    return all;
  }
  bool closed(int socket) {
    std::string piece(16, '\0');
    for (int i = 0; i < 200; ++i) {
      turn(1);
      if (const os::Moved got = os::receive(socket, piece); got == 0 || got == os::kPeerGone) return true;
    }
    return false;
  }

  const std::filesystem::path folder_ = make_folder();
  os::Loop loop_ = os::Loop::create().value();
  os::Listener node_ = os::Listener::create_local(socket()).value();
  std::unique_ptr<ModelBridge> bridge_ = ModelBridge::create(loop_, node_.address()).value();
};

TEST_F(ModelBridgeTest, BytesArriveAsTheyWereSentBothWays) {
  const os::Fd client = program(), node = accepted();
  ASSERT_TRUE(node);
  std::string there(100'000, 'a');
  for (std::size_t i = 0; i < there.size(); ++i) there[i] = static_cast<char>(i * 7);
  ASSERT_EQ(os::send(client.get(), there), static_cast<os::Moved>(there.size()));
  EXPECT_EQ(received(node.get(), there.size()), there);
  ASSERT_EQ(os::send(node.get(), "answer"), 6);
  turn();
  EXPECT_EQ(received(client.get(), 6), "answer");
}

TEST_F(ModelBridgeTest, WhoDoesNotReadIsNotReadFor) {
  const os::Fd client = program(), node = accepted();
  ASSERT_TRUE(node);
  const std::string piece(1 << 20, 'x');
  std::size_t taken = 0;
  for (int i = 0; i < 200; ++i) {
    if (const os::Moved sent = os::send(node.get(), piece); sent > 0) taken += static_cast<std::size_t>(sent);
    turn(1);
  }
  EXPECT_LT(taken, std::size_t{32} << 20);  // what the kernel's buffers hold, and 64 KiB; not all of 200 MiB
  std::size_t got = 0;
  std::string some(1 << 20, '\0');
  while (got < taken) {
    turn(1);
    const os::Moved read = os::receive(client.get(), some);
    ASSERT_GT(read, 0);
    got += static_cast<std::size_t>(read);
  }
  EXPECT_EQ(got, taken);
}

TEST_F(ModelBridgeTest, AnEndOfOneSideIsTheEndOfTheOther) {
  {
    const os::Fd client = program();
    os::Fd node = accepted();
    ASSERT_TRUE(node);
    ASSERT_EQ(os::send(node.get(), "last words"), 10);
    node.reset();
    EXPECT_EQ(received(client.get(), 10), "last words");
  }
  turn();
  EXPECT_EQ(bridge_->connections(), 0U);
  os::Fd client = program();
  const os::Fd node = accepted();
  client.reset();
  EXPECT_TRUE(closed(node.get()));
  EXPECT_EQ(bridge_->connections(), 0U);
}

TEST_F(ModelBridgeTest, OneMoreThanTheLimitWaitsForAnotherToEnd) {
  std::vector<os::Fd> clients;
  for (std::size_t i = 0; i <= ModelBridge::kConnectionsMax; ++i) {
    clients.push_back(program());
    turn(1);
  }
  turn(10);
  EXPECT_EQ(bridge_->connections(), ModelBridge::kConnectionsMax);
  clients.erase(clients.begin());
  turn(10);
  EXPECT_EQ(bridge_->connections(), ModelBridge::kConnectionsMax);
  clients.clear();
  turn(10);
  EXPECT_EQ(bridge_->connections(), 0U);
}

TEST_F(ModelBridgeTest, WithoutANodeAConnectionEnds) {
  bridge_ = ModelBridge::create(loop_, (folder_ / "absent.sock").string()).value();
  const os::Fd client = program();
  turn();
  EXPECT_TRUE(closed(client.get()));
}

}  // namespace
}  // namespace mayfly::worker
