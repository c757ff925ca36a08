#include "os/loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "os/clock.h"
#include "os/pool.h"

namespace mayfly::os {
namespace {

using namespace std::chrono_literals;

struct OnEvents final : Watcher {
  explicit OnEvents(std::function<void(std::uint32_t)> f) : call(std::move(f)) {}
  void on_events(std::uint32_t events) override { call(events); }
  std::function<void(std::uint32_t)> call;
};

struct LoopTest : testing::Test {
  Loop loop = Loop::create().value();
};

TEST_F(LoopTest, TimersFireInOrderAndNeverEarly) {
  std::vector<int> order;
  const Instant start = loop.refresh_now();
  const auto due = [&](Duration wait, int number) {
    loop.at(start + wait, [&order, number, start, wait] {
      EXPECT_GE(monotonic_now(), start + wait);
      order.push_back(number);
    });
  };
  due(20ms, 3);
  due(5ms, 1);
  due(5ms, 2);
  due(0ms, 0);
  while (order.size() < 4) loop.turn(1s);
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
}

TEST_F(LoopTest, ACancelledTimerDoesNotFire) {
  bool fired = false;
  const auto timer = loop.after(1ms, [&] { fired = true; });
  loop.cancel(timer);
  loop.cancel(timer);
  loop.after(5ms, [&] { loop.stop(); });
  loop.run();
  EXPECT_FALSE(fired);
}

TEST_F(LoopTest, ATimerMayCancelAnotherOfTheSameTurn) {
  bool fired = false;
  Loop::TimerId second;
  loop.at(loop.now(), [&] { loop.cancel(second); });
  second = loop.at(loop.now(), [&] { fired = true; });
  loop.turn(10ms);
  EXPECT_FALSE(fired);
}

TEST_F(LoopTest, ATimerThatSetsAnotherForNowDoesNotStarveTheRest) {
  int turns = 0, fired = 0;
  std::function<void()> again = [&] { ++fired; loop.at(loop.now(), again); };
  again();
  for (; turns < 10; ++turns) loop.turn(0ms);
  EXPECT_EQ(fired, 11) << "once a turn";
}

TEST_F(LoopTest, TellsThatADescriptorIsReady) {
  Fd bell = make_eventfd().value();
  int told = 0;
  OnEvents watcher([&](std::uint32_t events) { ++told; EXPECT_TRUE(events & EPOLLIN); clear_doorbell(bell.get()); });
  ASSERT_TRUE(loop.watch(bell.get(), EPOLLIN, watcher));
  loop.turn(0ms);
  EXPECT_EQ(told, 0);
  ring_doorbell(bell.get());
  loop.turn(1s);
  EXPECT_EQ(told, 1);
  loop.unwatch(bell.get());
  loop.unwatch(bell.get());
  ring_doorbell(bell.get());
  loop.turn(0ms);
  EXPECT_EQ(told, 1);
}

// The promise of the header: not even for an event of the same turn, and not where the number was given out again.
TEST_F(LoopTest, AnUnwatchedHandlerIsNotCalledAgain) {
  Fd a = make_eventfd().value(), b = make_eventfd().value();
  int calls = 0;
  OnEvents first([&](std::uint32_t) { ++calls; loop.unwatch(a.get()); loop.unwatch(b.get()); });
  OnEvents second([&](std::uint32_t) { ++calls; loop.unwatch(a.get()); loop.unwatch(b.get()); });
  ASSERT_TRUE(loop.watch(a.get(), EPOLLIN, first));
  ASSERT_TRUE(loop.watch(b.get(), EPOLLIN, second));
  ring_doorbell(a.get());
  ring_doorbell(b.get());
  loop.turn(1s);
  EXPECT_EQ(calls, 1);
}

TEST_F(LoopTest, ANumberThatIsGivenOutAgainInTheSameTurnHasNoOldEvents) {
  Fd a = make_eventfd().value(), b = make_eventfd().value();
  int old_calls = 0, new_calls = 0;
  OnEvents fresh([&](std::uint32_t) { ++new_calls; });
  const auto replace = [&](Fd& other) {
    ++old_calls;
    loop.unwatch(other.get());
    const int number = other.get();
    other = {};
    other = make_eventfd().value();  // takes the lowest free number: the same
    EXPECT_EQ(other.get(), number);
    EXPECT_TRUE(loop.watch(other.get(), EPOLLIN, fresh));
  };
  OnEvents on_a([&](std::uint32_t) { loop.unwatch(a.get()); replace(b); });
  OnEvents on_b([&](std::uint32_t) { loop.unwatch(b.get()); replace(a); });
  ASSERT_TRUE(loop.watch(a.get(), EPOLLIN, on_a));
  ASSERT_TRUE(loop.watch(b.get(), EPOLLIN, on_b));
  ring_doorbell(a.get());
  ring_doorbell(b.get());
  loop.turn(1s);
  EXPECT_EQ(old_calls, 1);
  EXPECT_EQ(new_calls, 0) << "the new one has not rung";
}

TEST_F(LoopTest, WatchingAgainChangesTheEvents) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  Fd read_end(fds[0]), write_end(fds[1]);
  std::uint32_t seen = 0;
  OnEvents watcher([&](std::uint32_t events) { seen |= events; });
  ASSERT_TRUE(loop.watch(write_end.get(), 0, watcher));
  loop.turn(0ms);
  EXPECT_EQ(seen & EPOLLOUT, 0U);
  ASSERT_TRUE(loop.watch(write_end.get(), EPOLLOUT, watcher));
  loop.turn(1s);
  EXPECT_TRUE(seen & EPOLLOUT);
  loop.unwatch(write_end.get());
}

TEST_F(LoopTest, HooksRunAfterTheHandlersAndBeforeSleep) {
  std::vector<std::string> order;
  loop.before_sleep([&] { order.push_back("hook"); });
  loop.at(loop.now(), [&] { order.push_back("timer"); });
  loop.turn(0ms);
  loop.turn(0ms);
  EXPECT_EQ(order, (std::vector<std::string>{"hook", "timer", "hook"}));
}

TEST_F(LoopTest, PostsFromOtherThreadsArriveInOrderOnTheLoop) {
  const auto mine = std::this_thread::get_id();
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i)
      loop.post([&, i] {
        EXPECT_EQ(std::this_thread::get_id(), mine);
        seen.push_back(i);
        if (i == 999) loop.stop();
      });
  });
  loop.run();
  other.join();
  ASSERT_EQ(seen.size(), 1000U);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST_F(LoopTest, StopFromAnotherThreadWakesASleeper) {
  std::thread other([&] { std::this_thread::sleep_for(5ms); loop.stop(); });
  const Instant start = monotonic_now();
  loop.run();
  other.join();
  EXPECT_LT(monotonic_now() - start, Duration(30s));
}

