#include "instances/fleet.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "instances/test_fleet.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

// Who works with the instances: gives each as much as it takes, where `greedy`, and counts what it hears.
class User final : public FleetUser {
 public:
  explicit User(Fleet& fleet) : fleet_(fleet) {}
  void on_instance_ready(Process& process) override { feed(process); }
  void on_reply(Process& process, Reply&& reply) override {
    replies.push_back(reply.head);
    if (greedy) feed(process);
  }
  void on_instance_gone(Process& process, const Death&) override { ++gone[process.id]; }
  void on_start_failed(Group&, const Error& error, std::string_view) override { failed.push_back(error); }

  void feed(Process& process) {
    while (greedy && process.state == State::ready && process.outstanding < process.credit)
      if (!fleet_.send(process, {.ticket = {++tickets}, .deadline = Instant::never()})) return;
  }

  bool greedy = false;
  std::uint64_t tickets = 0;
  std::vector<domain::ReplyHead> replies;
  std::map<ProcessId, int> gone;
  std::vector<Error> failed;

 private:
  Fleet& fleet_;
};

class FleetTest : public testing::Test {
 protected:
  FleetTest() { world.attach(user); }
  Group& define(VersionPlan plan = {}) {
    plan.version = {11};
    plan.function_name = "fraud";
    plan.instance = {.role = domain::Role::instance, .compiled = true};
    return fleet.define(std::move(plan));
  }
  Group& define_with_template(bool forks_run_better = false) {
    return define({.template_ = StartOrder{.role = domain::Role::template_, .compiled = true}, .forks_run_better = forks_run_better});
  }
  void want(Group& group, int instances) {
    fleet.want(group, instances);
    world.poke();
  }
  void want_template(Group& group) {
    fleet.want_template(group);
    world.poke();
  }
  bool send(Process& process) {
    world.poke();
    return fleet.send(process, {.ticket = {++user.tickets}, .deadline = Instant::never()});
  }
  void behave(const std::function<void(FakeBehaviour&)>& change) {
    FakeBehaviour behaviour = steady(4);
    change(behaviour);
    world.launcher.set(behaviour);
  }

  TestFleet world{steady(4)};
  Fleet& fleet = world.fleet;
  User user{fleet};
};

TEST_F(FleetTest, NothingIsGivenBeforeAnInstanceIsReadyNorOnceItDrains) {
  Group& group = define();
  want(group, 1);
  EXPECT_EQ(group.count(State::starting), 1);
  EXPECT_EQ(fleet.pick(group), nullptr);
  world.play(20ms);
  Process* instance = fleet.pick(group);
  ASSERT_NE(instance, nullptr);
  fleet.stop(*instance);
  EXPECT_EQ(fleet.pick(group), nullptr);
}

TEST_F(FleetTest, TheInstanceWithTheMostRoomIsPickedUntilAllHoldTheirCredit) {
  Group& group = define();
  want(group, 2);
  world.play(20ms);
  for (int i = 1; i <= 8; ++i) {
    Process* instance = fleet.pick(group);
    ASSERT_NE(instance, nullptr);
    ASSERT_TRUE(send(*instance));
    EXPECT_LE(std::abs(group.instances[0]->outstanding - group.instances[1]->outstanding), 1) << i;
  }
  EXPECT_EQ(fleet.pick(group), nullptr) << "both hold 4";
  world.play(10ms);
  EXPECT_NE(fleet.pick(group), nullptr) << "each reply makes room";
}

TEST_F(FleetTest, WhatForksHaveInCommonTheyShareOnlyWhereThePlanSaysSo) {
  for (const bool share : {false, true}) {
    Group& group = define({.template_ = StartOrder{.role = domain::Role::code_template}, .forks_share = share});
    want_template(group);
    world.play(1s);
    ASSERT_TRUE(group.template_ready());
    want(group, 3);
    world.play(1s);
    EXPECT_EQ(std::ranges::count(group.instances, Origin::fork, &Process::origin), share ? 3 : 1);
    want(group, 0);
    world.play(1s);
    EXPECT_TRUE(group.instances.empty());
  }
}

