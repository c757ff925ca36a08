#include "autoscale/evict.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace mayfly::autoscale {
namespace {

using namespace std::chrono_literals;

std::vector<std::uint64_t> numbers(const Evictor::Plan& plan) {
  std::vector<std::uint64_t> out;
  for (const ProcessId id : plan.leave) out.push_back(id.number);
  return out;
}

TEST(Evict, CheapestToRestorePerByteLeavesFirst) {
  Evictor evictor;
  const std::vector<Candidate> all = {
      {.process = {1}, .memory = 100_MiB, .restore = 200ms},  // 2 ms a MiB
      {.process = {2}, .memory = 50_MiB, .restore = 20ms},    // 0.4
      {.process = {3}, .memory = 2_MiB, .restore = 3ms},      // 1.5
  };
  EXPECT_EQ(numbers(evictor.plan(all, 51_MiB)), (std::vector<std::uint64_t>{2, 3}));
}

TEST(Evict, WhatIsCalledOftenStays) {
  Evictor evictor;
  const std::vector<Candidate> all = {
      {.process = {1}, .memory = 10_MiB, .restore = 10ms, .calls = 1000},
      {.process = {2}, .memory = 10_MiB, .restore = 100ms, .calls = 2},
  };
  EXPECT_EQ(numbers(evictor.plan(all, 1_MiB)), (std::vector<std::uint64_t>{2}));
}

TEST(Evict, PinnedNeverLeaves) {
  Evictor evictor;
  const std::vector<Candidate> all = {
      {.process = {1}, .memory = 10_MiB, .restore = 1ms, .pinned = true},
      {.process = {2}, .memory = 10_MiB, .restore = 1s},
  };
  const Evictor::Plan plan = evictor.plan(all, 15_MiB);
  EXPECT_EQ(numbers(plan), (std::vector<std::uint64_t>{2}));
  EXPECT_FALSE(plan.enough);
  EXPECT_EQ(plan.freed, 10_MiB);
}

TEST(Evict, WhatWasDearLongAgoAges) {
  Evictor evictor;
  const Candidate old{.process = {1}, .memory = 10_MiB, .restore = 50ms, .used_at = evictor.clock()};  // 5 a MiB, never used again
  for (std::uint64_t i = 2; i < 30; ++i) {
    const Candidate recent{.process = {i}, .memory = 10_MiB, .restore = 10ms, .used_at = evictor.clock()};
    const Evictor::Plan plan = evictor.plan(std::vector{old, recent}, 1_MiB);
    if (numbers(plan) == std::vector<std::uint64_t>{1}) return;
  }
  FAIL() << "the old one stayed for ever";
}

TEST(Evict, NothingLeavesWhereNothingIsWanted) {
  Evictor evictor;
  const std::vector<Candidate> all = {{.process = {1}, .memory = 1_MiB, .restore = 1ms}};
  EXPECT_TRUE(evictor.plan(all, {}).leave.empty());
  EXPECT_TRUE(evictor.plan(all, {}).enough);
}

// Against the definition: no candidate that stays is worth less than one that leaves, none is pinned, and
// the last one was needed.
TEST(Evict, RandomPlansKeepTheirPromise) {
  Random random(11);
  Evictor evictor;
  for (int round = 0; round < 2000; ++round) {
    std::vector<Candidate> all;
    for (int i = random.between(0, 12); i > 0; --i)
      all.push_back({.process = {static_cast<std::uint64_t>(i)}, .memory = {static_cast<std::uint64_t>(random.between(0, 1 << 28))},
                     .restore = 1us * random.between(0, 1'000'000), .calls = static_cast<double>(random.between(0, 50)),
                     .used_at = evictor.clock() * random.between(0, 4) / 4, .pinned = random.chance(0.3)});
    const Bytes wanted{static_cast<std::uint64_t>(random.between(0, 1 << 30))};
    const double before = evictor.clock();
    const Evictor::Plan plan = evictor.plan(all, wanted);
    EXPECT_GE(evictor.clock(), before);
    const auto leaves = [&](const Candidate& c) { return std::ranges::find(plan.leave, c.process) != plan.leave.end(); };
    std::uint64_t freed = 0, last = 0;
    for (const Candidate& c : all) {
      if (!leaves(c)) continue;
      EXPECT_FALSE(c.pinned);
      freed += c.memory.count;
      if (c.process == plan.leave.back()) last = c.memory.count;
      for (const Candidate& stays : all) {
        if (!leaves(stays) && !stays.pinned && stays.memory.count > 0) { EXPECT_GE(worth(stays), worth(c)); }
      }
    }
    EXPECT_EQ(freed, plan.freed.count);
    EXPECT_TRUE(plan.leave.empty() || freed - last < wanted.count) << "one fewer would have done";
  }
}

}  // namespace
}  // namespace mayfly::autoscale
