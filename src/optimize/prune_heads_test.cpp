#include <gtest/gtest.h>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

constexpr std::int64_t kWidth = 8, kHeads = 4;  // two columns for each head

// A matrix [8, columns] or [8, 8] with the weights of head h of size 1 + h in its columns, or in its rows.
std::vector<float> by_head(bool rows, std::int64_t columns = kWidth) {
  std::vector<float> numbers;
  for (std::int64_t r = 0; r < kWidth; ++r)
    for (std::int64_t c = 0; c < columns; ++c) numbers.push_back(static_cast<float>(1 + (rows ? r : c % kWidth) / 2));
  return numbers;
}

void scores_and_mixture(TestModel& made, const std::string& mask = "mask") {
  made.node("MatMul", {"q", "k"}, {"product"});
  made.node("Div", {"product", "root"}, {"scaled"});
  made.node("Add", {"scaled", mask}, {"masked"});
  made.node("Softmax", {"masked"}, {"shares"});
  made.node("MatMul", {"shares", "v"}, {"mixed"});
}

void turn(TestModel& made, const std::string& from, const std::string& to, const std::vector<std::int64_t>& order) {
  auto* perm = made.node("Transpose", {from}, {to}).add_attribute();
  perm->set_name("perm"), perm->set_type(onnx::AttributeProto::INTS);
  for (const std::int64_t axis : order) perm->add_ints(axis);
}

void output_layer(TestModel& made) {
  turn(made, "mixed", "turned", {0, 2, 1, 3});
  made.node("Reshape", {"turned", "joined"}, {"flat"});
  made.node("MatMul", {"flat", "wo"}, {"y"});
}

TestModel attention(const std::string& mask_channels = "1") {
  TestModel made;
  made.input("x", {"n", "s", "8"}).input("mask", {"n", mask_channels, "1", "s"}).output("y").floats("root", {}, {1.4f});
  made.wholes("apart", {4}, {0, 0, kHeads, 2}).wholes("joined", {3}, {0, 0, kWidth}).floats("wo", {8, 8}, by_head(true));
  for (const std::string part : {"q", "k", "v"}) {
    made.floats("w" + part, {8, 8}, by_head(false)).floats("b" + part, {8}, {0, 0, 1, 1, 2, 2, 3, 3});
    made.node("MatMul", {"x", "w" + part}, {"m" + part});
    made.node("Add", {"b" + part, "m" + part}, {"a" + part});
    made.node("Reshape", {"a" + part, "apart"}, {"r" + part});
    turn(made, "r" + part, part, part == "k" ? std::vector<std::int64_t>{0, 2, 3, 1} : std::vector<std::int64_t>{0, 2, 1, 3});
  }
  scores_and_mixture(made);
  output_layer(made);
  return made;
}

const onnx::NodeProto& node_of(const Model& model, const std::string& output) {
  for (const auto& node : model.impl().proto.graph().node())
    for (const auto& one : node.output())
      if (one == output) return node;
  ASSERT(false, output.c_str());
}

std::vector<std::int64_t> shape_constant(const Model& model, const std::string& reshape) {
  return values<std::int64_t>(*constant_in(model, node_of(model, reshape).input(1)));
}

TEST(PruneHeads, TheLeastLeaveWithAllThatIsTheirs) {
  const Applied cut = applied(attention().model(), {"prune-heads", 0.25});
  ASSERT_EQ(cut.changed, 1) << cut.left.at(0).why;
  EXPECT_EQ(cut.done, std::vector<std::string>{"shares_node"});
  for (const std::string part : {"q", "k", "v"}) {
    EXPECT_EQ(shape_of(*constant_in(cut.model, "w" + part)), (Shape{8, 6}));
    EXPECT_EQ(values<float>(*constant_in(cut.model, "b" + part)), (std::vector<float>{1, 1, 2, 2, 3, 3}));
    EXPECT_EQ(shape_constant(cut.model, "r" + part), (Shape{0, 0, 3, 2}));
  }
  EXPECT_EQ(shape_of(*constant_in(cut.model, "wo")), (Shape{6, 8}));
  EXPECT_EQ(values<float>(*constant_in(cut.model, "wo")).front(), 2);  // the first head was the least
  EXPECT_EQ(shape_constant(cut.model, "flat"), (Shape{0, 0, 6}));
  EXPECT_NE(cut.notes.at(0).find("1 of 4 heads are gone"), std::string::npos) << cut.notes.at(0);
}

