#include "optimize/fit_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "optimize/detail/fit.h"
#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

constexpr std::size_t kSize = 64;

// Numbers behind a Relu that have much in common, as those of neighbouring channels do: far from 0 in the mean.
std::vector<float> inputs(std::size_t rows) {
  const std::vector<float> noise = TestModel::pattern(rows * (kSize + 4));
  std::vector<float> out;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < kSize; ++i)
      out.push_back(std::max(0.0f, 1 + noise[r * (kSize + 4) + i] * 0.3f + noise[r * (kSize + 4) + kSize + i % 4]));
  return out;
}

Moments seen(const Patches& patches, const std::vector<float>& rows) {
  Moments made(patches);
  const std::size_t count = rows.size() / kSize;
  for (std::size_t r = 0; r < count; ++r) {
    const std::span<const float> row(rows.data() + r * kSize, kSize);
    if (patches.kernel.empty()) made.look(row, std::vector<std::int64_t>{1, kSize});
    else made.look(row, std::vector<std::int64_t>{1, kSize, 1, 1});
  }
  return made;
}

// Of each row of the weights with the inputs: the mean square of what stored numbers compute otherwise.
double error_of(const std::vector<float>& weights, const std::vector<float>& stored, const std::vector<float>& bias,
                const std::vector<float>& rows) {
  double sum = 0;
  for (std::size_t at = 0; at < rows.size(); at += kSize)
    for (std::size_t r = 0; r < weights.size() / kSize; ++r) {
      double off = bias.empty() ? 0 : static_cast<double>(bias[r]);
      for (std::size_t i = 0; i < kSize; ++i)
        off += static_cast<double>((stored[r * kSize + i] - weights[r * kSize + i]) * rows[at + i]);
      sum += off * off;
    }
  return sum / static_cast<double>(rows.size() / kSize);
}

std::vector<float> stored_in(const Model& model, const std::string& name) {
  const auto whole = values<std::int8_t>(*constant_in(model, name + "_int8"));
  const auto scales = values<float>(*constant_in(model, name + "_int8_scale"));
  std::vector<float> out;
  for (std::size_t i = 0; i < whole.size(); ++i) out.push_back(static_cast<float>(whole[i]) * scales[i / (whole.size() / scales.size())]);
  return out;
}

TestModel convolution(bool biased) {
  TestModel made;
  made.input("x", {"n", "64", "h", "w"}).output("y").floats("c", {64, 64, 1, 1});
  if (biased) made.floats("b", {64});
  made.node("Conv", biased ? std::vector<std::string>{"x", "c", "b"} : std::vector<std::string>{"x", "c"}, {"y"});
  return made;
}

TEST(FitWeights, WhatALayerComputesChangesMuchLessThanByTheNearestNumbers) {
  const std::vector<float> seen_rows = inputs(600), weights = TestModel::pattern(64 * 64);
  const std::vector<float> other(seen_rows.begin() + 300 * kSize, seen_rows.end());  // those that nothing was fitted to
  for (const bool biased : {true, false}) {
    const Model model = convolution(biased).model();
    const auto wanted = inputs_to_fit(model);
    ASSERT_EQ(wanted.size(), 1u);
    AllMoments moments;
    moments.emplace(wanted[0].key, seen(wanted[0].patches, {seen_rows.begin(), seen_rows.begin() + 300 * kSize}));
    const auto made = fit_weights(model, moments);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    EXPECT_EQ(made->changed, 1);
    EXPECT_EQ(kinds(made->model), "DequantizeLinear Conv");
    std::vector<float> bias = values<float>(*constant_in(made->model, biased ? "b_fitted" : "y_bias"));
    ASSERT_EQ(bias.size(), 64u);
    for (std::size_t i = 0; biased && i < 64; ++i) bias[i] -= TestModel::pattern(64)[i];
    const double nearest = error_of(weights, stored_in(applied(model, {"int8-weights", {}}).model, "c"), {}, other);
    const double fitted = error_of(weights, stored_in(made->model, "c"), bias, other);
    EXPECT_LT(fitted, nearest / 5);
    EXPECT_EQ(constant_in(made->model, "b"), nullptr);
  }
}

