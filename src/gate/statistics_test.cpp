// Against values that others computed: scipy for Wilson's interval and Student's t, a numeric maximum of the likelihood for Tango's.
#include "gate/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mayfly::gate {
namespace {

constexpr double kTwoSided95 = 1.959963984540054;

TEST(Statistics, ShareIsWilsons) {
  struct Case {
    std::uint64_t successes, count;
    double low, high;
  };
  for (const Case& c : {Case{268, 268, 0.9900055853324105, 1}, Case{7, 20, 0.20226004005676104, 0.5334873111515284},
                        Case{990, 1000, 0.9833430074776349, 0.9940127141473999}, Case{0, 268, 0, 1 - 0.9900055853324105}}) {
    const Interval interval = share_interval(c.successes, c.count);
    EXPECT_NEAR(interval.low, c.low, 1e-9) << c.successes << " of " << c.count;
    EXPECT_NEAR(interval.high, c.high, 1e-9) << c.successes << " of " << c.count;
  }
  EXPECT_EQ(share_interval(0, 0).low, 0);
  EXPECT_EQ(share_interval(0, 0).high, 1);
}

TEST(Statistics, DifferenceIsTangos) {
  struct Case {
    Pairs pairs;
    double z, low, high;
  };
  for (const Case& c : {Case{{50, 0, 0}, kZ, -0.05133318419040343, 0.05133318419040343},
                        Case{{1000, 12, 9}, kZ, -0.004820708225330783, 0.011139534453961035},
                        Case{{360, 3, 0}, kZ, 0.0008118339585757028, 0.020666506833554824},
                        Case{{100, 20, 10}, kTwoSided95, -0.007682904203902565, 0.20821177540886252}}) {
    const Interval interval = difference_interval(c.pairs, c.z);
    EXPECT_NEAR(interval.low, c.low, 1e-6);
    EXPECT_NEAR(interval.high, c.high, 1e-6);
  }
}

TEST(Statistics, DifferenceOfFewSamplesThatHardlyDiffer) {
  // Where McNemar's test and the plain interval say nothing: one of 44.
  const Interval interval = difference_interval({44, 0, 1});
  EXPECT_NEAR(interval.low, -0.09566242458603211, 1e-6);
  EXPECT_NEAR(interval.high, 0.03651693636859903, 1e-6);
  EXPECT_NEAR(difference_interval({44, 0, 1}, kTwoSided95).low, -0.11807709813869381, 1e-6);
}

TEST(Statistics, DifferenceTurnsWithItsSides) {
  const Interval one = difference_interval({200, 14, 3}), other = difference_interval({200, 3, 14});
  EXPECT_NEAR(one.low, -other.high, 1e-9);
  EXPECT_NEAR(one.high, -other.low, 1e-9);
  EXPECT_LT(one.low, 11.0 / 200);
  EXPECT_GT(one.high, 11.0 / 200);
  EXPECT_EQ(difference_interval({}).high, 1);
}

TEST(Statistics, MeanIsStudents) {
  Mean mean;
  for (const double value : {1.0, 2.0, 3.0, 4.0, 5.0}) mean.add(value);
  const double half = 2.1318467863266495 * std::sqrt(2.5 / 5);  // t of 4 degrees of freedom
  EXPECT_DOUBLE_EQ(mean.mean, 3);
  EXPECT_NEAR(mean.interval().low, 3 - half, 5e-3);
  EXPECT_NEAR(mean.interval().high, 3 + half, 5e-3);
  for (int i = 0; i < 395; ++i) mean.add(3);
  EXPECT_NEAR((mean.interval().high - mean.mean) / std::sqrt(mean.squares / 399 / 400), 1.6486815335554255, 1e-6);
  EXPECT_EQ(mean.low, 1);
  EXPECT_EQ(mean.high, 5);
}

TEST(Statistics, FourValuesSayNothing) {
  Mean mean;
  for (int i = 0; i < 4; ++i) mean.add(1);
  EXPECT_TRUE(std::isinf(mean.interval().low));
}

TEST(Statistics, SamplesNeededAreThoseOfTheBound) {
  EXPECT_EQ(samples_needed(0.01), 268U);
  EXPECT_LE(difference_interval({268, 0, 0}).high, 0.01);
  EXPECT_GT(difference_interval({267, 0, 0}).high, 0.01);
  EXPECT_GE(share_interval(268, 268).low, 0.99);
  EXPECT_LT(share_interval(267, 267).low, 0.99);
}

}  // namespace
}  // namespace mayfly::gate
