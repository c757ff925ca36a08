#include "control/scale_loop.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "serve/test_serving.h"

namespace mayfly::control {
namespace {

using namespace std::chrono_literals;
using instances::Group;
using instances::State;

// Versions 11 of "a" and 21 of "b", without a template, on 4 cores.
class ScaleLoopTest : public testing::Test {
 protected:
  ScaleLoopTest() {
    for (const VersionId version : {kA, kB}) {
      facts[version] = {.scaling = {.max = 20, .keep_alive = 10s}, .compiled = true};
      facts[version].tuning.cold_first_ns = 20'000'000;
      facts[version].tuning.fork_first_ns = 2'000'000;
      node.add({.name = version == kA ? "a" : "b", .version = version});
    }
    begin({.cores = 4});
  }
  void begin(ScaleOptions options) {
    scale.emplace(
        node.world.turn, node.world.fleet, node.dispatcher, options,
        [this](VersionId version) {
          ++looks;
          const auto at = facts.find(version);
          return at == facts.end() ? std::nullopt : std::optional(at->second);
        },
        [this](VersionId version) { return node.world.fleet.find(version); },
        [this](VersionId version, DecisionView view) {
          view.version = static_cast<int>(version.number);
          notes.push_back(std::move(view));
        });
    node.demanded = [this](serve::Lane& lane) { scale->on_demand(lane); };
    node.world.end_turn = [this] {
      const auto tick = [this] { return std::min({node.dispatcher.tick(), node.world.fleet.tick(), scale->tick()}); };
      tick();
      node.dispatcher.flush();
      return tick();
    };
  }
  void behave(const std::function<void(instances::FakeBehaviour&)>& change) {
    instances::FakeBehaviour behaviour = instances::steady();
    change(behaviour);
    node.world.launcher.set(behaviour);
  }
  void set_count(VersionId version, int count) {
    scale->set_count(version, count);
    node.world.poke();
  }
  Group& group(VersionId version) { return *node.world.fleet.find(version); }
  int alive(VersionId version) { return group(version).alive(); }
  std::string reasons(VersionId version) const {
    std::string all;
    for (const DecisionView& note : notes)
      if (note.version == static_cast<int>(version.number))
        all += std::to_string(note.before) + "->" + std::to_string(note.after) + ": " + note.reason + "\n";
    return all;
  }

