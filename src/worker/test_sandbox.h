// For tests: real sandboxes made by a real zygote, with a process entry of the test's own, and the node's end of each. They run
// as root and as a user with user namespaces.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include "domain/link.h"
#include "os/clock.h"
#include "os/process.h"
#include "worker/zygote.h"

namespace mayfly::worker {

using namespace std::chrono_literals;

inline bool readable(int fd, Duration wait) {
  pollfd ask{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&ask, 1, static_cast<int>(to_ms(wait))) > 0;
}

struct TestPacket {
  std::string bytes;
  int pid = 0;
  bool closed = false;
};

inline std::optional<TestPacket> receive(const os::Fd& socket, Duration wait = 5s) {
  if (!readable(socket.get(), wait)) return std::nullopt;
  std::array<std::byte, 16384> buffer;
  auto packet = os::receive_packet(socket.get(), buffer);
  if (!packet) return std::nullopt;
  return TestPacket{{reinterpret_cast<const char*>(buffer.data()), packet->size}, packet->pid, packet->size == 0};
}

template <class T>
T read_as(const std::string& bytes) {
  T value{};
  EXPECT_GE(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

inline void say(const os::Fd& control, std::string_view text) {
  [[maybe_unused]] const auto sent = os::send_packet(control.get(), std::as_bytes(std::span(text)));
}

// The node's side of one sandbox.
struct TestSandbox {
  os::Fd control, status, log;
  int init_pid = 0;
  std::string read_log() const {
    std::array<char, 4096> text;
    const ssize_t size = readable(log.get(), 1s) ? ::read(log.get(), text.data(), text.size()) : 0;
    return {text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
  }
};

class SandboxTest : public ::testing::Test {
 protected:
  void start(ProcessEntry entry) {
    auto pair = os::make_packet_pair();
    ASSERT_TRUE(pair);
    zygote_ = std::move(pair->first);
    auto child = os::fork_child(std::move(pair->second), [&](os::Fd socket) {
      zygote_.reset();
      return run_zygote(std::move(socket), entry);
    });
    ASSERT_TRUE(child);
    child_ = std::move(*child);
    const auto hello = receive(zygote_);
    ASSERT_TRUE(hello);
    ASSERT_EQ(read_as<domain::Message>(hello->bytes).kind, domain::MessageKind::hello) << hello->bytes;
  }

  // The node's side of the order, whatever comes of it.
  std::optional<TestPacket> order(TestSandbox& sandbox, std::string_view binds) {
    auto control = os::make_packet_pair(), status = os::make_packet_pair();
    auto log = os::make_pipe();
    EXPECT_TRUE(os::pass_credentials(control->first.get()));
    const domain::SandboxOrder order{.head = {domain::MessageKind::make_sandbox, static_cast<std::uint32_t>(binds.size())},
                                     .sandbox = ++made_};
    std::string packet(sizeof order, '\0');
    std::memcpy(packet.data(), &order, sizeof order);
    packet += binds;
    const int fds[] = {control->second.get(), status->second.get(), log->second.get()};
    EXPECT_TRUE(os::send_packet(zygote_.get(), std::as_bytes(std::span(packet)), fds));
    sandbox = {std::move(control->first), std::move(status->first), std::move(log->first)};
    return receive(zygote_);
  }

  TestSandbox make(std::string_view binds = {}) {
    TestSandbox sandbox;
    const auto answer = order(sandbox, binds);
    EXPECT_TRUE(answer);
    const auto made = answer ? read_as<domain::SandboxMade>(answer->bytes) : domain::SandboxMade{};
    EXPECT_EQ(made.head.kind, domain::MessageKind::sandbox_made)
        << (answer ? answer->bytes.substr(std::min(answer->bytes.size(), sizeof made)) : "nothing");
    sandbox.init_pid = made.init_pid;
    return sandbox;
  }

  // Runs `attempt` in a sandbox and gives back what it said.
  std::string in_sandbox(const std::function<std::string()>& attempt, std::string_view binds = {}) {
    start([&](os::Fd control) { say(control, attempt()); });
    sandbox_ = make(binds);
    const auto answer = receive(sandbox_.control);
    if (answer && !answer->closed) return answer->bytes;
    const auto status = receive(sandbox_.status);
    if (!status || status->closed) return "no answer";
    const auto ended = read_as<domain::ProcessEnded>(status->bytes);
    if (ended.head.kind == domain::MessageKind::process_ended)
      return "died: " + os::describe_exit(ended.wait_status) + " " + sandbox_.read_log();
    return "not set up: " + status->bytes.substr(std::min(status->bytes.size(), sizeof(domain::SandboxMade)));
  }

  void TearDown() override {
    zygote_.reset();
    if (child_.pid) ::waitpid(child_.pid, nullptr, 0);
  }

  os::Fd zygote_;
  os::Child child_;
  TestSandbox sandbox_;
  std::uint64_t made_ = 0;
};

inline std::string errno_of(long returned) { return returned < 0 ? std::strerror(errno) : "allowed"; }

}  // namespace mayfly::worker