TEST_F(FleetTest, ATemplateThatSaysItCanNotBeIsNotTriedAgain) {
  Group& group = define_with_template();
  want_template(group);
  const ProcessId id = group.template_->id;
  fleet.on_failed(id, {Code::unimplemented, "the module started 2 threads"}, {});
  world.launcher.kill(id);
  world.play(60s);
  want_template(group);
  EXPECT_EQ(group.template_, nullptr);
}

TEST_F(FleetTest, TheManifestLimitsWhatAnInstanceAsksFor) {
  Group& group = define({.concurrency_max = 2});
  want(group, 1);
  world.play(20ms);
  EXPECT_EQ(fleet.pick(group)->credit, 2);
}

TEST_F(FleetTest, AnInstanceWhoseRingIsFullIsPickedAgainAfterItsNextReply) {
  behave([](FakeBehaviour& b) { b.ring = 1; });
  Group& group = define();
  want(group, 1);
  world.play(20ms);
  Process& instance = *fleet.pick(group);
  EXPECT_TRUE(send(instance));
  EXPECT_FALSE(send(instance));
  EXPECT_EQ(fleet.pick(group), nullptr);
  EXPECT_EQ(instance.outstanding, 1);
  world.play(10ms);
  EXPECT_EQ(fleet.pick(group), &instance);
}

TEST_F(FleetTest, RepliesBeyondTheRequestsCountForNothing) {
  Group& group = define();
  want(group, 1);
  world.play(20ms);
  Process& instance = *fleet.pick(group);
  fleet.on_reply(instance.id, {});
  EXPECT_TRUE(user.replies.empty());
  EXPECT_EQ(instance.outstanding, 0);
  EXPECT_EQ(instance.answered, 0U);
}

TEST_F(FleetTest, AReplyCannotTellMoreCpuThanThereWasTimeFor) {
  Group& group = define();
  want(group, 1);
  world.play(20ms);
  Process& instance = *fleet.pick(group);
  ASSERT_TRUE(send(instance));
  Reply reply;
  reply.head.cpu_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(1h).count());
  fleet.on_reply(instance.id, std::move(reply));
  ASSERT_EQ(user.replies.size(), 1U);
  EXPECT_LE(user.replies[0].cpu_ns, 1'000'000'000U);
}

TEST_F(FleetTest, CpuThatNoReplyToldIsToldAsOverhead) {
  Group& group = define();
  want(group, 1);
  world.play(20ms);
  ASSERT_TRUE(send(*fleet.pick(group)));
  world.play(2s);
  EXPECT_EQ(world.diary.overhead, 0ms) << "the reply told the 10 ms of its run";
  fleet.on_gone(group.instances[0]->id, {.reason = "killed", .cpu = 13ms});
  EXPECT_EQ(world.diary.overhead, 3ms);
}

TEST_F(FleetTest, WhatIsIdleIsFrozenUntilItIsCalled) {
  Group& group = define({.freeze_after = 10s});
  want(group, 2);
  world.play(20ms);
  Process& busy = *fleet.pick(group);
  world.play(8s);
  ASSERT_TRUE(send(busy));
  world.play(4s);
  EXPECT_FALSE(busy.frozen) << "it was used 4 s ago";
  EXPECT_EQ(std::ranges::count_if(group.instances, &Process::frozen), 1);
  world.play(20s);
  EXPECT_TRUE(busy.frozen);
  EXPECT_EQ(busy.memory.count, steady(4).memory.count / 4) << "what it has left is measured once more";
  ASSERT_TRUE(send(busy));
  EXPECT_FALSE(busy.frozen);
  world.play(1s);
  EXPECT_EQ(user.replies.size(), 2U);
  want(group, 0);
  world.play(1s);
  EXPECT_TRUE(group.instances.empty()) << "one that is frozen can be stopped";
}