TEST(PruneHeads, TheLeastIsThatOfValueTimesOutput) {
  TestModel made = attention();
  auto* wv = made.proto().mutable_graph()->mutable_initializer();
  for (auto& tensor : *wv) {
    if (tensor.name() != "wv" && tensor.name() != "wq") continue;
    std::vector<float> numbers = values<float>(tensor);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (i % 8 / 2 == (tensor.name() == "wv" ? 2U : 3U)) numbers[i] = 0;  // value's third head; query's fourth, which does not matter
    set_values<float>(tensor, numbers);
  }
  const Applied cut = applied(made.model(), {"prune-heads", 0.25});
  EXPECT_EQ(values<float>(*constant_in(cut.model, "bv")), (std::vector<float>{0, 0, 1, 1, 3, 3}));
}

// One product makes query, key and value, and Split takes them apart.
TEST(PruneHeads, OneProductForQueryKeyAndValue) {
  TestModel made;
  made.input("x", {"n", "s", "8"}).input("mask", {"n", "1", "1", "s"}).output("y").floats("root", {}, {1.4f});
  made.wholes("apart", {4}, {0, 0, kHeads, 2}).wholes("joined", {3}, {0, 0, -1}).floats("wo", {8, 8}, by_head(true));
  made.floats("w", {8, 24}, by_head(false, 24)).wholes("sizes", {3}, {8, 8, 8});
  made.node("MatMul", {"x", "w"}, {"m"});
  set_int(made.node("Split", {"m", "sizes"}, {"mq", "mk", "mv"}), "axis", 2);
  for (const std::string part : {"q", "k", "v"}) {
    made.node("Reshape", {"m" + part, "apart"}, {"r" + part});
    turn(made, "r" + part, part, part == "k" ? std::vector<std::int64_t>{0, 2, 3, 1} : std::vector<std::int64_t>{0, 2, 1, 3});
  }
  scores_and_mixture(made);
  output_layer(made);
  const Applied cut = applied(made.model(), {"prune-heads", 0.5});
  ASSERT_EQ(cut.changed, 1) << cut.left.at(0).why;
  EXPECT_EQ(shape_of(*constant_in(cut.model, "w")), (Shape{8, 12}));
  const std::vector<float> row = values<float>(*constant_in(cut.model, "w"));
  EXPECT_EQ(std::vector<float>(row.begin(), row.begin() + 12), (std::vector<float>{3, 3, 4, 4, 3, 3, 4, 4, 3, 3, 4, 4}));
  EXPECT_EQ(shape_constant(cut.model, "mq"), (Shape{4, 4, 4}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "wo")), (Shape{4, 8}));
  EXPECT_EQ(shape_constant(cut.model, "flat"), (Shape{0, 0, -1}));
}

// As vision transformers are exported: a dimension of 3 in front, from which each is picked.
TEST(PruneHeads, PickedFromADimensionOfThree) {
  TestModel made;
  made.input("x", {"n", "s", "8"}).input("mask", {"n", "1", "1", "s"}).output("y").floats("root", {}, {1.4f});
  made.wholes("apart", {5}, {0, 0, 3, kHeads, 2}).wholes("joined", {3}, {0, 0, kWidth}).floats("wo", {8, 8}, by_head(true));
  made.floats("w", {8, 24}, by_head(false, 24));
  made.node("MatMul", {"x", "w"}, {"m"});
  made.node("Reshape", {"m", "apart"}, {"five"});
  turn(made, "five", "three", {2, 0, 3, 1, 4});
  const std::vector<std::string> parts{"q", "g", "v"};
  for (std::size_t i = 0; i < 3; ++i) {
    made.wholes("i" + parts[i], {}, {static_cast<std::int64_t>(i)});
    set_int(made.node("Gather", {"three", "i" + parts[i]}, {parts[i]}), "axis", 0);
  }
  turn(made, "g", "k", {0, 1, 3, 2});
  scores_and_mixture(made);
  output_layer(made);
  const Applied cut = applied(made.model(), {"prune-heads", 0.25});
  ASSERT_EQ(cut.changed, 1) << cut.left.at(0).why;
  EXPECT_EQ(shape_of(*constant_in(cut.model, "w")), (Shape{8, 18}));
  EXPECT_EQ(shape_constant(cut.model, "five"), (Shape{0, 0, 3, 3, 2}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "wo")), (Shape{6, 8}));
}

