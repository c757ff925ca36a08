// ZygoteLauncher's promises with real sandboxes.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "node.h"

namespace mayfly::security {
namespace {

TEST(Launcher, AnInstanceFromThePoolAnswers) {
  Node node;
  ASSERT_TRUE(node.until_blank());
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].error.message << node.heard[id].death.reason;
  EXPECT_EQ(node.heard[id].report.credit, 8);
  ASSERT_TRUE(node.send(id, "hello"));
  ASSERT_TRUE(node.replies(id, 1));
  EXPECT_EQ(node.heard[id].replies[0], "hello");
  node.launcher->stop(id);
  ASSERT_TRUE(node.gone(id));
  EXPECT_TRUE(node.heard[id].death.asked);
  EXPECT_EQ(node.heard[id].death.reason, "stopped");
  EXPECT_TRUE(node.order_kept);
}

TEST(Launcher, AStartBeforeThePoolStands) {
  Node node({.blanks = 0});
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].error.message << node.heard[id].death.reason;
  ASSERT_TRUE(node.send(id, "hello"));
  EXPECT_TRUE(node.replies(id, 1));
}

TEST(Launcher, ForksAnswerAndOutliveTheirTemplate) {
  Node node;
  const ProcessId parent = node.start(domain::Role::template_, "echo");
  ASSERT_TRUE(node.ready(parent)) << node.heard[parent].death.reason;
  const ProcessId one = node.fork(parent), two = node.fork(parent);
  ASSERT_TRUE(node.ready(one)) << node.heard[one].death.reason;
  ASSERT_TRUE(node.ready(two)) << node.heard[two].death.reason;
  node.launcher->kill(parent);
  ASSERT_TRUE(node.gone(parent));
  ASSERT_TRUE(node.send(one, "still"));
  ASSERT_TRUE(node.replies(one, 1));
  node.launcher->kill(one);
  ASSERT_TRUE(node.gone(one));
  EXPECT_EQ(node.heard[two].gone, 0);
  ASSERT_TRUE(node.send(two, "there"));
  ASSERT_TRUE(node.replies(two, 1));
  const ProcessId late = node.fork(parent);
  ASSERT_TRUE(node.gone(late));
  EXPECT_EQ(node.heard[late].failed, 1);
  EXPECT_TRUE(node.order_kept);
}

TEST(Launcher, LargeBodiesTravelInMemfds) {
  Node node;
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  const std::string text(3 << 20, 'x');
  auto memory = os::make_memfd("body", text.size());
  std::memcpy(os::map_file(memory->get(), text.size(), os::Access::write)->data(), text.data(), text.size());
  ASSERT_TRUE(os::seal(*memory));
  ASSERT_TRUE(node.launcher->send(id, {.ticket = Ticket{1}, .deadline = Instant::never(),
                                       .body_memfd = memory->get(), .body_size = text.size()}));
  ASSERT_TRUE(node.replies(id, 1)) << node.heard[id].death.reason;
  EXPECT_EQ(node.heard[id].replies[0], text);
}

struct Death {
  const char* body;
  const char* reason;
};
class Deaths : public ::testing::TestWithParam<Death> {};

TEST_P(Deaths, AreToldWithTheirReason) {
  Node node({.blanks = 1});
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].death.reason;
  ASSERT_TRUE(node.send(id, GetParam().body));
  ASSERT_TRUE(node.gone(id));
  EXPECT_EQ(node.heard[id].death.reason, GetParam().reason);
  EXPECT_FALSE(node.heard[id].death.asked);
  EXPECT_EQ(node.heard[id].gone, 1);
  EXPECT_TRUE(node.order_kept);
}

INSTANTIATE_TEST_SUITE_P(All, Deaths, ::testing::Values(
    Death{"abort", "killed by signal 6 (Aborted)"}, Death{"exit", "ended with status 7"},
    Death{"lying size", "broke the protocol: a reply of another size than it says"},
    Death{"lying json", "broke the protocol: a reply whose sizes disagree"},
    Death{"bad code", "broke the protocol: a reply with code 77"},
    Death{"no body", "broke the protocol: a reply without its body"},
    Death{"bad message", "broke the protocol: a message of kind 99"},
    Death{"gift", "broke the protocol: a descriptor that nobody asked for"},
    Death{"overrun", "broke the protocol: its ring's indices are out of bounds"}));

