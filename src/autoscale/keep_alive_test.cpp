#include "autoscale/keep_alive.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace mayfly::autoscale {
namespace {

using namespace std::chrono_literals;

constexpr KeepAlivePolicy kPolicy{};

KeepWindow after(int times, Duration gap) {
  KeepAlive keep;
  for (int i = 0; i < times; ++i) keep.add(gap);
  return keep.window(kPolicy);
}

TEST(KeepAlive, TooFewGapsFallBack) {
  EXPECT_FALSE(after(9, 5s).learned);
  EXPECT_EQ(after(9, 5s).keep_alive, Duration(60s));
  EXPECT_TRUE(after(10, 5s).learned);
}

TEST(KeepAlive, KeepsALittleLongerThanTheLongestUsualGap) {
  const KeepWindow window = after(100, 100s);
  EXPECT_EQ(window.pre_warm > Duration{}, true) << "and comes back just before";
  EXPECT_LT(window.pre_warm, Duration(100s));
  EXPECT_GT(window.pre_warm, Duration(60s));
  EXPECT_GT(window.pre_warm + window.keep_alive, Duration(100s));
  EXPECT_LT(window.pre_warm + window.keep_alive, Duration(150s));
}

TEST(KeepAlive, ShortGapsAreNotWorthLeavingFor) {
  const KeepWindow window = after(100, 30s);
  EXPECT_EQ(window.pre_warm, Duration{});
  EXPECT_GT(window.keep_alive, Duration(30s));
  EXPECT_LT(window.keep_alive, Duration(45s));
}

TEST(KeepAlive, BusyTrafficStillKeepsTheLeast) {
  EXPECT_EQ(after(1000, 5ms).keep_alive, kPolicy.least);
}

TEST(KeepAlive, AnHourlyCallIsMetByAPreWarm) {
  const KeepWindow window = after(20, 1h);
  EXPECT_LT(window.pre_warm, Duration(1h));
  EXPECT_GT(window.pre_warm, Duration(40min));
  EXPECT_EQ(window.keep_alive, kPolicy.most) << "no longer than allowed";
}

TEST(KeepAlive, GapsAllOverThePlaceSayNothing) {
  KeepAlive keep;
  Random random(3);
  for (int i = 0; i < 800; ++i) {  // even over the logarithm from 10 ms to 4 h
    const double part = static_cast<double>(random.between(0, 999)) / 1000;
    keep.add(from_seconds(0.01 * std::pow(1.44e6, part)));
  }
  EXPECT_FALSE(keep.window(kPolicy).learned);
}

TEST(KeepAlive, MostlyBeyondTheRangeFallsBack) {
  KeepAlive keep;
  for (int i = 0; i < 20; ++i) keep.add(5h);
  for (int i = 0; i < 15; ++i) keep.add(10s);
  EXPECT_FALSE(keep.window(kPolicy).learned);
}

TEST(KeepAlive, NewHabitsReplaceOldOnes) {
  KeepAlive keep;
  for (int i = 0; i < 1000; ++i) keep.add(2s);
  for (int i = 0; i < 5000; ++i) keep.add(40s);
  EXPECT_GT(keep.window(kPolicy).keep_alive, Duration(40s));
  EXPECT_LE(keep.samples(), 1001);
}

// The promise of a percentile's rounding: no recorded gap's percentile lies outside its edges.
TEST(KeepAlive, PercentilesBracketTheGap) {
  for (Duration gap = 11ms; gap < 4h; gap = gap * 3 / 2) {
    KeepAlive keep;
    keep.add(gap);
    EXPECT_LE(keep.percentile(0.5, false), gap);
    EXPECT_GE(keep.percentile(0.5, true) + 1us, gap);
    EXPECT_LE(to_seconds(keep.percentile(0.5, true)), to_seconds(gap) * 1.2);
  }
}

}  // namespace
}  // namespace mayfly::autoscale
