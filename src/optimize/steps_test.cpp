#include <gtest/gtest.h>

#include <cmath>

#include "optimize/detail/quantise.h"
#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

using onnx::TensorProto;

TestModel layer(std::int64_t rows = 64, std::int64_t columns = 80) {
  TestModel made;
  made.input("x", {"n", std::to_string(rows)}).output("y").floats("w", {rows, columns}).node("MatMul", {"x", "w"}, {"y"});
  return made;
}

std::vector<float> column_of(const std::vector<float>& matrix, std::size_t columns, std::size_t column) {
  std::vector<float> out;
  for (std::size_t i = column; i < matrix.size(); i += columns) out.push_back(matrix[i]);
  return out;
}

TEST(Fold, ConstantsAreComputed) {
  TestModel made;
  made.input("x", {"n", "3"})
      .output("y")
      .output("z")
      .floats("w", {3, 2}, {1, 2, 3, 4, 5, 6})
      .wholes("shape", {2}, {-1, 2})
      .wholes("axes", {1}, {0});
  made.node("Transpose", {"w"}, {"turned"});                 // 2 x 3
  made.node("Transpose", {"turned"}, {"back"});              // 3 x 2
  made.node("Reshape", {"back", "shape"}, {"shaped"});
  made.node("MatMul", {"x", "shaped"}, {"y"});
  auto& constant = made.node("Constant", {}, {"c"});
  auto* value = constant.add_attribute();
  value->set_name("value"), value->set_type(onnx::AttributeProto::TENSOR);
  *value->mutable_t() = make_tensor<std::int64_t>("", TensorProto::INT64, {2}, {7, 8});
  set_int(made.node("Cast", {"c"}, {"real"}), "to", TensorProto::FLOAT);
  made.node("Unsqueeze", {"real", "axes"}, {"wide"});
  made.node("Add", {"y", "wide"}, {"z"});
  const Applied folded = applied(made.model(), {"fold", {}});
  EXPECT_EQ(kinds(folded.model), "MatMul Add");
  EXPECT_EQ(folded.model.impl().proto.graph().node(0).input(1), "w");  // turned twice it is what it was, and there once
  EXPECT_EQ(values<float>(*constant_in(folded.model, "wide")), (std::vector<float>{7, 8}));
  EXPECT_EQ(shape_of(*constant_in(folded.model, "wide")), (Shape{1, 2}));
  EXPECT_EQ(folded.model.impl().proto.graph().initializer_size(), 2);
  EXPECT_EQ(values<float>(*constant_in(folded.model, "w")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(Fold, TransposeOfThree) {
  TestModel made;
  made.input("x", {"n"}).output("y").floats("w", {1, 2, 3}, {0, 1, 2, 3, 4, 5});
  auto& turn = made.node("Transpose", {"w"}, {"t"});
  auto* order = turn.add_attribute();
  order->set_name("perm"), order->set_type(onnx::AttributeProto::INTS);
  for (const int axis : {2, 0, 1}) order->add_ints(axis);
  made.node("Add", {"x", "t"}, {"y"});
  const Applied folded = applied(made.model(), {"fold", {}});
  EXPECT_EQ(values<float>(*constant_in(folded.model, "t")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(shape_of(*constant_in(folded.model, "t")), (Shape{3, 1, 2}));
}

TEST(Fold, TwinsAndTheDeadLeave) {
  TestModel made;
  made.input("x", {"n", "2"})
      .output("y")
      .floats("a", {2}, {1, 2})
      .floats("b", {2}, {1, 2})
      .floats("c", {2, 1}, {1, 2})
      .floats("unused", {1}, {1});
  made.node("Add", {"x", "a"}, {"one"});
  made.node("Identity", {"one"}, {"same"});
  made.node("Add", {"same", "b"}, {"y"});
  made.node("Relu", {"same"}, {"dead"});
  made.node("Relu", {"dead"}, {"deader"});
  const Applied folded = applied(made.model(), {"fold", {}});
  EXPECT_EQ(kinds(folded.model), "Add Add");
  EXPECT_EQ(folded.model.impl().proto.graph().node(1).input(0), "one");
  EXPECT_EQ(folded.model.impl().proto.graph().initializer_size(), 1);
}

TEST(Fold, WhatABranchUsesStays) {
  TestModel made;
  made.input("x", {"1"}, TensorProto::BOOL).output("y").floats("w", {2}, {1, 2}).floats("v", {2}, {3, 4});
  auto& choice = made.node("If", {"x"}, {"y"});
  for (const auto& [branch, name] : {std::pair{"then_branch", "w"}, std::pair{"else_branch", "v"}}) {
    auto* one = choice.add_attribute();
    one->set_name(branch), one->set_type(onnx::AttributeProto::GRAPH);
    *one->mutable_g()->add_node() = make_node("Identity", {name}, {std::string(name) + "_out"});
    one->mutable_g()->add_output()->set_name(std::string(name) + "_out");
  }
  const Applied folded = applied(made.model(), {"fold", {}});
  EXPECT_NE(constant_in(folded.model, "w"), nullptr);
  EXPECT_NE(constant_in(folded.model, "v"), nullptr);
}

TEST(Fold, AnOutputKeepsItsNode) {
  TestModel made;
  made.input("x", {"n"}).output("y").output("z").floats("w", {1}, {1});
  made.node("Identity", {"w"}, {"z"});
  made.node("Identity", {"x"}, {"y"});
  EXPECT_EQ(kinds(applied(made.model(), {"fold", {}}).model), "Identity Identity");
}

TEST(Int8Dynamic, AProduct) {
  const Applied small = applied(layer().model(), {"int8-dynamic", {}});
  EXPECT_EQ(kinds(small.model), "DynamicQuantizeLinear MatMulInteger Cast Mul Mul");
  EXPECT_EQ(small.changed, 1);
  EXPECT_EQ(small.done, std::vector<std::string>{"y_node"});
  const auto numbers = values<std::int8_t>(*constant_in(small.model, "w_int8"));
  const auto scale = values<float>(*constant_in(small.model, "w_int8_scale"));
  const auto real = TestModel::pattern(64 * 80);
  ASSERT_EQ(scale.size(), 80u);
  for (std::size_t i = 0; i < real.size(); ++i) {
    const float step = scale[i % 80];
    EXPECT_NEAR(static_cast<float>(numbers[i]) * step, real[i], step * 0.5001f) << i;
  }
  for (const float number : column_of(std::vector<float>(numbers.begin(), numbers.end()), 80, 3)) EXPECT_LE(std::abs(number), 127);
  EXPECT_EQ(constant_in(small.model, "w"), nullptr);
}

TEST(Int8Dynamic, ProductsOfOneActivationShareItsRange) {
  TestModel made;
  made.input("x", {"n", "64"}).output("q").output("k").floats("w", {64, 64}).floats("v", {64, 64});
  made.node("MatMul", {"x", "w"}, {"q"});
  made.node("MatMul", {"x", "v"}, {"k"});
  const std::string all = kinds(applied(made.model(), {"int8-dynamic", {}}).model);
  EXPECT_EQ(all.find("DynamicQuantizeLinear"), all.rfind("DynamicQuantizeLinear"));
}

TEST(Int8Dynamic, AGemmInAllItsForms) {
  TestModel made;
  made.input("x", {"n", "64"}).output("y").floats("w", {80, 64}).floats("b", {80});
  auto& gemm = made.node("Gemm", {"x", "w", "b"}, {"y"});
  set_int(gemm, "transB", 1), set_float(gemm, "alpha", 2), set_float(gemm, "beta", 0.5f);
  const Applied small = applied(made.model(), {"int8-dynamic", {}});
  EXPECT_EQ(kinds(small.model), "DynamicQuantizeLinear MatMulInteger Cast Mul Mul Add");
  const auto* numbers = constant_in(small.model, "w_int8");
  ASSERT_NE(numbers, nullptr);
  EXPECT_EQ(shape_of(*numbers), (Shape{64, 80}));
  const auto scale = values<float>(*constant_in(small.model, small.model.impl().proto.graph().node(3).input(1)));
  const auto real = TestModel::pattern(80 * 64);
  EXPECT_NEAR(static_cast<float>(values<std::int8_t>(*numbers)[5 * 80 + 7]) * scale[7], 2 * real[7 * 64 + 5], scale[7] * 0.51f);
  const auto bias = values<float>(*constant_in(small.model, small.model.impl().proto.graph().node(5).input(1)));
  EXPECT_EQ(bias[1], TestModel::pattern(80)[1] * 0.5f);
}

TEST(Int8Dynamic, ATableAndWhatIsLeft) {
  TestModel made;
  made.input("i", {"n"}, TensorProto::INT64)
      .input("x", {"n", "4"})
      .output("e")
      .output("y")
      .output("z")
      .floats("table", {1000, 8})
      .floats("w", {4, 4});
  made.node("Gather", {"table", "i"}, {"e"});
  made.node("MatMul", {"x", "w"}, {"y"});
  made.node("MatMul", {"x", "x"}, {"z"});
  const Applied small = applied(made.model(), {"int8-dynamic", {}});
  EXPECT_EQ(kinds(small.model), "Gather Gather Cast Mul MatMul MatMul");
  EXPECT_EQ(shape_of(*constant_in(small.model, "table_int8_scale")), (Shape{1000, 1}));
  ASSERT_EQ(small.left.size(), 2u);
  EXPECT_EQ(small.left[0].node, "y_node");
  EXPECT_NE(small.left[0].why.find("16 values, fewer than the 4,096"), std::string::npos);
  EXPECT_NE(small.left[1].why.find("both of its sides are computed"), std::string::npos);
}

TestModel fused(std::int64_t columns = 192, const std::string& added = {}) {
  TestModel made;
  made.input("x", {"n", "s", "64"}).input("mask", {"n", "s"}, TensorProto::INT32).output("y");
  made.floats("w", {64, columns}).floats("b", {columns});
  auto& node = made.node("Attention", {"x", "w", "b", "mask", "", added}, {"y"});
  node.set_domain("com.microsoft"), set_int(node, "num_heads", 8), set_float(node, "mask_filter_value", -1000);
  return made;
}

TEST(Int8Dynamic, AttentionThatHoldsItsProducts) {
  const Applied small = applied(fused().model(), {"int8-dynamic", {}});
  EXPECT_EQ(kinds(small.model), "DynamicQuantizeLinear QAttention");
  const auto& node = small.model.impl().proto.graph().node(1);
  EXPECT_EQ(node.domain(), "com.microsoft");
  EXPECT_EQ(std::vector<std::string>(node.input().begin(), node.input().end()),
            (std::vector<std::string>{"x_uint8", "w_int8", "b", "x_uint8_scale", "w_int8_scale", "mask", "x_uint8_zero"}));
  EXPECT_EQ(constant_in(small.model, "w_int8_scale")->dims(0), 192);
  EXPECT_EQ(int_of(node, "num_heads", 0), 8);
  EXPECT_EQ(float_of(node, "mask_filter_value", 0), -1000);
  EXPECT_EQ(constant_in(small.model, "w"), nullptr);
}

TEST(Int8Dynamic, AttentionThatTheEngineHasNotInEightBits) {
  const auto why = [](TestModel& made) {
    const Applied left = applied(made.model(), {"int8-dynamic", {}});
    EXPECT_EQ(kinds(left.model), "Attention");
    return left.left.at(0).why;
  };
  TestModel adds = fused(192, "mask"), uneven = fused(200), turns = fused(), apart = fused();
  EXPECT_NE(why(adds).find("adds 'mask' to its scores"), std::string::npos);
  EXPECT_NE(why(uneven).find("200 columns"), std::string::npos);
  set_int(*turns.proto().mutable_graph()->mutable_node(0), "do_rotary", 1);
  EXPECT_NE(why(turns).find("rotary"), std::string::npos);
  auto* sizes = apart.proto().mutable_graph()->mutable_node(0)->add_attribute();
  sizes->set_name("qkv_hidden_sizes"), sizes->set_type(onnx::AttributeProto::INTS);
  for (const int size : {72, 72, 48}) sizes->add_ints(size);
  EXPECT_NE(why(apart).find("different widths"), std::string::npos);
  // Of MultiHeadAttention the products are nodes before it: there is nothing to leave.
  TestModel several;
  several.input("x", {"n", "s", "64"}).output("y").node("MultiHeadAttention", {"x", "x", "x"}, {"y"}).set_domain("com.microsoft");
  EXPECT_TRUE(applied(several.model(), {"int8-dynamic", {}}).left.empty());
}

TEST(Int8Dynamic, OldModelsAndThoseToKeep) {
  TestModel old(9);
  old.input("x", {"n", "64"}).output("y").floats("w", {64, 64}).node("MatMul", {"x", "w"}, {"y"});
  const auto made = apply(old.model(), {"int8-dynamic", {}});
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message.find("needs opset 11, the model has 9"), std::string::npos);
  const Applied kept = applied(layer().model(), {"int8-dynamic", {}}, {"y_node"});
  EXPECT_EQ(kept.changed, 0);
  EXPECT_EQ(kinds(kept.model), "MatMul");
  EXPECT_EQ(kept.left.front().why, "it is to stay as it is");
}

TEST(Graph, ConstantsOfOldModelsAreNoInputs) {
  TestModel made(11, 3);
  made.input("x", {"n", "64"}).input("w", {"64", "64"}).output("y").floats("w", {64, 64}).node("MatMul", {"x", "w"}, {"y"});
  const Applied small = applied(made.model(), {"int8-dynamic", {}});
  EXPECT_EQ(small.changed, 1);
  EXPECT_EQ(small.model.impl().proto.graph().input_size(), 1);
  // From version 4 on a constant that is an input is one that callers may override.
  TestModel mine(11, 8);
  mine.input("x", {"n", "64"}).input("w", {"64", "64"}).output("y").floats("w", {64, 64}).node("MatMul", {"x", "w"}, {"y"});
  EXPECT_EQ(applied(mine.model(), {"int8-dynamic", {}}).changed, 0);
}

TEST(Weights, Half) {
  TestModel made = layer();
  made.floats("big", {300}, std::vector<float>(300, 1e6f));
  made.output("z").node("Add", {"y", "big"}, {"z"});
  const Applied half = applied(made.model(), {"fp16", {}});
  EXPECT_EQ(kinds(half.model), "Cast MatMul Add");
  EXPECT_EQ(constant_in(half.model, "w_fp16")->raw_data().size(), 64u * 80 * 2);
  EXPECT_EQ(half.model.impl().proto.graph().node(1).input(1), "w");
  ASSERT_EQ(half.left.size(), 1u);
  EXPECT_NE(half.left[0].why.find("65504"), std::string::npos);
  EXPECT_EQ(applied(made.model(), {"bf16", {}}).changed, 2);
}

TEST(Weights, Int8) {
  const Applied small = applied(layer().model(), {"int8-weights", {}});
  EXPECT_EQ(kinds(small.model), "DequantizeLinear MatMul");
  EXPECT_EQ(int_of(small.model.impl().proto.graph().node(0), "axis", -1), 1);
  EXPECT_EQ(constant_in(small.model, "w_int8_scale")->dims(0), 80);
  EXPECT_EQ(kinds(applied(fused().model(), {"int8-weights", {}}).model), "DequantizeLinear Attention");
}

TEST(Weights, Int4BlocksComeBack) {
  const Applied small = applied(layer(100, 48).model(), {"int4-weights", 32});
  EXPECT_EQ(kinds(small.model), "MatMulNBits");
  const auto numbers = values<std::uint8_t>(*constant_in(small.model, "w_int4"));
  const auto scale = values<float>(*constant_in(small.model, "w_int4_scale"));
  ASSERT_EQ(numbers.size(), 48u * 4 * 16);
  ASSERT_EQ(scale.size(), 48u * 4);
  const auto real = TestModel::pattern(100 * 48);
  double error = 0, all = 0;
  for (std::size_t row = 0; row < 100; ++row)
    for (std::size_t column = 0; column < 48; ++column) {
      const std::size_t block = column * 4 + row / 32, byte = block * 16 + row % 32 / 2;
      const int four = row % 2 ? numbers[byte] >> 4 : numbers[byte] & 15;
      const float back = static_cast<float>(four - 8) * scale[block], number = real[row * 48 + column];
      error += (back - number) * (back - number), all += number * number;
    }
  EXPECT_LT(error / all, 0.01);
  EXPECT_FALSE(apply(layer().model(), {"int4-weights", 48}).has_value());
  EXPECT_EQ(small.model.impl().proto.opset_import(1).domain(), "com.microsoft");
}

TEST(Weights, Int4OfAGemm) {
  TestModel made;
  made.input("x", {"n", "64"}).output("y").floats("w", {80, 64}).floats("b", {80});
  auto& gemm = made.node("Gemm", {"x", "w", "b"}, {"y"});
  set_int(gemm, "transB", 1);
  const Applied small = applied(made.model(), {"int4-weights", 32});
  EXPECT_EQ(kinds(small.model), "MatMulNBits Add");
  const auto numbers = values<std::uint8_t>(*constant_in(small.model, "w_turned_int4"));
  const auto scale = values<float>(*constant_in(small.model, "w_turned_int4_scale"));
  ASSERT_EQ(numbers.size(), 80u * 2 * 16);
  const auto real = TestModel::pattern(80 * 64);
  const std::size_t row = 37, column = 11, block = column * 2 + row / 32, byte = block * 16 + row % 32 / 2;
  EXPECT_NEAR(static_cast<float>((numbers[byte] >> 4) - 8) * scale[block], real[column * 64 + row], std::abs(scale[block]) * 0.51f);
  set_float(gemm, "alpha", 2);
  const Applied left = applied(made.model(), {"int4-weights", 32});
  ASSERT_EQ(left.left.size(), 1u);
  EXPECT_NE(left.left[0].why.find("alpha"), std::string::npos);
}

TEST(Prune, TheSmallestBecomeZero) {
  const Applied half = applied(layer().model(), {"prune", 0.5});
  const auto before = TestModel::pattern(64 * 80), after = values<float>(*constant_in(half.model, "w"));
  float largest_gone = 0, least_kept = 1;
  int zeros = 0;
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (after[i] == 0) ++zeros, largest_gone = std::max(largest_gone, std::abs(before[i]));
    else EXPECT_EQ(after[i], before[i]), least_kept = std::min(least_kept, std::abs(before[i]));
  }
  EXPECT_EQ(zeros, 64 * 80 / 2);
  EXPECT_LE(largest_gone, least_kept);
  EXPECT_NE(half.notes.at(0).find("2,560 of 5,120 weights are zero"), std::string::npos);
  EXPECT_EQ(half.model.size(), layer().model().size());
}

TEST(LowRank, AMatrixOfThatRankIsKept) {
  TestModel made;  // the sum of two outer products: rank 2
  const auto u = TestModel::pattern(256), v = TestModel::pattern(192);
  std::vector<float> numbers;
  for (std::size_t r = 0; r < 128; ++r)
    for (std::size_t c = 0; c < 96; ++c) numbers.push_back(u[r] * v[c] + u[128 + r] * v[96 + c]);
  made.input("x", {"n", "128"}).output("y").floats("w", {128, 96}, numbers).node("MatMul", {"x", "w"}, {"y"});
  const Applied thin = applied(made.model(), {"low-rank", 0.04});
  EXPECT_EQ(kinds(thin.model), "MatMul MatMul");
  const auto *left = constant_in(thin.model, "w_left"), *right = constant_in(thin.model, "w_right");
  ASSERT_EQ(shape_of(*left), (Shape{128, 2}));
  const auto a = values<float>(*left), b = values<float>(*right);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    EXPECT_NEAR(a[i / 96 * 2] * b[i % 96] + a[i / 96 * 2 + 1] * b[96 + i % 96], numbers[i], 1e-3);
  EXPECT_NE(thin.notes.at(0).find("100.0 %"), std::string::npos) << thin.notes.at(0);
}

}  // namespace
}  // namespace mayfly::optimize
