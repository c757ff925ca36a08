#include <gtest/gtest.h>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

using onnx::TensorProto;

// x(4) -> 16 neurons -> 3, where neuron i has weights of size i: the first ones are the least.
TestModel feed_forward(const std::string& activation) {
  TestModel made;
  std::vector<float> in, bias, out;
  for (int r = 0; r < 4; ++r)
    for (int i = 0; i < 16; ++i) in.push_back(static_cast<float>(i));
  for (int i = 0; i < 16; ++i) bias.push_back(static_cast<float>(100 + i));
  for (int i = 0; i < 16; ++i)
    for (int c = 0; c < 3; ++c) out.push_back(1);
  made.input("x", {"n", "4"})
      .output("y")
      .floats("in", {4, 16}, in)
      .floats("bias", {16}, bias)
      .floats("out", {16, 3}, out)
      .floats("one", {}, {1});
  made.node("MatMul", {"x", "in"}, {"h"});
  made.node("Add", {"h", "bias"}, {"b"});
  if (activation == "gelu") {  // as exporters write it
    made.node("Erf", {"b"}, {"e"});
    made.node("Add", {"e", "one"}, {"f"});
    made.node("Mul", {"b", "f"}, {"a"});
  } else {
    made.node(activation, {"b"}, {"a"});
  }
  made.node("MatMul", {"a", "out"}, {"y"});
  return made;
}

TEST(PruneNeurons, TheLeastLeaveWithAllThatIsTheirs) {
  for (const std::string activation : {"Relu", "gelu"}) {
    const Applied cut = applied(feed_forward(activation).model(), {"prune-neurons", 0.25});
    ASSERT_EQ(cut.changed, 1) << (cut.left.empty() ? "" : cut.left[0].why);
    EXPECT_EQ(shape_of(*constant_in(cut.model, "in")), (Shape{4, 12}));
    EXPECT_EQ(shape_of(*constant_in(cut.model, "out")), (Shape{12, 3}));
    EXPECT_EQ(values<float>(*constant_in(cut.model, "bias")).front(), 104);
    EXPECT_EQ(values<float>(*constant_in(cut.model, "in")).front(), 4);
    EXPECT_EQ(constant_in(cut.model, "one") != nullptr, activation == "gelu");
    EXPECT_NE(cut.notes.at(0).find("4 neurons are gone"), std::string::npos);
  }
}

TEST(PruneNeurons, AGateIsCutWithWhatItGates) {
  TestModel made;
  made.input("x", {"n", "4"}).output("y").floats("gate", {4, 16}).floats("up", {4, 16}).floats("down", {16, 4});
  made.node("MatMul", {"x", "gate"}, {"g"});
  made.node("Sigmoid", {"g"}, {"s"});
  made.node("MatMul", {"x", "up"}, {"u"});
  made.node("Mul", {"s", "u"}, {"m"});
  made.node("MatMul", {"m", "down"}, {"y"});
  const Applied cut = applied(made.model(), {"prune-neurons", 0.5});
  EXPECT_EQ(shape_of(*constant_in(cut.model, "gate")), (Shape{4, 8}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "up")), (Shape{4, 8}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "down")), (Shape{8, 4}));
}

TEST(PruneNeurons, GemmsInBothLayouts) {
  TestModel made;
  made.input("x", {"n", "4"}).output("y").floats("in", {16, 4}).floats("bias", {16}).floats("out", {3, 16}).floats("last", {3});
  set_int(made.node("Gemm", {"x", "in", "bias"}, {"h"}), "transB", 1);
  made.node("Tanh", {"h"}, {"a"});
  set_int(made.node("Gemm", {"a", "out", "last"}, {"y"}), "transB", 1);
  const Applied cut = applied(made.model(), {"prune-neurons", 0.5});
  EXPECT_EQ(shape_of(*constant_in(cut.model, "in")), (Shape{8, 4}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "bias")), (Shape{8}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "out")), (Shape{3, 8}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "last")), (Shape{3}));
}

TEST(PruneNeurons, WhatCannotBeCutSaysWhy) {
  TestModel norm = feed_forward("Softmax");
  const Applied softmax = applied(norm.model(), {"prune-neurons", 0.5});
  EXPECT_EQ(softmax.changed, 0);
  EXPECT_NE(softmax.left.at(0).why.find("(Softmax) works on its units together"), std::string::npos) << softmax.left.at(0).why;
  EXPECT_NE(softmax.left.at(1).why.find("output of the model"), std::string::npos);
  TestModel seen = feed_forward("Relu");
  seen.output("a");
  EXPECT_NE(applied(seen.model(), {"prune-neurons", 0.5}).left.at(0).why.find("output of the model"), std::string::npos);
  TestModel shared = feed_forward("Relu");
  shared.output("z").node("Mul", {"in", "in"}, {"z"});
  EXPECT_NE(applied(shared.model(), {"prune-neurons", 0.5}).left.at(0).why.find("used elsewhere"), std::string::npos);
  EXPECT_EQ(applied(feed_forward("Relu").model(), {"prune-neurons", 0.5}, {"a_node"}).changed, 0);
}

TestModel convolutions() {
  TestModel made;
  made.input("x", {"n", "3", "8", "8"})
      .output("y")
      .floats("c1", {16, 3, 3, 3})
      .floats("b1", {16})
      .floats("c2", {4, 16, 1, 1})
      .floats("dw", {16, 1, 3, 3});
  for (const char* name : {"scale", "shift", "mean", "var"}) made.floats(name, {16}, std::vector<float>(16, 1));
  made.node("Conv", {"x", "c1", "b1"}, {"a"});
  made.node("BatchNormalization", {"a", "scale", "shift", "mean", "var"}, {"n1"});
  made.node("Relu", {"n1"}, {"r"});
  set_int(made.node("Conv", {"r", "dw"}, {"d"}), "group", 16);
  made.node("MaxPool", {"d"}, {"p"});
  made.node("Conv", {"p", "c2"}, {"y"});
  return made;
}

TEST(PruneChannels, AChainWithNormalisationAndADepthwise) {
  const Applied cut = applied(convolutions().model(), {"prune-channels", 0.25});
  ASSERT_EQ(cut.changed, 1) << cut.left.at(0).why;
  EXPECT_EQ(shape_of(*constant_in(cut.model, "c1")), (Shape{12, 3, 3, 3}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "b1")), (Shape{12}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "var")), (Shape{12}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "dw")), (Shape{12, 1, 3, 3}));
  EXPECT_EQ(shape_of(*constant_in(cut.model, "c2")), (Shape{4, 12, 1, 1}));
  EXPECT_EQ(int_of(cut.model.impl().proto.graph().node(3), "group", 0), 12);
  EXPECT_EQ(cut.left.size(), 1u);  // the last one makes the output
}

}  // namespace
}  // namespace mayfly::optimize