TEST_F(FleetTest, AnInstanceStartsFromTheArtifactUntilATemplateStands) {
  Group& group = define_with_template();
  want(group, 1);
  want_template(group);
  want(group, 2);
  EXPECT_EQ(group.instances[1]->origin, Origin::artifact) << "nobody waits for a template";
  world.play(100ms);
  ASSERT_TRUE(group.template_ready());
  want(group, 3);
  EXPECT_EQ(group.instances[2]->origin, Origin::fork);
  world.play(2ms);
  EXPECT_EQ(group.count(State::ready), 3);
}

TEST_F(FleetTest, AVersionHasOneTemplateAndKeepsItsInstancesWhenThatLeaves) {
  Group& group = define_with_template();
  want(group, 1);
  want_template(group);
  want_template(group);
  world.play(100ms);
  EXPECT_EQ(fleet.processes().size(), 2U);
  fleet.evict_template(group);
  EXPECT_FALSE(group.template_ready());
  want_template(group);
  EXPECT_EQ(fleet.processes().size(), 2U) << "not before the other has gone";
  world.play(10ms);
  EXPECT_EQ(group.template_, nullptr);
  EXPECT_EQ(group.count(State::ready), 1);
  want_template(group);
  world.play(100ms);
  EXPECT_TRUE(group.template_ready());
}

TEST_F(FleetTest, AForkTakesThePlaceOfAColdInstanceWhereForksRunBetter) {
  user.greedy = true;  // the cold one is at work all the time
  Group& group = define_with_template(true);
  want(group, 2);
  world.play(20ms);
  want_template(group);
  world.play(99ms);
  EXPECT_EQ(group.count(State::ready), 2);
  world.play(200ms);
  ASSERT_EQ(group.instances.size(), 2U);
  for (const Process* p : group.instances) EXPECT_EQ(p->origin, Origin::fork);
  EXPECT_EQ(world.diary.started.size(), 5U) << "two cold ones, the template, one fork for each";
  for (const auto& end : world.diary.ended) EXPECT_EQ(end.death.reason, "stopped") << "it answered what it held";
}

TEST_F(FleetTest, AnInstanceThatEndsIsToldOnceAndReplacedWhileItIsWanted) {
  Group& group = define();
  want(group, 1);
  world.play(20ms);
  const ProcessId first = group.instances[0]->id;
  ASSERT_TRUE(send(*group.instances[0]));
  fleet.kill(*group.instances[0]);
  world.play(1s);
  EXPECT_EQ(user.gone, (std::map<ProcessId, int>{{first, 1}}));
  EXPECT_TRUE(user.replies.empty()) << "what it held is lost";
  ASSERT_EQ(group.count(State::ready), 1);
  EXPECT_NE(group.instances[0]->id, first);
}

TEST_F(FleetTest, WhatShrinksDrainsIdleOnesFirstAndLosesNoCall) {
  Group& group = define();
  want(group, 3);
  world.play(20ms);
  Process& busy = *group.instances[0];
  ASSERT_TRUE(send(busy));
  want(group, 1);
  EXPECT_EQ(busy.state, State::ready);
  EXPECT_EQ(group.count(State::draining), 2);
  want(group, 0);
  EXPECT_EQ(busy.state, State::draining);
  world.play(1s);
  EXPECT_EQ(user.replies.size(), 1U);
  EXPECT_TRUE(fleet.processes().empty());
}

TEST_F(FleetTest, WhatShrinksKeepsItsForks) {
  Group& group = define_with_template();
  want(group, 1);
  want_template(group);
  world.play(1s);
  want(group, 2);
  world.play(1s);
  ASSERT_TRUE(send(*group.instances[0]));
  world.play(1s);  // the one from the artifact was used last
  want(group, 1);
  world.play(1s);
  ASSERT_EQ(group.instances.size(), 1U);
  EXPECT_EQ(group.instances[0]->origin, Origin::fork);
}

