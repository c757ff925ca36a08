#include "serve/dispatcher.h"

#include <gtest/gtest.h>

#include <set>

#include "serve/test_serving.h"

namespace mayfly::serve {
namespace {

using namespace std::chrono_literals;
using instances::FakeBehaviour;
using instances::Process;
using instances::steady;

std::uint8_t as_outcome(Code code) { return static_cast<std::uint8_t>(code); }
bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// Answers and records -----------------------------------------------------------------------------

TEST(Dispatcher, ARecordSaysWhatACallWas) {
  TestServing node;
  node.add();
  const Turn began = node.world.turn;
  const Ticket cold = node.dispatcher.invoke({.function = "fraud", .format = domain::WireFormat::v2_json, .body = "{\"x\":1}",
                                              .arrived = began.now, .request_id_high = 7, .request_id_low = 8, .trace = {5, 6}},
                                             node.client);
  node.world.poke();
  node.play(1s);
  const Ticket warm = node.call();
  node.play(1s);

  ASSERT_EQ(node.records.size(), 2U);
  const domain::UsageRecord& first = node.records[0].usage;
  EXPECT_EQ(first.request_id_high, 7U);
  EXPECT_EQ(first.request_id_low, 8U);
  EXPECT_EQ(node.records[0].trace, (TraceId{5, 6}));
  EXPECT_EQ(first.function, 1U);
  EXPECT_EQ(first.version, 11U);
  EXPECT_EQ(first.version_number, 1U);
  EXPECT_EQ(first.arrived_us, began.wall.since_epoch.count());
  EXPECT_EQ(first.kind, 0);
  EXPECT_EQ(first.format, static_cast<std::uint8_t>(domain::WireFormat::v2_json));
  EXPECT_EQ(first.bytes_in, 7U);
  EXPECT_EQ(first.bytes_out, 100U);
  EXPECT_EQ(first.outcome, 0);
  EXPECT_EQ(first.cold, 2) << "from the artifact";
  EXPECT_EQ(first.init_us, 20'000U);
  EXPECT_EQ(first.queue_us, 20'000U);
  EXPECT_EQ(first.run_ns, 10'000'000U);
  EXPECT_EQ(first.cpu_ns, 10'000'000U);
  EXPECT_EQ(first.total_us, 30'000U);
  EXPECT_EQ(first.billed_us, 10'000U) << "neither the wait nor the start";
  EXPECT_EQ(first.rows, 1U);
  EXPECT_EQ(first.memory_bytes, (2_MiB).count);
  EXPECT_EQ(first.process, node.world.diary.started[0].process.number);
  const domain::UsageRecord& second = node.records[1].usage;
  EXPECT_EQ(second.cold, 0);
  EXPECT_EQ(second.init_us, 0U);
  EXPECT_EQ(second.queue_us, 0U);
  EXPECT_EQ(second.total_us, 10'000U);

  EXPECT_TRUE(node.answer(cold).ok);
  EXPECT_EQ(node.answer(cold).version, 1);
  EXPECT_EQ(node.answer(cold).phases.init, 20ms);
  EXPECT_EQ(node.answer(warm).phases.run, 10ms);
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST(Dispatcher, ACallThatWaitedForAForkSaysSo) {
  TestServing node;
  instances::Group& group = node.add({.has_template = true});
  node.world.fleet.want_template(group);
  node.world.poke();
  node.play(1s);
  const Ticket ticket = node.call();
  node.play(1s);
  EXPECT_EQ(node.answer(ticket).phases.cold, 1);
  EXPECT_EQ(node.records[0].usage.init_us, 2'000U);
}

TEST(Dispatcher, ACallPaysForItsShareOfABatch) {
  FakeBehaviour behaviour = steady(4);
  behaviour.batch_max = 4;
  TestServing node(behaviour);
  node.warm(node.add(), 1);
  for (int i = 0; i < 4; ++i) node.call();
  node.play(1s);
  ASSERT_EQ(node.records.size(), 4U);
  for (const auto& record : node.records) {
    EXPECT_EQ(record.usage.batch_rows, 4U);
    EXPECT_EQ(record.usage.run_ns, 10'000'000U);
    EXPECT_EQ(record.usage.billed_us, 2'500U);
  }
}

TEST(Dispatcher, TimeUntilTheLastByteWasSentCounts) {
  TestServing node;
  node.warm(node.add(), 1);
  node.client.replied = {};
  const Ticket ticket = node.call();
  node.play(10ms);
  ASSERT_TRUE(node.answered(ticket));
  EXPECT_TRUE(node.records.empty());
  node.dispatcher.sent(ticket, node.world.turn.now + 90ms, 100);
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.total_us, 100'000U);
  node.dispatcher.sent(ticket, node.world.turn.now, 100);
  node.dispatcher.cancel(ticket);
  EXPECT_EQ(node.records.size(), 1U) << "a record is closed once";
}

TEST(Dispatcher, WhatAnInstanceRefusesIsTheCallersError) {
  FakeBehaviour behaviour = steady();
  behaviour.reports_error = 1;
  TestServing node(behaviour);
  node.warm(node.add(), 1);
  const Ticket ticket = node.call();
  node.play(1s);
  EXPECT_EQ(node.answer(ticket).error.code, Code::invalid_argument);
  EXPECT_EQ(node.answer(ticket).error.message, "made-up trouble");
  EXPECT_EQ(node.records[0].usage.outcome, as_outcome(Code::invalid_argument));
  EXPECT_EQ(node.records[0].error, "made-up trouble");

  behaviour = steady();
  behaviour.wrong_code = 1;
  node.world.launcher.set(behaviour);
  const Ticket odd = node.call();
  node.play(1s);
  EXPECT_EQ(node.answer(odd).error.code, Code::internal) << "a code that does not exist";
}

TEST(Dispatcher, WhatCannotBeMeantIsRefusedAtOnceAndRecorded) {
  TestServing node;
  node.add({.body_max = 4_KiB});
  const Ticket unknown = node.call("absent");
  ASSERT_TRUE(node.answered(unknown));
  EXPECT_EQ(node.answer(unknown).error.code, Code::not_found);
  const Ticket large = node.dispatcher.invoke({.function = "fraud", .body = std::string(5000, 'x'), .arrived = node.world.turn.now},
                                              node.client);
  EXPECT_EQ(node.answer(large).error.code, Code::invalid_argument);
  EXPECT_TRUE(contains(node.answer(large).error.message, "takes at most 4.10 KB (input.bytes_max)")) << node.answer(large).error.message;
  ASSERT_EQ(node.records.size(), 2U);
  EXPECT_EQ(node.records[0].usage.function, 0U);
  EXPECT_EQ(node.records[1].usage.function, 1U);
  EXPECT_EQ(node.records[1].usage.outcome, as_outcome(Code::invalid_argument));
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

// The queue, and credit ---------------------------------------------------------------------------

TEST(Dispatcher, AnInstanceNeverHoldsMoreThanItsCredit) {
  TestServing node(steady(3));
  instances::Group& group = node.add();
  node.warm(group, 2);
  for (int i = 0; i < 10; ++i) node.call();
  for (const Process* p : group.instances) EXPECT_EQ(p->outstanding, 3);
  EXPECT_EQ(node.lane().waiting, 4);
  for (int i = 0; i < 100; ++i) {
    node.play(1ms);
    for (const Process* p : group.instances) ASSERT_LE(p->outstanding, 3);
  }
  EXPECT_EQ(node.client.answers.size(), 10U);
}

TEST(Dispatcher, CallsLeaveInOrderOfTheirArrival) {
  TestServing node;
  node.add();
  std::vector<Ticket> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(node.call());
  node.play(40ms);  // two are answered: who comes now is the last
  for (int i = 0; i < 10; ++i) calls.push_back(node.call());
  node.play(1s);
  EXPECT_EQ(node.client.order, calls);
}

TEST(Dispatcher, WhereOneRingIsFullAnotherInstanceTakesTheCall) {
  FakeBehaviour behaviour = steady(8);
  behaviour.ring = behaviour.batch_max = 2;
  TestServing node(behaviour);
  instances::Group& group = node.add();
  node.warm(group, 2);
  node.call();
  node.world.fleet.flush();  // the first runs one
  for (int i = 0; i < 3; ++i) node.call();
  node.world.fleet.flush();  // the other runs two
  for (int i = 0; i < 2; ++i) node.call();
  ASSERT_EQ(group.instances[0]->outstanding, 3);  // two of them in its ring, which is full
  ASSERT_EQ(group.instances[1]->outstanding, 3);  // one of them
  node.call();
  EXPECT_EQ(group.instances[1]->outstanding, 4);
  EXPECT_EQ(node.lane().waiting, 0);
}

TEST(Dispatcher, AFullQueueRefusesAndSaysWhatToDo) {
  TestServing node;
  node.add({.queue_max = 3});
  node.instances = 0;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(node.answered(node.call()));
  const Ticket refused = node.call();
  ASSERT_TRUE(node.answered(refused));
  const Error& error = node.answer(refused).error;
  EXPECT_EQ(error.code, Code::exhausted);
  EXPECT_EQ(error.message, "3 calls of function 'fraud' wait already, its limit is 3 (queue.max): try again later");
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.outcome, as_outcome(Code::exhausted));
  EXPECT_EQ(node.records[0].usage.version_number, 1U);
  EXPECT_EQ(node.lane().waiting, 3);
}

TEST(Dispatcher, AHundredThousandCallsOfAllFunctionsAreTheLimit) {
  TestServing node;
  node.instances = 0;
  node.add({.name = "a", .version = {11}, .queue_max = 90'000});
  node.add({.name = "b", .version = {21}, .queue_max = 90'000});
  Ticket last;
  for (int i = 0; i < 50'000; ++i) {
    node.call("a");
    last = node.call("b");
  }
  EXPECT_EQ(node.dispatcher.in_flight(), 100'000U);
  EXPECT_TRUE(node.client.answers.empty());
  for (const char* function : {"a", "b"}) {
    const Ticket refused = node.call(function);
    ASSERT_TRUE(node.answered(refused));
    EXPECT_EQ(node.answer(refused).error.code, Code::exhausted);
    EXPECT_EQ(node.answer(refused).error.message, "100000 calls are under way, as many as this node takes: try again later");
  }
  node.dispatcher.cancel(last);
  EXPECT_FALSE(node.answered(node.call("a"))) << "one has left, one is taken";
  EXPECT_TRUE(node.answered(node.call("a")));
}

TEST(Dispatcher, DemandIsRaisedOnceATurnForTheWholeBurst) {
  TestServing node;
  node.add({.name = "a", .version = {11}});
  node.add({.name = "b", .version = {21}});
  std::vector<std::pair<std::uint64_t, int>> demands;
  node.demanded = [&](Lane& lane) { demands.emplace_back(lane.version.number, lane.waiting); };
  for (int i = 0; i < 5; ++i) node.call("a");
  node.call("b");
  EXPECT_TRUE(demands.empty());
  node.play(1s);
  EXPECT_EQ(demands, (std::vector<std::pair<std::uint64_t, int>>{{11, 5}, {21, 1}}));
}

// Deadlines ---------------------------------------------------------------------------------------

TEST(Dispatcher, ACallThatWaitsEndsAtItsDeadline) {
  TestServing node;
  node.add({.timeout = 300ms});
  node.instances = 0;
  const Ticket own = node.call();
  const Ticket shorter = node.call("fraud", 100ms);
  const Ticket longer = node.call("fraud", 10s);
  node.play(100ms - 1ns);
  EXPECT_TRUE(node.client.order.empty());
  node.play(1ns);
  EXPECT_EQ(node.client.order, (std::vector{shorter}));
  EXPECT_EQ(node.answer(shorter).error.code, Code::deadline_exceeded);
  EXPECT_EQ(node.answer(shorter).error.message, "no instance took the call within its time limit of 100 ms (resources.timeout, or the "
                                                "caller's own): allow more time, or more instances (scaling.max)");
  node.play(200ms);
  EXPECT_EQ(node.client.order, (std::vector{shorter, own, longer})) << "nobody gets more than the function allows";
  ASSERT_EQ(node.records.size(), 3U);
  EXPECT_EQ(node.records[0].usage.outcome, as_outcome(Code::deadline_exceeded));
  EXPECT_EQ(node.records[0].usage.total_us, 100'000U);
  EXPECT_EQ(node.lane().waiting, 0);
}

TEST(Dispatcher, ACallThatRunsEndsAtItsDeadlineAndItsInstanceStays) {
  FakeBehaviour behaviour = steady();
  behaviour.run = {500ms, 500ms};
  TestServing node(behaviour);
  node.warm(node.add(), 1);
  const Ticket late = node.call("fraud", 100ms);
  const Ticket next = node.call();
  node.play(100ms);
  EXPECT_EQ(node.client.order, (std::vector{late}));
  EXPECT_EQ(node.answer(late).error.code, Code::deadline_exceeded);
  EXPECT_TRUE(contains(node.answer(late).error.message, "within the time limit of 100 ms (resources.timeout"));
  EXPECT_EQ(node.lane().in_flight, 1) << "the instance still holds it";
  node.play(2s);
  EXPECT_TRUE(node.answer(next).ok) << "what came too late was for nobody, and made room";
  EXPECT_EQ(node.records.size(), 2U);
  EXPECT_TRUE(node.world.diary.ended.empty());
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST(Dispatcher, AnInstanceThatIsSilentForASecondAfterADeadlineIsKilled) {
  FakeBehaviour behaviour = steady();
  behaviour.run_hangs = 1;
  TestServing node(behaviour);
  instances::Group& group = node.add();
  node.warm(group, 1);
  const Ticket ticket = node.call("fraud", 200ms);
  node.play(200ms);
  ASSERT_TRUE(node.answered(ticket));
  node.play(1s - 1ns);
  EXPECT_EQ(group.instances[0]->state, instances::State::ready);
  node.play(1ns);
  EXPECT_EQ(group.instances[0]->state, instances::State::draining);
  node.play(1ms);
  ASSERT_EQ(node.world.diary.ended.size(), 1U);
  EXPECT_TRUE(node.world.diary.ended[0].death.asked);
  EXPECT_EQ(node.world.diary.ended[0].failure, "said nothing for 1.00 s after the deadline of a call and was killed");
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
  EXPECT_EQ(node.records.size(), 1U);
}

TEST(Dispatcher, AnInstanceThatAnswersOthersIsNotSilent) {
  FakeBehaviour behaviour = steady(3);
  behaviour.run = {600ms, 600ms};
  TestServing node(behaviour);
  node.warm(node.add(), 1);
  node.call();
  node.call();
  const Ticket third = node.call("fraud", 100ms);  // its turn comes after 1.2 s
  node.play(5s);
  EXPECT_EQ(node.answer(third).error.code, Code::deadline_exceeded);
  EXPECT_TRUE(node.world.diary.ended.empty());
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST(Dispatcher, SilentInstancesAreKilledInTheOrderOfTheirNumbers) {
  FakeBehaviour behaviour = steady();
  behaviour.run_hangs = 1;
  TestServing node(behaviour);
  instances::Group& group = node.add();
  node.warm(group, 20);
  for (int round = 0; round < 3; ++round) {  // later ones take the places of those that went
    for (int i = 0; i < 20; ++i) node.call("fraud", 100ms);
    node.play(2s);
  }
  const auto& ended = node.world.diary.ended;
  ASSERT_EQ(ended.size(), 60U);
  EXPECT_TRUE(std::ranges::is_sorted(ended, {}, [](const auto& end) { return end.process; }));
}

// Clients that leave, instances that die -----------------------------------------------------------

TEST(Dispatcher, AClientThatLeavesWhileItsCallWaitsIsForgotten) {
  TestServing node;
  node.add();
  const Ticket first = node.call(), second = node.call(), third = node.call();
  node.dispatcher.cancel(second);
  EXPECT_EQ(node.lane().waiting, 2);
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.outcome, as_outcome(Code::cancelled));
  node.play(1s);
  EXPECT_EQ(node.client.order, (std::vector{first, third}));
  node.dispatcher.cancel(second);
  EXPECT_EQ(node.records.size(), 3U);
}

TEST(Dispatcher, AClientThatLeavesWhileItsCallRunsMakesRoomOnceTheInstanceHasAnswered) {
  TestServing node;
  instances::Group& group = node.add();
  node.warm(group, 1);
  const Ticket left = node.call(), next = node.call();
  node.dispatcher.cancel(left);
  EXPECT_EQ(group.instances[0]->outstanding, 1);
  EXPECT_EQ(node.lane().waiting, 1);
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.outcome, as_outcome(Code::cancelled));
  node.play(1s);
  EXPECT_EQ(node.client.order, (std::vector{next}));
  EXPECT_EQ(node.records.size(), 2U);
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST(Dispatcher, AClientThatLeavesAmidItsReplyWasAnswered) {
  TestServing node;
  node.warm(node.add(), 1);
  node.client.replied = {};
  const Ticket ticket = node.call();
  node.play(1s);
  node.dispatcher.cancel(ticket);
  ASSERT_EQ(node.records.size(), 1U);
  EXPECT_EQ(node.records[0].usage.outcome, 0);
  EXPECT_EQ(node.records[0].usage.bytes_out, 0U);
  EXPECT_EQ(node.dispatcher.in_flight(), 0U);
}

TEST(Dispatcher, AnInstanceThatDiesFailsOnlyWhatItHeld) {
  TestServing node(steady(2));
  instances::Group& group = node.add();
  node.instances = 2;
  node.warm(group, 2);
  std::vector<Ticket> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(node.call());  // the first instance holds the first and the third
  node.world.fleet.kill(*group.instances[0]);
  node.play(1s);
  for (const std::size_t i : {0U, 2U}) {
    EXPECT_EQ(node.answer(calls[i]).error.code, Code::unavailable);
    EXPECT_EQ(node.answer(calls[i]).error.message, "the instance that ran this call ended: killed; other calls are not affected");
  }
  for (const std::size_t i : {1U, 3U, 4U}) EXPECT_TRUE(node.answer(calls[i]).ok) << i;
  EXPECT_EQ(node.records.size(), 5U);
  EXPECT_EQ(node.lane().in_flight, 0);
}

TEST(Dispatcher, WhoStillWaitsWhenAnInstanceDiesRaisesDemandAgain) {
  TestServing node;
  instances::Group& group = node.add();
  node.warm(group, 1);
  node.call();
  node.call();
  node.play(0ms);
  int waiting = 0;
  node.demanded = [&](Lane& lane) { waiting = lane.waiting; };
  node.world.fleet.kill(*group.instances[0]);
  node.play(1ms);
  EXPECT_EQ(waiting, 1);
}

TEST(Dispatcher, AnInstanceThatExceedsItsMemoryExhaustsIt) {
  FakeBehaviour behaviour = steady();
  behaviour.run_dies = 1;
  behaviour.out_of_memory = true;
  TestServing node(behaviour);
  node.warm(node.add(), 1);
  const Ticket ticket = node.call();
  node.play(1s);
  EXPECT_EQ(node.answer(ticket).error.code, Code::exhausted);
  EXPECT_TRUE(contains(node.answer(ticket).error.message, "exceeded its memory limit"));
}

TEST(Dispatcher, CodeWithoutMemoryEndsLikeAnyProgram) {
  FakeBehaviour behaviour = steady();
  behaviour.run_dies = 1;
  behaviour.out_of_memory = true;
  TestServing node(behaviour);
  instances::Group& group = node.add();
  group.plan.instance.role = domain::Role::code;
  node.warm(group, 1);
  const Ticket ticket = node.call();
  node.play(1s);
  EXPECT_EQ(node.answer(ticket).error.code, Code::unavailable) << "to come again later would not help";
  EXPECT_EQ(node.answer(ticket).error.message, "Runtime.ExitError: signal 9 (Killed): it exceeded its memory limit");
}

TEST(Dispatcher, AnInstanceCannotAnswerForAnother) {
  TestServing node;
  instances::Group& group = node.add();
  node.warm(group, 2);
  const Ticket first = node.call(), second = node.call();
  instances::Reply lie;
  lie.head.ticket = first.number;
  node.world.fleet.on_reply(group.instances[1]->id, std::move(lie));
  EXPECT_TRUE(node.client.answers.empty());
  node.play(10ms);
  EXPECT_TRUE(node.answer(first).ok);
  EXPECT_FALSE(node.answered(second)) << "it has said all that it may: its own call waits for the deadline";
}

TEST(Dispatcher, WhereNothingCanStartWhatWaitsFailsAndSaysWhy) {
  FakeBehaviour behaviour = steady();
  behaviour.start_fails = 1;
  TestServing node(behaviour);
  node.add();
  const Ticket first = node.call(), second = node.call();
  node.play(1s);
  for (const Ticket ticket : {first, second}) {
    EXPECT_EQ(node.answer(ticket).error.code, Code::unavailable);
    EXPECT_EQ(node.answer(ticket).error.message, "no instance of function 'fraud' could start: not a model that it knows");
  }
  EXPECT_EQ(node.lane().waiting, 0);
  node.play(1min);
  EXPECT_LT(node.lane().load.concurrency_panic.at(node.world.turn.now), 0.01) << "what failed is no load";
}

TEST(Dispatcher, ADeletedVersionFailsWhatWaitsAndFinishesWhatRuns) {
  TestServing node;
  node.warm(node.add(), 1);
  const Ticket runs = node.call(), waits = node.call();
  node.routes.remove("fraud");
  node.dispatcher.forget({11});
  node.world.fleet.forget({11});
  EXPECT_EQ(node.answer(waits).error.code, Code::not_found);
  node.play(1s);
  EXPECT_TRUE(node.answer(runs).ok);
  EXPECT_EQ(node.dispatcher.find_lane({11}), nullptr) << "nothing is left of it";
}

}  // namespace
}  // namespace mayfly::serve
