#include "app/histogram.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace mayfly::app {
namespace {

TEST(Histogram, EveryValueFallsIntoAStepThatEndsWithin1Point6Percent) {
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t ns = random.next() >> random.between(1, 63);
    const std::uint64_t end = Histogram::end_of(Histogram::index_of(ns));
    ASSERT_GE(end, ns);
    ASSERT_LE(static_cast<double>(end - ns), static_cast<double>(ns) * 0.016) << ns;
  }
}

TEST(Histogram, StepsFollowOneAnother) {
  for (std::size_t i = 0; i + 1 < 3700; ++i) {
    ASSERT_EQ(Histogram::index_of(Histogram::end_of(i)), i);
    ASSERT_EQ(Histogram::index_of(Histogram::end_of(i) + 1), i + 1);
  }
}

TEST(Histogram, QuantilesAgreeWithASortedList) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    Histogram histogram;
    std::vector<std::int64_t> all;
    const int count = random.between(1, 5000);
    for (int i = 0; i < count; ++i) {
      const auto ns = static_cast<std::int64_t>(random.next() >> random.between(20, 60));
      histogram.add(Duration(ns));
      all.push_back(ns);
    }
    std::sort(all.begin(), all.end());
    for (const double share : {0.001, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const auto rank = std::max(1.0, std::ceil(share * count));
      const auto exact = static_cast<double>(all[static_cast<std::size_t>(rank) - 1]);
      const auto told = static_cast<double>(histogram.quantile(share).count());
      EXPECT_GE(told, exact);
      EXPECT_LE(told, exact * 1.016 + 1) << "seed " << seed << " share " << share;
    }
    EXPECT_EQ(histogram.max().count(), all.back());
    EXPECT_EQ(histogram.min().count(), all.front());
    EXPECT_EQ(histogram.count(), all.size());
  }
}

TEST(Histogram, EmptyIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.quantile(0.99), Duration{});
  EXPECT_EQ(histogram.mean(), Duration{});
}

}  // namespace
}  // namespace mayfly::app