TEST(FitWeights, AProductFromTheRightKeepsItsLayout) {
  TestModel made;
  made.input("x", {"n", "64"}).output("y").floats("w", {64, 70});
  made.node("MatMul", {"x", "w"}, {"y"});
  const Model model = made.model();
  AllMoments moments;
  moments.emplace(inputs_to_fit(model).at(0).key, seen({.size = kSize}, inputs(200)));
  const auto fitted = fit_weights(model, moments);
  ASSERT_TRUE(fitted.has_value());
  EXPECT_EQ(int_of(fitted->model.impl().proto.graph().node(0), "axis", -1), 1);
  const auto whole = values<std::int8_t>(*constant_in(fitted->model, "w_int8"));
  const auto scales = values<float>(*constant_in(fitted->model, "w_int8_scale"));
  ASSERT_EQ(scales.size(), 70u);
  const auto real = TestModel::pattern(64 * 70);
  for (std::size_t i = 0; i < whole.size(); ++i)  // a few steps off at most: what was made up for is never much
    EXPECT_NEAR(static_cast<float>(whole[i]) * scales[i % 70], real[i], 4 * scales[i % 70]);
}

TEST(FitWeights, WhatWasNotMeasuredIsRoundedToTheNearest) {
  const Model model = convolution(true).model();
  const auto plain = applied(model, {"int8-weights", {}});
  const auto made = fit_weights(model, {});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(constant_in(made->model, "c_int8")->raw_data(), constant_in(plain.model, "c_int8")->raw_data());
  EXPECT_NE(constant_in(made->model, "b"), nullptr);
  EXPECT_EQ(made->notes.back(), "0 of 1 layers have weights that fit the samples, the others the nearest numbers");
  EXPECT_EQ(fit_weights(model, {}, {"y_node"})->changed, 0);
  EXPECT_NE(apply(model, {std::string(kFitStep), {}}).error().message.find("takes moments"), std::string::npos);
}

TEST(FitWeights, InputsThatAreAlwaysTheSameNeedNoMore) {
  const Model model = convolution(true).model();
  const auto wanted = inputs_to_fit(model);
  AllMoments moments;
  moments.emplace(wanted[0].key, seen(wanted[0].patches, std::vector<float>(100 * kSize, 2.0f)));
  const auto made = fit_weights(model, moments);
  ASSERT_TRUE(made.has_value());
  std::vector<float> bias = values<float>(*constant_in(made->model, "b_fitted"));
  for (std::size_t i = 0; i < 64; ++i) bias[i] -= TestModel::pattern(64)[i];
  EXPECT_LT(error_of(TestModel::pattern(64 * 64), stored_in(made->model, "c"), bias, std::vector<float>(kSize, 2.0f)), 1e-6);
}

TEST(Feedback, NumbersOfNoUseAreRefused) {
  const std::vector<float> weights{1, 2}, scales{0.1f};
  const std::vector<double> none(4, 0), broken(4, NAN);
  EXPECT_FALSE(round_with_feedback({.weights = weights, .scales = scales, .products = none}));
  EXPECT_FALSE(round_with_feedback({.weights = weights, .scales = scales, .products = broken}));
}

// The first number is rounded down by 0.4 of its step; the second, which always comes with it, makes up for it.
TEST(Feedback, WhatIsRoundedLaterMakesUp) {
  const std::vector<float> weights{10.4f, 10.4f}, scales{1};
  const std::vector<double> alike{1, 0.999, 0.999, 1};
  const auto made = round_with_feedback({.weights = weights, .scales = scales, .products = alike});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ((*made)[0] + (*made)[1], 21);
}

}  // namespace
}  // namespace mayfly::optimize
