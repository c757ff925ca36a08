#include "optimize/static_int8.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

TestModel convolution() {
  TestModel made;
  made.input("x", {"n", "3", "8", "8"}).output("y").floats("c", {8, 3, 3, 3}).floats("b", {8}).floats("d", {4, 8, 1, 1});
  made.node("Conv", {"x", "c", "b"}, {"a"});
  made.node("Relu", {"a"}, {"r"});
  made.node("Conv", {"r", "d"}, {"y"});
  return made;
}

TEST(StaticInt8, RangesBecomeScales) {
  const Model model = convolution().model();
  EXPECT_EQ(tensors_to_measure(model), (std::vector<std::string>{"x", "r", "y"}));  // behind the Relu, not before it
  const auto made = quantise_static(model, {{"x", {-1, 1.55f}}, {"r", {0, 5.1f}}, {"y", {-2, 2}}});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ(made->changed, 2);
  EXPECT_EQ(kinds(made->model),
            "QuantizeLinear DequantizeLinear DequantizeLinear DequantizeLinear Conv Relu QuantizeLinear DequantizeLinear "
            "DequantizeLinear Conv QuantizeLinear DequantizeLinear");
  EXPECT_NEAR(values<float>(*constant_in(made->model, "x_scale"))[0], 0.01f, 1e-6);
  EXPECT_EQ(values<std::uint8_t>(*constant_in(made->model, "x_zero"))[0], 100);
  EXPECT_EQ(values<std::uint8_t>(*constant_in(made->model, "r_zero"))[0], 0);
  EXPECT_EQ(shape_of(*constant_in(made->model, "c_int8")), (Shape{8, 3, 3, 3}));
  EXPECT_EQ(constant_in(made->model, "c_int8_scale")->dims(0), 8);
  const float step = values<float>(*constant_in(made->model, "b_int32_scale"))[2];
  EXPECT_NEAR(static_cast<float>(values<std::int32_t>(*constant_in(made->model, "b_int32"))[2]) * step, TestModel::pattern(8)[2], step);
  EXPECT_EQ(made->model.impl().proto.graph().output(0).name(), "y");
}

TEST(StaticInt8, WhatWasNotMeasuredStays) {
  const Model model = convolution().model();
  const auto made = quantise_static(model, {{"x", {-1, 1}}, {"r", {0, 5}}});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(made->changed, 1);
  EXPECT_EQ(made->left, (std::vector<Left>{{"y_node", "no range of 'y' was measured"}}));
  EXPECT_EQ(quantise_static(model, {{"x", {-1, 1}}, {"r", {0, 5}}}, {"a_node"})->changed, 0);
  EXPECT_EQ(quantise_static(model, {{"x", {2, 1}}}).error().code, Code::invalid_argument);
  EXPECT_EQ(with_outputs(model, {"nobody"}).error().code, Code::invalid_argument);
  EXPECT_EQ(with_outputs(model, {"r", "x"})->impl().proto.graph().output_size(), 2);
}

// The engine would quantise the weights of a convolution behind a DequantizeLinear, with one scale for all.
TEST(StaticInt8, ALayerThatStaysTakesTheValueAsItWas) {
  const Ranges ranges{{"x", {-1, 1}}, {"r", {0, 5}}, {"y", {-2, 2}}, {"z", {-2, 2}}};
  const auto made = quantise_static(convolution().model(), ranges, {"y_node"});
  ASSERT_TRUE(made.has_value());
  const auto& nodes = made->model.impl().proto.graph().node();
  const auto kept = std::ranges::find_if(nodes, [](const auto& node) { return node.name() == "y_node"; });
  ASSERT_NE(kept, nodes.end());
  EXPECT_EQ(kept->input(0), "r");
  TestModel last = convolution();  // behind a value that is an output, too
  last.output("z").floats("e", {4, 4, 1, 1}).node("Conv", {"y", "e"}, {"z"});
  const auto behind = quantise_static(last.model(), ranges, {"z_node"});
  ASSERT_TRUE(behind.has_value());
  EXPECT_EQ(behind->model.impl().proto.graph().node().rbegin()->input(0), "y_raw");
}

TEST(StaticInt8, WeightsThatFitAreOfSevenBitsAndTheirBiasIsCorrected) {
  const Model model = convolution().model();
  AllMoments moments;
  const auto wanted = inputs_to_fit(model, FitLayers::all);
  ASSERT_EQ(wanted.size(), 2u);
  EXPECT_EQ(inputs_to_fit(model).size(), 0u);  // for int8-weights they are too small
  for (const FitInput& input : wanted) {
    const std::int64_t shape[] = {1, input.value == "x" ? 3 : 8, 8, 8};
    std::vector<float> values = TestModel::pattern(static_cast<std::size_t>(shape[1]) * 64);
    for (float& value : values) value += 1;
    moments.emplace(input.key, input.patches).first->second.look(values, shape);
  }
  const Ranges ranges{{"x", {0, 2}}, {"r", {0, 5}}, {"y", {-2, 2}}};
  const auto made = quantise_static(model, ranges, {}, &moments);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  int most = 0;
  for (const std::int8_t number : values<std::int8_t>(*constant_in(made->model, "c_int8"))) most = std::max(most, std::abs(number));
  EXPECT_EQ(most, 63);
  EXPECT_NE(constant_in(made->model, "b_fitted_int32"), nullptr);
  EXPECT_NE(constant_in(made->model, "y_bias_int32"), nullptr);  // it had none
  EXPECT_EQ(made->notes.back(), "2 of 2 layers have weights that fit the samples, in 7 bits");
  // What stays in 32 bits keeps its own bias.
  const auto kept = quantise_static(model, ranges, {"a_node"}, &moments);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(constant_in(kept->model, "b_fitted"), nullptr);
  EXPECT_NE(constant_in(kept->model, "b"), nullptr);
}

}  // namespace
}  // namespace mayfly::optimize
