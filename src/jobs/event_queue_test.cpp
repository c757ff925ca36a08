// The queue of events with a real database, and calls that are answered by the test, in time of its own.
#include "jobs/event_queue.h"

#include <algorithm>
#include <deque>
#include <optional>

#include <gtest/gtest.h>

#include "domain/json.h"
#include "store/test_folder.h"

namespace mayfly::jobs {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

struct Asked {
  Ticket ticket;
  std::string function, qualifier, body;
  std::uint64_t context_size = 0, request_id_low = 0;
};

// Answers nothing by itself, but what it refuses.
class Functions final : public serve::Invoker {
 public:
  Ticket invoke(serve::Invocation&& call, serve::ReplySink& sink) override {
    const Ticket ticket{++made_};
    ++calls;
    if (refusal) {
      sink.on_reply(ticket, {.error = *refusal});
      return ticket;
    }
    std::string body = std::move(call.body);
    if (call.body_memfd)
      body = serve::body_text({.ok = true, .body_memfd = std::move(call.body_memfd), .body_size = call.body_size}, 2 << 20);
    asked.push_back({ticket, std::string(call.function), std::string(call.qualifier), body, call.context_size, call.request_id_low});
    sink_ = &sink;
    return ticket;
  }
  void cancel(Ticket) override {}
  void sent(Ticket, Instant, std::uint64_t) override { ++closed; }

  void answer(const std::string& body) { reply({.ok = true, .body = body, .version = 1}); }
  void fail_as(const std::string& body) {
    reply({.error = {Code::internal, "it threw"}, .function_error = true, .body = body, .version = 1});
  }
  void die() { reply({.error = {Code::exhausted, "it took more memory than it may"}, .died = true}); }

  std::deque<Asked> asked;
  std::optional<Error> refusal;
  int calls = 0, closed = 0;

 private:
  void reply(serve::InvocationReply&& reply) {
    const Ticket ticket = asked.front().ticket;
    asked.pop_front();
    sink_->on_reply(ticket, std::move(reply));
  }
  serve::ReplySink* sink_ = nullptr;
  std::uint64_t made_ = 0;
};

class EventQueueTest : public testing::Test {
 protected:
  void SetUp() override { restart(); }

  void restart(EventOptions options = {}) {
    queue_.reset();
    later_.clear();
    events_.reset();
    events_ = std::make_unique<store::Events>(store::Events::open(folder_ / "events.db").value());
    const auto background = [this](std::function<void()> work, std::function<void()> done) {
      if (!disk_) return false;
      later_.emplace_back(std::move(work), std::move(done));
      return true;
    };
    const auto policy = [this](std::string_view function, std::string_view) {
      const auto set = policies_.find(std::string(function));
      return set == policies_.end() ? domain::EventPolicy{} : set->second;
    };
    queue_ = std::make_unique<EventQueue>(turn_, *events_, background, functions_, policy, options);
    ASSERT_TRUE(queue_->open());
  }
  Instant turn() {
    Instant next = queue_->end_turn();
    while (!later_.empty()) {
      const auto [work, done] = std::move(later_.front());
      later_.pop_front();
      work();
      done();
      next = queue_->end_turn();
    }
    return next;
  }
  void pass(Duration time) {
    turn_.now = turn_.now + time;
    turn_.wall.since_epoch += std::chrono::duration_cast<std::chrono::microseconds>(time);
    turn();
  }
  std::string add(const std::string& body, const std::string& function = "f", std::uint64_t context = 0) {
    std::string told = "nothing";
    queue_->add({.function = function, .body = body, .context_size = context, .request_id_low = 7},
                [&](const Result<void>& kept) { told = kept ? "kept" : kept.error().message; });
    turn();
    return told;
  }
  std::size_t on_disk() { return events_->load().value().size(); }

