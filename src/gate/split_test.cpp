#include "gate/split.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mayfly::gate {
namespace {

Samples numbered(std::uint64_t count) {
  Samples samples{.count = count};
  Array array{.name = "x", .shape = {static_cast<std::int64_t>(count), 2}, .data = std::vector<std::byte>(count * 8)};
  for (std::uint64_t i = 0; i < 2 * count; ++i) put_number(array, i, static_cast<double>(i / 2));
  samples.inputs.push_back(array);
  for (std::uint64_t i = 0; i < count; ++i) samples.labels.push_back(std::to_string(i));
  return samples;
}

TEST(Split, CalibrationLeavesTheRestWhereThereAreEnough) {
  const Parts parts = split(numbered(400), 100, 300);
  EXPECT_TRUE(parts.apart);
  EXPECT_EQ(parts.calibration.count, 100U);
  EXPECT_EQ(parts.rest.count, 300U);
  EXPECT_EQ(parts.rest.inputs[0].shape, (std::vector<std::int64_t>{300, 2}));
  std::vector<std::string> all = parts.calibration.labels;
  all.insert(all.end(), parts.rest.labels.begin(), parts.rest.labels.end());
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::unique(all).size(), 0U);  // no sample is in both
  EXPECT_EQ(all.size(), 400U);
  EXPECT_EQ(parts.calibration.labels[0], "0");
  EXPECT_EQ(parts.calibration.labels[99], "396");  // spread over all of it
  for (std::uint64_t i = 0; i < 300; ++i)
    EXPECT_EQ(number_at(parts.rest.inputs[0], 2 * i + 1), std::stod(parts.rest.labels[i])) << i;
}

TEST(Split, ASmallSetIsUsedForBoth) {
  const Parts parts = split(numbered(40), 100, 300);
  EXPECT_FALSE(parts.apart);
  EXPECT_EQ(parts.calibration.labels, numbered(40).labels);
  EXPECT_EQ(parts.rest.labels, numbered(40).labels);
  EXPECT_EQ(split(numbered(310), 100, 300).calibration.count, 100U);  // ten alone would be too few
  EXPECT_EQ(split(numbered(320), 100, 300).calibration.count, 20U);
  EXPECT_EQ(split(numbered(0), 100, 300).calibration.count, 0U);
}

}  // namespace
}  // namespace mayfly::gate
