#include "control/recorder.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mayfly::control {
namespace {

constexpr FunctionId kFunction{7};

TEST(RecorderTest, NothingIsKeptOfWhatNobodySetItFor) {
  Recorder recorder(1);
  EXPECT_FALSE(recorder.choose(kFunction, 10));
  EXPECT_EQ(recorder.find(kFunction), nullptr);
  recorder.begin(kFunction, {.calls = 5}, {});
  EXPECT_TRUE(recorder.choose(kFunction, 10));
  EXPECT_FALSE(recorder.choose(FunctionId{8}, 10));
  recorder.end(kFunction);
  EXPECT_FALSE(recorder.choose(kFunction, 10));
}

// Each of 1,000 calls is kept as often as any other: the places that are left at the end, over many runs, are spread evenly.
TEST(RecorderTest, EachCallIsAsLikelyToBeKept) {
  constexpr int kRuns = 400, kCalls = 1000, kKept = 50;
  std::vector<int> tenths(10);
  for (int run = 0; run < kRuns; ++run) {
    Recorder recorder(static_cast<std::uint64_t>(run) + 1);
    recorder.begin(kFunction, {.calls = kKept}, {});
    std::map<std::uint64_t, int> at;
    for (int call = 0; call < kCalls; ++call)
      if (const auto place = recorder.choose(kFunction, 100)) {
        at[place->number] = call;
        recorder.written(100);
      }
    ASSERT_EQ(at.size(), static_cast<std::size_t>(kKept));
    for (const auto& [place, call] : at) ++tenths[static_cast<std::size_t>(call / 100)];
  }
  for (const int count : tenths) EXPECT_NEAR(count, kRuns * kKept / 10, 250);  // of 2,000; one standard deviation is about 42
}

TEST(RecorderTest, TheLimitsHoldWhateverComes) {
  Random random(3);
  for (int run = 0; run < 200; ++run) {
    Recorder recorder(random.next());
    const domain::RecordingPolicy policy{.calls = random.between(1, 20), .size_max = {static_cast<std::uint64_t>(random.between(1, 2000))}};
    recorder.begin(kFunction, policy, {});
    std::map<std::uint64_t, std::uint64_t> sizes;
    for (int call = 0; call < 300; ++call) {
      const auto size = static_cast<std::uint64_t>(random.between(1, 300));
      const auto place = recorder.choose(kFunction, size);
      if (!place) continue;
      recorder.written(size);
      if (random.chance(0.1)) recorder.lost(kFunction, place->number), sizes.erase(place->number);
      else sizes[place->number] = size;
      std::uint64_t held = 0;
      for (const auto& [number, bytes] : sizes) held += bytes;
      ASSERT_LE(sizes.size(), static_cast<std::size_t>(policy.calls));
      ASSERT_LE(held, policy.size_max.count);
      ASSERT_EQ(recorder.find(kFunction)->held, held);
    }
  }
}

TEST(RecorderTest, CopiesThatAreNotWrittenYetAreBounded) {
  Recorder recorder(1);
  recorder.begin(kFunction, {.calls = 100, .size_max = domain::kRecordedBytesMax}, {});
  EXPECT_FALSE(recorder.choose(kFunction, kRecordedCallMax + 1)) << "too large alone";
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(recorder.choose(kFunction, kRecordedCallMax));
  EXPECT_FALSE(recorder.choose(kFunction, 1)) << "64 MiB wait for the disk";
  recorder.written(kRecordedCallMax);
  EXPECT_TRUE(recorder.choose(kFunction, 1));
}

TEST(RecorderTest, WhatIsThereIsKnownAgain) {
  Recorder recorder(1);
  recorder.begin(kFunction, {.calls = 3},
                 {{.place = 0, .size = 10, .seen = 4}, {.place = 2, .size = 20, .seen = 9}, {.place = 8, .size = 1, .seen = 2}});
  const Recorder::State& state = *recorder.find(kFunction);
  EXPECT_EQ(state.held, 30U) << "what lies beyond the limit is not counted";
  EXPECT_EQ(state.seen, 9U);
  EXPECT_EQ(state.sizes, (std::vector<std::uint64_t>{10, 0, 20}));
}

}  // namespace
}  // namespace mayfly::control