TEST(Launcher, BodiesThatLieBreakTheProtocol) {
  for (const std::string word : {"unsealed", "short"}) {
    Node node({.blanks = 1});
    const ProcessId id = node.start(domain::Role::instance, "echo");
    ASSERT_TRUE(node.ready(id));
    auto memory = os::make_memfd("body", 100'000);
    std::memcpy(os::map_file(memory->get(), 100'000, os::Access::write)->data(), word.data(), word.size());
    ASSERT_TRUE(os::seal(*memory));
    ASSERT_TRUE(node.launcher->send(id, {.ticket = Ticket{1}, .deadline = Instant::never(),
                                         .body_memfd = memory->get(), .body_size = 100'000}));
    ASSERT_TRUE(node.gone(id));
    EXPECT_EQ(node.heard[id].death.reason, "broke the protocol: a body in memory that is not sealed or smaller than it says");
  }
}

TEST(Launcher, StartsThatFailSayWhy) {
  Node node({.blanks = 2, .ready_max = 300ms});
  const ProcessId refused = node.start(domain::Role::instance, "refuses");
  ASSERT_TRUE(node.gone(refused));
  EXPECT_EQ(node.heard[refused].error.message, "not a model");
  EXPECT_EQ(node.heard[refused].failed, 1);
  const ProcessId crashed = node.start(domain::Role::instance, "crash at load");
  ASSERT_TRUE(node.gone(crashed));
  EXPECT_EQ(node.heard[crashed].death.reason, "killed by signal 6 (Aborted)");
  const ProcessId silent = node.start(domain::Role::instance, "never ready");
  ASSERT_TRUE(node.gone(silent));
  EXPECT_EQ(node.heard[silent].death.reason, "did not become ready within 300 ms: a smaller model loads sooner");
  const ProcessId greedy = node.start(domain::Role::instance, "bad credit");
  ASSERT_TRUE(node.gone(greedy));
  EXPECT_EQ(node.heard[greedy].death.reason, "broke the protocol: a credit of 0");
  const ProcessId missing = node.start(domain::Role::instance, "echo",
                                     [](auto& order) { order.files[0].location = "/nowhere/model.onnx"; });
  EXPECT_EQ(node.heard[missing].failed, 0) << "told from inside the call";
  ASSERT_TRUE(node.gone(missing));
  EXPECT_EQ(node.heard[missing].error.code, Code::not_found);
  EXPECT_TRUE(node.order_kept);
}

TEST(Launcher, AJobGivesItsResultAndEnds) {
  Node node;
  const ProcessId id = node.start(domain::Role::check, "job");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].death.reason;
  EXPECT_EQ(node.heard[id].report.result, R"({"result": 1})");
  ASSERT_TRUE(node.gone(id));
  const ProcessId slow = node.start(domain::Role::compile, "never ready", [](auto& order) { order.time_max = 200ms; });
  ASSERT_TRUE(node.gone(slow));
  EXPECT_EQ(node.heard[slow].death.reason, "ran longer than its limit of 200 ms: give a model that ends sooner");
}

TEST(Launcher, MemoryWithoutEndIsEndedByTheLimit) {
  Node node;
  if (!node.launcher->note().empty()) GTEST_SKIP() << node.launcher->note();
  const ProcessId id = node.start(domain::Role::instance, "echo", [](auto& order) { order.memory_max = 64_MiB; });
  ASSERT_TRUE(node.ready(id));
  ASSERT_TRUE(node.send(id, "eat"));
  ASSERT_TRUE(node.gone(id));
  EXPECT_TRUE(node.heard[id].death.out_of_memory);
  EXPECT_EQ(node.heard[id].death.reason, "exceeded its memory limit of 67.1 MB (resources.memory)");
}

// Whose calls were lost then must be in the log: this is not the end that it was asked for.
TEST(Launcher, WhatEndsByItselfWhileItStopsSaysWhy) {
  for (const auto& [body, reason] : {std::pair{"late abort", "killed by signal 6 (Aborted)"}, {"late eat", "exceeded its memory limit"}}) {
    Node node;
    if (!node.launcher->note().empty()) GTEST_SKIP() << node.launcher->note();
    const ProcessId id = node.start(domain::Role::instance, "echo", [](auto& order) { order.memory_max = 64_MiB; });
    ASSERT_TRUE(node.ready(id));
    ASSERT_TRUE(node.send(id, body));
    node.launcher->flush();
    node.launcher->stop(id);
    ASSERT_TRUE(node.gone(id));
    EXPECT_FALSE(node.heard[id].death.asked) << body;
    EXPECT_TRUE(node.heard[id].death.reason.starts_with(reason)) << body << ": " << node.heard[id].death.reason;
  }
}

TEST(Launcher, WhatDoesNotStopIsKilled) {
  Node node({.stop_max = 200ms});
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  ASSERT_TRUE(node.send(id, "spin"));
  node.launcher->flush();
  ASSERT_FALSE(node.until([&] { return node.heard[id].gone > 0; }, 50ms));
  node.launcher->stop(id);
  ASSERT_TRUE(node.gone(id));
  EXPECT_EQ(node.heard[id].death.reason, "did not stop within 200 ms and was killed");
  EXPECT_FALSE(node.heard[id].death.asked) << "nor did it end as it was asked to";
  EXPECT_GT(node.heard[id].death.cpu, 10ms);
}

TEST(Launcher, LogsAreLinesAndAFloodIsCut) {
  Node node;
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  ASSERT_TRUE(node.send(id, "log"));
  ASSERT_TRUE(node.send(id, "socket"));
  ASSERT_TRUE(node.replies(id, 2));
  ASSERT_TRUE(node.until([&] { return node.heard[id].log.contains("tried socket"); })) << node.heard[id].log;
  EXPECT_TRUE(node.heard[id].log.starts_with("a line of the model's own\n"));
  ASSERT_TRUE(node.send(id, "flood"));
  ASSERT_TRUE(node.replies(id, 3));
  EXPECT_LT(std::ranges::count(node.heard[id].log, '\n'), 500);
}

TEST(Launcher, AnIndexThatGoesBackBreaksTheProtocol) {
  Node node;
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  ASSERT_TRUE(node.send(id, "rewind"));
  ASSERT_FALSE(node.until([&] { return node.heard[id].gone > 0; }, 50ms));
  EXPECT_FALSE(node.send(id, "more"));
  ASSERT_TRUE(node.gone(id));
  EXPECT_EQ(node.heard[id].death.reason, "broke the protocol: its ring's indices are out of bounds");
}

TEST(Launcher, TheRingCannotBeShrunkUnderTheNode) {
  Node node;
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  ASSERT_TRUE(node.send(id, "shrink"));
  ASSERT_TRUE(node.replies(id, 1)) << node.heard[id].death.reason;
  ASSERT_TRUE(node.until([&] { return !node.heard[id].log.empty(); }));
  EXPECT_EQ(node.heard[id].log, "the ring can't be shrunk: Operation not permitted\n");
}

TEST(Launcher, ADeadZygoteIsReplacedAndNothingElseDies) {
  Node node;
  ASSERT_TRUE(node.until_blank(4));
  const ProcessId before = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(before));
  ::kill(node.launcher->zygote_pid(), SIGKILL);
  ASSERT_TRUE(node.send(before, "still"));
  ASSERT_TRUE(node.replies(before, 1));
  std::vector<ProcessId> after;
  for (int i = 0; i < 6; ++i) after.push_back(node.start(domain::Role::instance, "echo"));
  for (const ProcessId id : after) EXPECT_TRUE(node.ready(id)) << node.heard[id].error.message << node.heard[id].death.reason;
  EXPECT_EQ(node.heard[before].gone, 0);
}

TEST(Launcher, AKilledInstanceIsToldOnce) {
  Node node;
  const ProcessId id = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(id));
  ::kill(node.launcher->pid_of(id), SIGKILL);
  ASSERT_TRUE(node.gone(id));
  EXPECT_EQ(node.heard[id].death.reason, "killed by signal 9 (Killed)");
  EXPECT_EQ(node.launcher->measure(id).memory.count, 0);
}

}  // namespace
}  // namespace mayfly::security