TEST_F(FleetTest, AStartThatIsNoLongerWantedIsReadyForNobody) {
  Group& group = define();
  want(group, 1);
  const ProcessId started = group.instances[0]->id;
  want(group, 0);
  fleet.on_ready(started, {.credit = 4});  // was under way when it was to end
  EXPECT_EQ(group.count(State::ready), 0);
  EXPECT_EQ(fleet.pick(group), nullptr);
  world.play(1s);
  EXPECT_TRUE(world.diary.start_errors.empty()) << "to be killed is no failure";
  EXPECT_TRUE(fleet.processes().empty());
}

TEST_F(FleetTest, AFailedStartIsTriedAgainAfterAPauseThatDoublesTo30s) {
  behave([](FakeBehaviour& b) { b.start_fails = 1; });
  Group& group = define();
  want(group, 1);
  world.play(5min);
  const auto& errors = world.diary.start_errors;
  ASSERT_GE(errors.size(), 12U);
  Duration pause = 100ms;
  for (std::size_t i = 1; i < errors.size(); ++i, pause = std::min<Duration>(30s, 2 * pause))
    EXPECT_EQ(errors[i].at - errors[i - 1].at, pause + 20ms) << i;
  EXPECT_EQ(pause, 30s);
  EXPECT_EQ(user.failed.size(), errors.size());

  world.launcher.set(steady());
  world.play(31s);
  ASSERT_EQ(group.count(State::ready), 1);
  behave([](FakeBehaviour& b) { b.start_dies = 1; });
  const std::size_t before = errors.size();
  want(group, 2);
  world.play(141ms);
  EXPECT_EQ(errors.size(), before + 2) << "what had worked begins at 100 ms again";
}

TEST_F(FleetTest, AnInstanceThatEndsBeforeAnybodyCallsIsTriedAgainAfterAPauseToo) {
  behave([](FakeBehaviour& b) { b.idle_dies = 1; });
  Group& group = define();
  want(group, 1);
  world.play(5min);
  EXPECT_GE(world.diary.ended.size(), 12U);
  EXPECT_LE(world.diary.ended.size(), 25U);
  EXPECT_TRUE(user.failed.empty()) << "it had started";
  world.launcher.set(steady());
  world.play(31s);
  ASSERT_EQ(group.count(State::ready), 1);
  ASSERT_TRUE(send(*group.instances[0]));
  world.play(100ms);
  behave([](FakeBehaviour& b) { b.idle_dies = 1; });
  const std::size_t before = world.diary.ended.size();
  want(group, 2);
  world.play(21ms + 100ms + 21ms);
  EXPECT_EQ(world.diary.ended.size(), before + 2) << "an answer makes it begin at 100 ms again";
}

TEST_F(FleetTest, ANewWayOfStartingIsTriedAtOnce) {
  behave([](FakeBehaviour& b) { b.start_fails = 1; });
  Group& group = define();
  want(group, 1);
  world.play(1min);
  world.launcher.set(steady());
  define();
  world.poke();
  world.play(20ms);
  EXPECT_EQ(group.count(State::ready), 1);
}

TEST_F(FleetTest, AStartThatFailsWhileAnotherIsUnderWayFailsNobody) {
  behave([](FakeBehaviour& b) { b.start_fails = 1; });
  Group& group = define();
  want(group, 1);
  behave([](FakeBehaviour& b) { b.start = {40ms, 40ms}; });
  want(group, 2);
  world.play(30ms);
  EXPECT_EQ(world.diary.start_errors.size(), 1U);
  EXPECT_TRUE(user.failed.empty()) << "the other will take what waits";
  world.play(10ms);
  EXPECT_EQ(group.count(State::ready), 1);
}

TEST_F(FleetTest, ATemplateThatCannotStartHoldsUpNoInstance) {
  Group& group = define_with_template();
  want(group, 1);
  world.play(20ms);
  behave([](FakeBehaviour& b) { b.start_fails = 1; });
  for (int i = 0; i < 10; ++i) {
    want_template(group);
    world.play(1s);
  }
  EXPECT_EQ(world.diary.start_errors.size(), 6U) << "after 0, 1, 2, 3, 4 and 6 s: a pause of its own";
  EXPECT_TRUE(user.failed.empty());
  world.launcher.set(steady());
  want(group, 2);
  world.play(20ms);
  EXPECT_EQ(group.count(State::ready), 2);
}