  static constexpr VersionId kA{11}, kB{21};
  serve::TestServing node;
  std::map<VersionId, ScaleLoop::Facts> facts;
  std::optional<ScaleLoop> scale;
  std::vector<DecisionView> notes;
  int looks = 0;                           // at a version
};

TEST_F(ScaleLoopTest, TheFirstCallStartsAnInstanceInItsOwnTurn) {
  const Ticket ticket = node.call("a");
  node.play(0ms);
  EXPECT_EQ(group(kA).count(State::starting), 1);
  EXPECT_EQ(reasons(kA), "0->1: 1 request waits and nothing runs; a start costs 20.0 ms\n");
  node.play(30ms);
  EXPECT_TRUE(node.answer(ticket).ok);
}

TEST_F(ScaleLoopTest, SilenceEndsAtZeroWhenTheKeepAliveIsOverAndThenNobodyLooks) {
  node.call("a");
  node.play(30ms);  // answered
  node.play(10s - 1ns);
  EXPECT_EQ(alive(kA), 1);
  node.play(1ns);
  EXPECT_EQ(alive(kA), 0);
  EXPECT_EQ(notes.back().after, 0);
  EXPECT_EQ(notes.back().reason, "idle for 10.0 s");
  node.play(1min);
  const int looked = looks, turned = node.world.turns;
  node.play(24h);
  EXPECT_EQ(looks, looked);
  EXPECT_EQ(node.world.turns, turned);
}

TEST_F(ScaleLoopTest, AVersionIsLookedAtTenTimesASecondAtWorkAndOnceASecondAtRest) {
  facts[kA].scaling.keep_alive = 1min;
  behave([](auto& b) { b.run = {10s, 10s}; });
  node.call("a");
  node.play(1s);
  looks = 0;
  node.play(8s);
  EXPECT_EQ(looks, 80);
  node.play(2s);
  looks = 0;
  node.play(10s);
  EXPECT_EQ(looks, 10);
}

TEST_F(ScaleLoopTest, TheMinimumIsThereWithoutCallsAndComesBack) {
  facts[kA].scaling.min = 2;
  scale->keep_watch(kA);
  node.world.poke();
  node.play(1s);
  EXPECT_EQ(group(kA).count(State::ready), 2);
  EXPECT_EQ(reasons(kA), "0->2: the minimum is 2 instances\n");
  node.world.fleet.kill(*group(kA).instances[0]);
  node.play(1s);
  EXPECT_EQ(group(kA).count(State::ready), 2);
  node.call("a");
  node.play(1h);
  EXPECT_EQ(alive(kA), 2);
}

TEST_F(ScaleLoopTest, ABurstGrowsToTheMaximumAndSaysSo) {
  facts[kA].scaling.max = 3;
  for (int i = 0; i < 200; ++i) node.call("a");
  for (int i = 0; i < 100; ++i) {
    node.play(10ms);
    ASSERT_LE(alive(kA), 3);
  }
  EXPECT_EQ(alive(kA), 3);
  EXPECT_NE(reasons(kA).find("0->3: 200 requests wait and nothing runs"), std::string::npos) << reasons(kA);
  EXPECT_NE(reasons(kA).find("more than the maximum of 3 is not allowed"), std::string::npos) << reasons(kA);
  node.play(10s);
  EXPECT_EQ(node.client.answers.size(), 200U);
}

TEST_F(ScaleLoopTest, WhileNothingChangesNothingIsNoted) {
  for (int i = 0; i < 300; ++i) {
    node.call("a");
    node.play(100ms);
  }
  EXPECT_EQ(notes.size(), 1U) << reasons(kA);
}

TEST_F(ScaleLoopTest, ByHandIsAtOnceAndIsKeptLikeACall) {
  set_count(kA, 3);
  EXPECT_EQ(alive(kA), 3);
  EXPECT_EQ(reasons(kA), "0->3: set by hand\n");
  node.play(9s);
  EXPECT_EQ(group(kA).count(State::ready), 3);
  node.play(20s);
  EXPECT_EQ(alive(kA), 0);
}

TEST_F(ScaleLoopTest, ByHandEndsWhatABurstHadAskedFor) {
  behave([](auto& b) { b.run = {100ms, 100ms}; });
  node.call("a");
  node.play(1s);  // measured
  for (int i = 0; i < 100; ++i) node.call("a");
  node.play(5s);
  ASSERT_EQ(alive(kA), 4);
  set_count(kA, 1);
  behave([](auto& b) { b.run = {500ms, 500ms}; });
  node.call("a");  // is at work when the next decision comes
  node.play(1s);
  EXPECT_EQ(alive(kA), 1) << reasons(kA);
}

// Its time is not known before the first answer: then a wait that outlasts a start is the measure.
TEST_F(ScaleLoopTest, WhoWaitsForASlowFirstRunGetsAnotherInstance) {
  behave([](auto& b) { b.run = {10s, 10s}; });
  node.call("a");
  node.play(1s);
  const Ticket second = node.call("a");
  node.play(10s + 500ms);
  EXPECT_TRUE(node.answered(second)) << reasons(kA);
}

TEST_F(ScaleLoopTest, AVersionThatIsGoneIsLookedAtOnceMore) {
  node.call("a");
  node.play(1s);
  facts.erase(kA);
  node.play(5s);
  looks = 0;
  node.play(1h);
  EXPECT_EQ(looks, 0);
}

// Templates ---------------------------------------------------------------------------------------

TEST_F(ScaleLoopTest, ATemplateIsBuiltBehindTheFirstAnswerAndLeavesWhenNothingUsesIt) {
  begin({.cores = 4, .template_keep = 15min});
  node.add({.name = "a", .version = kA, .has_template = true});
  node.call("a");
  node.play(29ms);
  EXPECT_EQ(group(kA).template_, nullptr) << "it would compete with the call";
  node.play(1s);
  EXPECT_TRUE(group(kA).template_ready());
  node.play(20s);
  EXPECT_EQ(alive(kA), 0);
  node.play(14min);
  EXPECT_TRUE(group(kA).template_ready());
  const Ticket ticket = node.call("a");
  node.play(14min);
  EXPECT_EQ(node.answer(ticket).phases.cold, 1);
  EXPECT_TRUE(group(kA).template_ready()) << "it was used";
  node.play(2min);
  EXPECT_TRUE(node.world.fleet.processes().empty());
}

// Memory ------------------------------------------------------------------------------------------

class ScaleLoopMemory : public ScaleLoopTest {
 protected:
  // Instances of 30 MiB, in a budget that two fill.
  ScaleLoopMemory() {
    behave([](auto& b) { b.memory = 30_MiB; });
    for (auto& [version, of] : facts) of.scaling.keep_alive = 1h;
    begin({.cores = 4, .memory_budget = 70_MiB});
  }
};

TEST_F(ScaleLoopMemory, GrowthEndsWhereTheBudgetDoes) {
  node.call("a");
  node.play(1s);  // measured
  behave([](auto& b) { b.memory = 30_MiB; b.run = {1s, 1s}; });
  for (int i = 0; i < 10; ++i) node.call("a");
  node.play(5s);
  EXPECT_EQ(alive(kA), 2);
  EXPECT_NE(reasons(kA).find("memory has room for no more"), std::string::npos) << reasons(kA);
}

TEST_F(ScaleLoopMemory, WhatIsReservedGrowsAllTheSame) {
  facts[kA].scaling.reserved = 3;
  node.call("a");
  node.play(1s);
  behave([](auto& b) { b.memory = 30_MiB; b.run = {1s, 1s}; });
  for (int i = 0; i < 10; ++i) node.call("a");
  node.play(5s);
  EXPECT_EQ(alive(kA), 3);
}

TEST_F(ScaleLoopMemory, ACallOfAnotherFunctionGetsAnInstanceAndAnIdleOneLeaves) {
  set_count(kA, 2);
  node.play(1s);
  const Ticket ticket = node.call("b");
  node.play(1s);
  EXPECT_TRUE(node.answer(ticket).ok);
  EXPECT_LE(node.world.fleet.memory_used(), 70_MiB);
  EXPECT_EQ(reasons(kA), "0->2: set by hand\n2->1: memory: the node is over its budget of 73.4 MB; an idle instance leaves\n");
}

TEST_F(ScaleLoopMemory, WhatIsAtWorkOrKeptStays) {
  facts[kA].scaling.min = 1;
  set_count(kA, 1);
  node.play(1s);
  behave([](auto& b) { b.memory = 30_MiB; b.run = {20s, 20s}; });
  const Ticket busy = node.call("b");
  node.play(1s);
  node.add({.name = "c", .version = {31}});
  facts[{31}] = facts[kA];
  facts[{31}].scaling = {.max = 1, .reserved = 1, .keep_alive = 1h};
  const Ticket third = node.call("c");
  node.play(1min);
  EXPECT_TRUE(node.answer(busy).ok);
  EXPECT_TRUE(node.answer(third).ok);
  EXPECT_EQ(alive(kA), 1) << "min";
  EXPECT_EQ(alive({31}), 1) << "reserved";
  EXPECT_EQ(alive(kB), 0) << "once it was idle";
}

// A fork of 2 ms for 30 MiB comes first, then a template of 100 ms for 60 MiB, then a cold start of 200 ms for 30 MiB.
TEST_F(ScaleLoopMemory, WhatIsCheapestToHaveAgainPerByteLeavesFirst) {
  begin({.cores = 4, .memory_budget = 150_MiB});
  facts[kB].tuning.cold_first_ns = 200'000'000;
  node.add({.name = "a", .version = kA, .has_template = true});
  set_count(kB, 1);
  node.call("a");
  node.play(1s);
  EXPECT_TRUE(group(kA).template_ready());
  EXPECT_EQ(node.world.fleet.memory_used(), 120_MiB);
  const auto ends = [this](Bytes budget) {
    begin({.cores = 4, .memory_budget = budget});
    scale->keep_watch(kA);
    scale->keep_watch(kB);
    node.world.poke();
    node.play(1s);
    return std::tuple(alive(kA), group(kA).template_ready(), alive(kB));
  };
  EXPECT_EQ(ends(100_MiB), std::tuple(0, true, 1));
  EXPECT_EQ(ends(80_MiB), std::tuple(0, false, 1));
  EXPECT_NE(reasons(kA).find("the template leaves"), std::string::npos) << reasons(kA);
  EXPECT_EQ(ends(20_MiB), std::tuple(0, false, 0));
}

TEST_F(ScaleLoopMemory, ATemplateThatLeftForWantOfMemoryStaysAwayForAMinute) {
  begin({.cores = 4, .memory_budget = 100_MiB});
  facts[kA].scaling.min = 1;
  node.add({.name = "a", .version = kA, .has_template = true});
  node.call("a");
  node.play(1s);
  ASSERT_TRUE(group(kA).template_ready());
  behave([](auto& b) { b.memory = 30_MiB; b.run = {2s, 2s}; });
  node.call("b");  // has room only beside the instance that is kept
  node.play(1s);
  EXPECT_FALSE(group(kA).template_ready()) << reasons(kA);
  node.play(5s);
  set_count(kB, 0);
  node.play(50s);
  EXPECT_EQ(group(kA).template_, nullptr);
  node.play(20s);
  EXPECT_TRUE(group(kA).template_ready());
}

}  // namespace
}  // namespace mayfly::control
