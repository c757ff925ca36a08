#include "instances/fake_launcher.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

// Checks the promises of launcher.h on everything that it is told.
class Checker final : public LauncherEvents {
 public:
  struct Seen {
    bool ready = false, failed = false, gone = false;
    int replies = 0;
  };
  void on_ready(ProcessId id, const ReadyReport& report) override {
    EXPECT_FALSE(in_call) << "an event from inside a call";
    Seen& p = seen[id];
    EXPECT_FALSE(p.ready || p.failed || p.gone);
    EXPECT_GE(report.credit, 1);
    p.ready = true;
    last_report = report;
  }
  void on_failed(ProcessId id, const Error& error, std::string_view) override {
    EXPECT_FALSE(in_call);
    EXPECT_FALSE(seen[id].ready || seen[id].failed || seen[id].gone);
    EXPECT_FALSE(error.message.empty());
    seen[id].failed = true;
  }
  void on_reply(ProcessId id, Reply&& reply) override {
    EXPECT_FALSE(in_call);
    EXPECT_TRUE(seen[id].ready && !seen[id].gone);
    ++seen[id].replies;
    tickets.insert(reply.head.ticket);
    last_code = reply.head.code;
  }
  void on_gone(ProcessId id, const Death& death) override {
    EXPECT_FALSE(in_call);
    EXPECT_FALSE(seen[id].gone);
    EXPECT_FALSE(death.reason.empty());
    seen[id].gone = true;
    last_death = death;
  }
  void on_log(ProcessId, const domain::Printed&) override {}

  std::map<ProcessId, Seen> seen;
  std::set<std::uint64_t> tickets;
  ReadyReport last_report;
  Death last_death;
  std::uint8_t last_code = 0;
  bool in_call = false;
};

struct Bench {
  explicit Bench(std::uint64_t seed, FakeBehaviour behaviour = {}) : launcher(seed, turn, events, behaviour) {}
  void run_until(Instant end) {
    for (;;) {
      launcher.flush();
      const Instant next = launcher.next_wakeup();
      if (next > end) break;
      turn.now = std::max(turn.now, next);
      launcher.advance();
    }
    turn.now = end;
  }
  Turn turn{{1h}, {}};
  Checker events;
  FakeLauncher launcher;
};

TEST(FakeLauncher, StartsServesAndStops) {
  Bench b(1);
  b.launcher.start({1}, {.role = domain::Role::instance});
  b.run_until({1h + 100ms});
  ASSERT_TRUE(b.events.seen[{1}].ready);
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {42}, .deadline = Instant::never()}));
  b.launcher.stop({1});
  b.run_until({1h + 200ms});
  EXPECT_EQ(b.events.tickets, (std::set<std::uint64_t>{42})) << "it answers what it has";
  EXPECT_TRUE(b.events.seen[{1}].gone);
  EXPECT_TRUE(b.events.last_death.asked);
  EXPECT_EQ(b.launcher.alive(), 0U);
}

TEST(FakeLauncher, AFullRingRefuses) {
  Bench b(1, {.ring = 2});
  b.launcher.start({1}, {.role = domain::Role::instance});
  b.run_until({1h + 100ms});
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {1}}));
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {2}}));
  EXPECT_FALSE(b.launcher.send({1}, {.ticket = {3}}));
}

TEST(FakeLauncher, AHungInstanceAnswersNothingUntilItIsKilled) {
  Bench b(1, {.run_hangs = 1});
  b.launcher.start({1}, {.role = domain::Role::instance});
  b.run_until({1h + 100ms});
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {1}, .deadline = Instant::never()}));
  b.run_until({2h});
  EXPECT_TRUE(b.events.tickets.empty());
  b.launcher.kill({1});
  b.run_until({3h});
  EXPECT_TRUE(b.events.seen[{1}].gone);
}

TEST(FakeLauncher, WhatWasCancelledOrLateIsAnsweredWithoutBeingRun) {
  Bench b(1);
  b.launcher.start({1}, {.role = domain::Role::instance});
  b.run_until({1h + 100ms});
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {1}, .deadline = Instant::never()}));
  b.launcher.cancel({1}, {1});
  b.run_until({1h + 200ms});
  EXPECT_EQ(b.events.last_code, static_cast<std::uint8_t>(Code::cancelled));
  EXPECT_TRUE(b.launcher.send({1}, {.ticket = {2}, .deadline = {1h}}));
  b.run_until({1h + 300ms});
  EXPECT_EQ(b.events.last_code, static_cast<std::uint8_t>(Code::deadline_exceeded));
}

TEST(FakeLauncher, JobsEndWithTheirResult) {
  Bench b(1, {.job_result = "{\"ok\":true}"});
  b.launcher.start({1}, {.role = domain::Role::check});
  b.run_until({1h + 1s});
  EXPECT_EQ(b.events.last_report.result, "{\"ok\":true}");
  EXPECT_TRUE(b.events.seen[{1}].gone);
}

std::uint64_t play(std::uint64_t seed) {
  Bench b(seed, {.start_fails = 0.1, .start_dies = 0.1, .start_hangs = 0.05, .run_dies = 0.05, .run_hangs = 0.02, .lies = 0.1,
                 .answers_twice = 0.1, .wrong_code = 0.1, .reports_error = 0.1, .ring_refuses = 0.1});
  Random random(seed);
  std::uint64_t processes = 0, ticket = 0;
  std::set<ProcessId> told;  // to stop or die: no more work for these
  b.launcher.start({++processes}, {.role = domain::Role::template_});
  for (int step = 0; step < 2000; ++step) {
    const ProcessId some{static_cast<std::uint64_t>(random.between(1, static_cast<int>(processes)))};
    b.events.in_call = true;
    switch (random.between(0, 9)) {
      case 0: b.launcher.start({++processes}, {.role = domain::Role::instance}); break;
      case 1: b.launcher.fork({++processes}, some); break;
      case 2: if (random.chance(0.2)) { told.insert(some); b.launcher.stop(some); } break;
      case 3: if (random.chance(0.2)) { told.insert(some); b.launcher.kill(some); } break;
      case 4: b.launcher.cancel(some, {static_cast<std::uint64_t>(random.between(0, static_cast<int>(ticket)))}); break;
      default: {
        const auto& p = b.events.seen[some];
        if (p.ready && !p.gone && !told.contains(some)) (void)b.launcher.send(some, {.ticket = {++ticket}, .deadline = b.turn.now + 50ms});
      }
    }
    b.launcher.flush();
    b.events.in_call = false;
    if (random.chance(0.7)) b.run_until(b.turn.now + 1ms * random.between(0, 20));
  }
  for (std::uint64_t id = 1; id <= processes; ++id) b.launcher.kill({id});
  b.run_until(b.turn.now + 1h);
  for (std::uint64_t id = 1; id <= processes; ++id) EXPECT_TRUE(b.events.seen[{id}].gone) << id;
  EXPECT_EQ(b.launcher.alive(), 0U);
  return b.launcher.trace();
}

TEST(FakeLauncher, KeepsItsPromisesWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) play(seed);
}

TEST(FakeLauncher, SameSeedSameTrace) {
  EXPECT_EQ(play(5), play(5));
  EXPECT_NE(play(5), play(6));
}

}  // namespace
}  // namespace mayfly::instances
