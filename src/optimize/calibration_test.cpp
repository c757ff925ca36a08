#include "optimize/calibration.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mayfly::optimize {
namespace {

// A bell of 100,000 values about 0, none beyond 4, in the order in which a sum of uniform numbers comes.
std::vector<float> bell() {
  std::vector<float> values(100000);
  std::uint32_t state = 1;
  for (float& value : values) {
    value = 0;
    for (int i = 0; i < 12; ++i) {
      state = state * 1664525 + 1013904223;
      value += static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
    }
    value = std::fmin(std::fmax(value, -4.0f), 4.0f);
  }
  return values;
}

Observed observed(const std::vector<float>& values) {
  Observed made;
  made.look(values);
  made.count(values);
  return made;
}

TEST(Calibration, MinMaxIsAllThatWasSeen) {
  const Observed made = observed({-1, std::nanf(""), 3, INFINITY, 2});
  EXPECT_EQ(made.range(Calibration::min_max)->least, -1);
  EXPECT_EQ(made.range(Calibration::min_max)->most, 3);
  EXPECT_FALSE(observed({}).range(Calibration::min_max));
  EXPECT_FALSE(observed({std::nanf("")}).range(Calibration::entropy));
  EXPECT_EQ(observed({0, 0}).range(Calibration::percentile)->most, 0);
}

TEST(Calibration, AFewOutliersAreCutOffByTheOtherMethods) {
  std::vector<float> values = bell();
  for (int i = 0; i < 3; ++i) values.insert(values.begin() + 1000 * i, {i == 0 ? 40.0f : 5.0f});
  const Observed made = observed(values);
  EXPECT_EQ(made.range(Calibration::min_max)->most, 40);
  const auto entropy = made.range(Calibration::entropy);
  EXPECT_GT(entropy->most, 2.5f);
  EXPECT_LT(entropy->most, 20.0f);
  EXPECT_LE(entropy->least, -2.5f);
  // 0.0005 % of 100,003 values is none: one outlier stays. Of ten times as many it goes.
  Observed many;
  const std::vector<float> plain = bell();
  for (int i = 0; i < 10; ++i) many.look(plain);
  many.look(std::vector<float>{40});
  for (int i = 0; i < 10; ++i) many.count(plain);
  many.count(std::vector<float>{40});
  EXPECT_LT(many.range(Calibration::percentile)->most, 5.0f);
  EXPECT_GT(many.range(Calibration::percentile)->most, 3.5f);
  // One that is cut by x costs x squared; a million that are rounded to steps of s cost s squared / 12 each: both are even at about 0.4.
  EXPECT_GT(many.range(Calibration::squares)->most, 8.0f);
  EXPECT_LT(many.range(Calibration::squares)->most, 25.0f);
  Observed even;  // without outliers nearly all is kept
  const std::vector<float> numbers{-1, -0.5f, 0, 0.25f, 0.5f, 0.75f, 1};
  even.look(numbers), even.count(numbers);
  EXPECT_GT(even.range(Calibration::squares)->most, 0.95f);
}

TEST(Calibration, TheStepNamesItsMethod) {
  EXPECT_EQ(calibration_of("int8-static"), Calibration::min_max);
  EXPECT_EQ(calibration_of("int8-static:entropy"), Calibration::entropy);
  EXPECT_EQ(calibration_of("int8-static:mse"), Calibration::squares);
  EXPECT_EQ(calibration_of(kStaticFitStep), Calibration::squares);
  EXPECT_EQ(calibration_of("int8-dynamic"), std::nullopt);
}

}  // namespace
}  // namespace mayfly::optimize