TEST_F(FleetTest, AForgottenVersionAnswersWhatItHoldsAndLeavesWithItsLastProcess) {
  Group& group = define_with_template();
  want(group, 1);
  want_template(group);
  world.play(1s);
  ASSERT_TRUE(send(*group.instances[0]));
  fleet.forget({11});
  ASSERT_NE(fleet.find({11}), nullptr);
  want(group, 3);
  EXPECT_EQ(group.alive(), 0) << "nothing starts any more";
  world.play(1s);
  EXPECT_EQ(user.replies.size(), 1U);
  EXPECT_EQ(fleet.find({11}), nullptr);
  EXPECT_TRUE(fleet.processes().empty());
}

TEST_F(FleetTest, MemoryIsWhatItsProcessesWereMeasuredToTake) {
  Group& group = define_with_template();
  want(group, 2);
  want_template(group);
  EXPECT_EQ(fleet.memory_used(), Bytes{});
  world.play(1s);
  EXPECT_EQ(fleet.memory_used(), 64_MiB) << "two of 2 MiB, and a template of 60";
  fleet.evict_template(group);
  EXPECT_EQ(fleet.memory_used(), 64_MiB) << "until it has gone";
  world.play(10ms);
  EXPECT_EQ(fleet.memory_used(), 4_MiB);
}

TEST_F(FleetTest, EachOneAtWorkIsMeasuredHoweverManyThereAre) {
  user.greedy = true;
  Group& group = define();
  want(group, 100);
  world.play(5s);
  for (const Process* p : group.instances) EXPECT_GE(p->cpu, 500ms) << p->id.number;
}

TEST_F(FleetTest, NobodyLooksAtAFleetWithoutProcesses) {
  Group& group = define();
  want(group, 1);
  world.play(10s);
  want(group, 0);
  world.play(10s);
  const int turns = world.turns;
  world.play(1h);
  EXPECT_EQ(world.turns, turns);
}

class FleetJobs : public FleetTest {
 protected:
  void run(domain::Role role, const std::string& name) {
    fleet.run_job({.role = role}, [this, name](Result<ReadyReport> result) {
      outcomes.push_back(name + (result ? " " + result->result : ": " + result.error().message));
    });
    world.poke();
  }
  std::vector<std::string> outcomes;
};

TEST_F(FleetJobs, TwoRunAtATimeAndChecksGoFirst) {
  run(domain::Role::compile, "compile 1");
  run(domain::Role::compile, "compile 2");
  run(domain::Role::tune, "tune");
  run(domain::Role::check, "check 1");
  run(domain::Role::check, "check 2");
  EXPECT_EQ(world.launcher.alive(), 2U);
  world.play(1s);
  EXPECT_EQ(outcomes, (std::vector<std::string>{"compile 1 {}", "compile 2 {}", "check 1 {}", "check 2 {}", "tune {}"}));
  EXPECT_EQ(world.launcher.most_alive(), 2);
}

TEST_F(FleetJobs, BuildsHaveALineOfTheirOwn) {
  for (const char* name : {"build 1", "build 2", "build 3"}) run(domain::Role::build, name);
  run(domain::Role::unpack, "unpack");
  run(domain::Role::check, "check");
  EXPECT_EQ(world.launcher.alive(), 4U);
  world.play(1s);
  EXPECT_EQ(outcomes.size(), 5U);
  EXPECT_EQ(outcomes.back(), "build 3 {}");
}

TEST_F(FleetJobs, OneThatFailsSaysWhy) {
  behave([](FakeBehaviour& b) { b.start_fails = 1; });
  run(domain::Role::check, "said");
  behave([](FakeBehaviour& b) { b.start_dies = 1; });
  run(domain::Role::check, "died");
  world.play(1s);
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(outcomes[0], "died: the model's process ended: killed by signal 11 (segmentation fault)");
  EXPECT_EQ(outcomes[1], "said: not a model that it knows");
}

}  // namespace
}  // namespace mayfly::instances