TEST(Pool, RunsWorkElsewhereAndTellsTheLoop) {
  Loop loop = Loop::create().value();
  const auto mine = std::this_thread::get_id();
  int done = 0;
  std::atomic<int> worked = 0;
  {
    Pool pool(loop, 3);
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(pool.run([&] { EXPECT_NE(std::this_thread::get_id(), mine); ++worked; },
                           [&] { EXPECT_EQ(std::this_thread::get_id(), mine); if (++done == 100) loop.stop(); }));
    loop.run();
  }
  EXPECT_EQ(worked, 100);
  EXPECT_EQ(done, 100);
}

TEST(Pool, AFullPoolRefuses) {
  Loop loop = Loop::create().value();
  std::atomic<bool> go = false;
  std::atomic<int> worked = 0;
  {
    Pool pool(loop, 1, 2);
    const auto work = [&] { while (!go) std::this_thread::yield(); ++worked; };
    ASSERT_TRUE(pool.run(work, {}));
    while (pool.waiting() > 0) std::this_thread::yield();  // it has begun
    EXPECT_TRUE(pool.run(work, {}));
    EXPECT_TRUE(pool.run(work, {}));
    EXPECT_FALSE(pool.run(work, {}));
    go = true;
  }
  EXPECT_EQ(worked, 3) << "what waits is finished before it ends";
}

TEST(Pool, OneThreadKeepsOrder) {
  Loop loop = Loop::create().value();
  std::vector<int> order;
  {
    Pool pool(loop, 1);
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(pool.run([&order, i] { order.push_back(i); }, {}));
  }
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(order.size(), 50U);
}

}  // namespace
}  // namespace mayfly::os