  store::TestFolder folder_;
  Turn turn_{.now = {1h}, .wall = {std::chrono::microseconds(1'700'000'000'000'000)}};
  Functions functions_;
  std::map<std::string, domain::EventPolicy> policies_;
  std::deque<std::pair<std::function<void()>, std::function<void()>>> later_;
  bool disk_ = true;
  std::unique_ptr<store::Events> events_;
  std::unique_ptr<EventQueue> queue_;
};

TEST_F(EventQueueTest, AnEventIsOnDiskBeforeItIsAcceptedAndGoneOnceItIsDone) {
  std::string told;
  queue_->add({.function = "f", .qualifier = "live", .body = "{}"}, [&](const Result<void>& kept) { told = kept ? "kept" : "lost"; });
  queue_->end_turn();
  EXPECT_EQ(told, "");
  EXPECT_EQ(functions_.calls, 0) << "not before it is on disk";
  turn();
  EXPECT_EQ(told, "kept");
  EXPECT_EQ(on_disk(), 1U);
  ASSERT_EQ(functions_.asked.size(), 1U);
  EXPECT_EQ(functions_.asked[0].qualifier, "live");
  functions_.answer("1");
  turn();
  EXPECT_EQ(on_disk(), 0U);
  EXPECT_EQ(queue_->waiting(), 0U);
  EXPECT_EQ(functions_.closed, 1) << "its usage record is closed";
  EXPECT_EQ(turn(), Instant::never());
}

TEST_F(EventQueueTest, WhatTheFunctionFailsAtIsTriedTwiceMoreAfterOneAndTwoMinutes) {
  add("{\"a\": 1}tail", "f", 4);
  for (const auto& [wait, calls] : {std::pair(60s, 2), std::pair(120s, 3)}) {
    functions_.fail_as("{\"errorType\": \"E\"}");
    turn();
    pass(wait - 1s);
    EXPECT_EQ(functions_.calls, calls - 1);
    pass(1s);
    EXPECT_EQ(functions_.calls, calls);
    EXPECT_EQ(functions_.asked.front().body, "{\"a\": 1}tail");
    EXPECT_EQ(functions_.asked.front().context_size, 4U);
    EXPECT_EQ(functions_.asked.front().request_id_low, 7U);
  }
  functions_.fail_as("{}");
  pass(1h);
  EXPECT_EQ(functions_.calls, 3);
  EXPECT_EQ(on_disk(), 0U);
  EXPECT_EQ(queue_->counts().failed, 1U);
  EXPECT_EQ(queue_->counts().retried, 2U);
}

TEST_F(EventQueueTest, ItsFunctionMaySetHowOftenAndHowLong) {
  policies_["once"] = {.retries = 0};
  add("{}", "once");
  functions_.fail_as("{}");
  pass(10min);
  EXPECT_EQ(functions_.calls, 1);
  policies_["brief"] = {.age_max = 60s};
  add("{}", "brief");
  functions_.fail_as("{}");
  pass(10min);
  EXPECT_EQ(functions_.calls, 2) << "it would be older than a minute by then";
  EXPECT_EQ(queue_->waiting(), 0U);
}

TEST_F(EventQueueTest, WhatFindsNoRoomWaitsEverLongerAndIsNoFailure) {
  functions_.refusal = Error{Code::exhausted, "busy"};
  add("{}");
  int before = functions_.calls;
  EXPECT_EQ(before, 1);
  for (const Duration wait : {Duration(1s), Duration(2s), Duration(4s), Duration(8s)}) {
    pass(wait - 10ms);
    EXPECT_EQ(functions_.calls, before);
    pass(10ms);
    EXPECT_EQ(functions_.calls, ++before);
  }
  for (int i = 0; i < 200; ++i) pass(5min);
  EXPECT_EQ(queue_->waiting(), 0U) << "six hours are enough";
  EXPECT_EQ(queue_->counts().failed, 1U);
  EXPECT_LT(functions_.calls, 100);
}

TEST_F(EventQueueTest, WhatEndsItsInstanceIsAFailure) {
  add("{}");
  for (int i = 0; i < 3; ++i) {
    functions_.die();
    pass(120s);
  }
  EXPECT_EQ(functions_.calls, 3);
  EXPECT_EQ(queue_->waiting(), 0U);
}

TEST_F(EventQueueTest, WhatWouldBeRefusedAgainIsNotTriedAgain) {
  functions_.refusal = Error{Code::not_found, "there is no function 'f'"};
  add("{}");
  pass(1h);
  EXPECT_EQ(functions_.calls, 1);
  EXPECT_EQ(on_disk(), 0U);
}

TEST_F(EventQueueTest, ACrashLosesNothing) {
  add("first");
  add("second");
  ASSERT_EQ(functions_.asked.size(), 2U);
  functions_.answer("1");                        // said, and not written
  functions_.asked.clear();
  restart();
  turn();
  ASSERT_EQ(functions_.asked.size(), 2U) << "at least once";
  EXPECT_EQ(functions_.asked[0].body, "first");
  functions_.fail_as("{}");
  turn();
  restart();
  turn();
  EXPECT_EQ(functions_.asked.back().body, "second") << "the other one waits for its minute, as before";
  EXPECT_EQ(queue_->waiting(), 2U);
  functions_.asked.clear();
  pass(60s);
  ASSERT_EQ(functions_.asked.size(), 1U);
  EXPECT_EQ(functions_.asked[0].body, "first");
}

TEST_F(EventQueueTest, OutcomesAreEventsOfTheFunctionsThatAreNamed) {
  policies_["f"] = {.retries = 0, .on_success = "good:live", .on_failure = "bad"};
  add("{\"a\": 1}ctx", "f", 3);
  functions_.answer("{\"b\": 2}");
  turn();
  ASSERT_EQ(functions_.asked.size(), 1U);
  EXPECT_EQ(functions_.asked[0].function, "good");
  EXPECT_EQ(functions_.asked[0].qualifier, "live");
  Json record = Json::parse(functions_.asked[0].body);
  EXPECT_EQ(record["requestPayload"], Json({{"a", 1}}));
  EXPECT_EQ(record["responsePayload"], Json({{"b", 2}}));
  EXPECT_EQ(record["requestContext"]["condition"], "Success");
  EXPECT_EQ(record["requestContext"]["approximateInvokeCount"], 1);
  EXPECT_EQ(record["requestContext"]["functionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST");
  EXPECT_EQ(record["timestamp"], "2023-11-14T22:13:20.000Z");
  EXPECT_FALSE(record["responseContext"].contains("functionError"));
  functions_.answer("null");
  turn();
  add("no JSON");
  functions_.fail_as("{\"errorType\": \"E\"}");
  turn();
  ASSERT_EQ(functions_.asked.size(), 1U);
  EXPECT_EQ(functions_.asked[0].function, "bad");
  record = Json::parse(functions_.asked[0].body);
  EXPECT_EQ(record["requestPayload"], "no JSON");
  EXPECT_EQ(record["responsePayload"]["errorType"], "E");
  EXPECT_EQ(record["requestContext"]["condition"], "RetriesExhausted");
  EXPECT_EQ(record["responseContext"]["functionError"], "Unhandled");
}

TEST_F(EventQueueTest, AFunctionThatTellsItselfEnds) {
  policies_["f"] = {.on_success = "f"};
  add("{}");
  for (int i = 0; i < 40 && !functions_.asked.empty(); ++i) {
    functions_.answer("{}");
    turn();
  }
  EXPECT_EQ(functions_.calls, 17);
}

TEST_F(EventQueueTest, ThereAreLimits) {
  EXPECT_NE(add(std::string((1 << 20) + 1, 'x')).find("at most"), std::string::npos);
  EXPECT_EQ(add(std::string(1 << 20, 'x')), "kept");
  EXPECT_EQ(functions_.asked.front().body.size(), 1U << 20) << "in a file of memory";
  functions_.asked.clear();
  restart({.waiting_max = 3});
  EXPECT_EQ(add("{}"), "kept");
  EXPECT_EQ(add("{}"), "kept");
  EXPECT_NE(add("{}").find("3 events"), std::string::npos);
  restart({.bytes_max = {(1 << 20) + 8}});
  EXPECT_NE(add("more than eight").find("wait: no more are taken"), std::string::npos);
}

TEST_F(EventQueueTest, OneFunctionDoesNotKeepOthersWaitingAndRunsOnlySoManyAtATime) {
  restart({.running_max = 6, .running_of_one_max = 4});
  for (int i = 0; i < 20; ++i) add("{}", "many");
  add("{}", "one");
  EXPECT_EQ(functions_.asked.size(), 5U);
  EXPECT_EQ(functions_.asked.back().function, "one");
  for (int i = 0; i < 21; ++i) {
    functions_.answer("1");
    turn();
    EXPECT_LE(functions_.asked.size(), 5U);
  }
  EXPECT_EQ(functions_.calls, 21);
  EXPECT_EQ(queue_->waiting(), 0U);
}

TEST_F(EventQueueTest, BodiesBeyondWhatIsHeldAreReadWhenTheyRun) {
  restart({.held_max = {10}, .running_of_one_max = 1});
  for (const char* body : {"first of all", "second", "third one"}) EXPECT_EQ(add(body), "kept");
  for (const char* body : {"first of all", "second", "third one"}) {
    ASSERT_EQ(functions_.asked.size(), 1U);
    EXPECT_EQ(functions_.asked[0].body, body);
    functions_.answer("1");
    turn();
  }
}

TEST_F(EventQueueTest, ADiskThatFailsIsToldToWhoAddsAndForgetsNoOutcome) {
  add("{}");
  disk_ = false;
  EXPECT_NE(add("{}"), "kept");
  functions_.answer("1");
  turn();
  EXPECT_EQ(on_disk(), 1U);
  disk_ = true;
  pass(2s);
  EXPECT_EQ(on_disk(), 0U);
  EXPECT_EQ(functions_.calls, 1);
}

}  // namespace
}  // namespace mayfly::jobs
