#include "optimize/moments.h"

#include <gtest/gtest.h>

#include <limits>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

TEST(Moments, RowsOfAProduct) {
  Moments made({.size = 2});
  const std::vector<float> values{1, 2, 3, 6};
  const std::int64_t shape[] = {1, 2, 2};
  made.look(values, shape);
  EXPECT_EQ(made.rows(), 2u);
  EXPECT_EQ(made.means(0), (std::vector<double>{2, 4}));
  EXPECT_EQ(made.products(0, false), (std::vector<double>{5, 10, 10, 20}));
  EXPECT_EQ(made.products(0, true), (std::vector<double>{1, 2, 2, 4}));
}

// Two groups of one channel, filters of 2 x 2 with a step of 2 and a padding at the end of 1: each number is under one filter.
TEST(Moments, PlacesOfAConvolution) {
  Moments made({.groups = 2, .size = 4, .kernel = {2, 2}, .strides = {2, 2}, .dilations = {1, 1}, .pads = {0, 0, 1, 1}});
  std::vector<float> values;
  for (int i = 0; i < 18; ++i) values.push_back(static_cast<float>(i));
  const std::int64_t shape[] = {1, 2, 3, 3};
  made.look(values, shape);
  EXPECT_EQ(made.rows(), 4u);
  // Of the first channel 0 1 2 / 3 4 5 / 6 7 8 the filters see (0 1 3 4), (2 0 5 0), (6 7 0 0), (8 0 0 0).
  EXPECT_EQ(made.means(0), (std::vector<double>{4, 2, 2, 1}));
  EXPECT_EQ(made.means(1), (std::vector<double>{(9 + 11 + 15 + 17) / 4.0, (10 + 16) / 4.0, (12 + 14) / 4.0, 13 / 4.0}));
  EXPECT_EQ(made.products(0, false)[1], 42 / 4.0);
  EXPECT_EQ(made.products(0, false)[4], 42 / 4.0);
}

TEST(Moments, WhatDoesNotFitIsNotCounted) {
  Moments made({.size = 2});
  const std::int64_t other[] = {1, 3}, fits[] = {1, 2}, wrong[] = {2, 2};
  made.look(std::vector<float>{1, 2, 3}, other);
  made.look(std::vector<float>{1, std::numeric_limits<float>::infinity()}, fits);
  made.look(std::vector<float>{1, 2}, wrong);
  made.look({}, {});
  EXPECT_EQ(made.rows(), 0u);
  EXPECT_EQ(made.means(0), (std::vector<double>{0, 0}));
  Moments places({.size = 9, .kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}});
  const std::int64_t small[] = {1, 1, 2, 2};
  places.look(std::vector<float>{1, 2, 3, 4}, small);  // smaller than the filter
  EXPECT_EQ(places.rows(), 0u);
}

TEST(Moments, OfALargePictureSomePlacesSpreadOverIt) {
  Moments made({.size = 1, .kernel = {1, 1}, .strides = {1, 1}, .dilations = {1, 1}, .pads = {0, 0, 0, 0}});
  std::vector<float> rising(112 * 112);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<float>(i % 112);
  const std::int64_t shape[] = {1, 1, 112, 112};
  made.look(rising, shape);
  EXPECT_EQ(made.rows(), 256u);
  EXPECT_NEAR(made.means(0)[0], 55.5, 2);
}

TEST(Moments, LayersThatCanBeFitted) {
  TestModel made;
  made.input("x", {"n", "64", "9", "9"}).output("y").floats("c", {64, 64, 1, 1}).floats("d", {64, 64, 1, 1}).floats("s", {8, 64, 1, 1});
  made.floats("wide", {16, 64, 8, 8}).floats("e", {64, 64, 1, 1});
  made.node("Conv", {"x", "c"}, {"a"});
  made.node("Conv", {"x", "d"}, {"b"});           // the same of the same value
  made.node("Conv", {"x", "s"}, {"few"});         // too few weights
  made.node("Conv", {"x", "wide"}, {"summed"});   // 4,096 numbers in a sum
  auto& same = made.node("Conv", {"a", "e"}, {"y"});
  auto* automatic = same.add_attribute();
  automatic->set_name("auto_pad"), automatic->set_type(onnx::AttributeProto::STRING), automatic->set_s("SAME_UPPER");
  const auto found = inputs_to_fit(made.model());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].value, "x");
  EXPECT_EQ(found[0].patches.size, 64u);
}

}  // namespace
}  // namespace mayfly::optimize