TEST(PruneHeads, TheFusedNode) {
  TestModel made;
  made.input("x", {"n", "s", "8"}).output("y");
  made.floats("w", {8, 24}, by_head(false, 24)).floats("b", {24}).floats("wo", {8, 8}, by_head(true));
  auto& fused = made.node("Attention", {"x", "w", "b"}, {"a"});
  fused.set_domain("com.microsoft");
  set_int(fused, "num_heads", kHeads);
  made.node("MatMul", {"a", "wo"}, {"y"});
  const Applied cut = applied(made.model(), {"prune-heads", 0.25});
  ASSERT_EQ(cut.changed, 1) << cut.left.at(0).why;
  EXPECT_EQ(shape_of(*constant_in(cut.model, "w")), (Shape{8, 18}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "b")), (Shape{18}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "wo")), (Shape{6, 8}));
  EXPECT_EQ(int_of(node_of(cut.model, "a"), "num_heads", 0), 3);
}

TEST(PruneHeads, WhatCannotBeCutSaysWhereAndWhy) {
  const auto why = [](TestModel& made, const std::set<std::string>& keep = {}) {
    const Applied cut = applied(made.model(), {"prune-heads", 0.25}, keep);
    EXPECT_EQ(cut.changed, 0);
    EXPECT_EQ(shape_of(*constant_in(cut.model, "wo")), (Shape{8, 8}));
    EXPECT_EQ(cut.left.at(0).node, "shares_node");
    return cut.left.at(0).why;
  };
  TestModel other = attention("4");
  EXPECT_NE(why(other).find("'mask', which 'masked_node' (Add) joins, may be another for each head"), std::string::npos) << why(other);
  TestModel seen = attention();
  seen.output("shares");
  EXPECT_NE(why(seen).find("output of the model"), std::string::npos) << why(seen);
  TestModel shared = attention();
  shared.output("z").node("Mul", {"wq", "wq"}, {"z"});
  EXPECT_NE(why(shared).find("'wq' is used elsewhere"), std::string::npos) << why(shared);
  TestModel grouped = attention();
  for (auto& node : *grouped.proto().mutable_graph()->mutable_node())
    if (node.output(0) == "rk") node.set_input(1, "fewer");
  grouped.wholes("fewer", {4}, {0, 0, 2, 4});
  EXPECT_NE(why(grouped).find("heads, where others are"), std::string::npos) << why(grouped);
  TestModel kept = attention();
  EXPECT_EQ(why(kept, {"mq_node"}), "it is to stay as it is");
  EXPECT_NE(applied(attention().model(), {"prune-heads", 0.1}).left.at(0).why.find("less than one"), std::string::npos);
}

TEST(PruneHeads, ASoftmaxThatIsNoAttentionIsLeft) {
  TestModel made;
  made.input("x", {"n", "8"}).output("y").floats("w", {8, 8});
  made.node("MatMul", {"x", "w"}, {"m"});
  made.node("Softmax", {"m"}, {"y"});
  const Applied cut = applied(made.model(), {"prune-heads", 0.5});
  EXPECT_EQ(cut.changed, 0);
  EXPECT_EQ(cut.left.at(0).why, "it is not behind a product of queries and keys");
}

}  // namespace
}  // namespace mayfly::optimize
