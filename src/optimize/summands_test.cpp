#include "optimize/summands.h"

#include <gtest/gtest.h>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

using Names = std::vector<std::string>;

// x + f(x) [+ bias], normalised: what an encoder's layer ends with.
struct Layer : TestModel {
  explicit Layer(const std::vector<std::string>& shape = {"batch", "seq", "4"}, bool bias = false) {
    input("x", shape).output("y", shape).floats("w", {4, 4}).floats("b", {4}).floats("scale", {4});
    node("Relu", {"x"}, {"r"});
    node("MatMul", {"r", "w"}, {"m"});
    if (bias) node("Add", {"m", "b"}, {"f"});
    node("Add", {bias ? "f" : "m", "r"}, {"sum"});
  }
  Layer& normalised(const std::string& sum = "sum", const std::string& into = "y") {
    node("LayerNormalization", {sum, "scale"}, {into});
    return *this;
  }
};

std::string stated(const Model& model, const std::string& name) {
  std::string out;
  for (const auto& value : model.impl().proto.graph().value_info()) {
    if (value.name() != name) continue;
    for (const auto& dim : value.type().tensor_type().shape().dim())
      out += (out.empty() ? "" : " ") + (dim.has_dim_value() ? std::to_string(dim.dim_value()) : "'" + dim.dim_param() + "'");
  }
  return out;
}

TEST(Summands, AreThoseOfASumThatOnlyANormalisationTakes) {
  EXPECT_EQ(summands_to_observe(Layer().normalised().model()), (Names{"m", "r"}));
  EXPECT_EQ(summands_to_observe(Layer({"batch", "seq", "4"}, true).normalised().model()), (Names{"m", "f", "r"})) << "and of its bias";
  Layer decomposed;
  decomposed.node("ReduceMean", {"sum"}, {"mean"});
  decomposed.node("Sub", {"sum", "mean"}, {"y"});
  EXPECT_EQ(summands_to_observe(decomposed.model()), (Names{"m", "r"}));

  Layer taken;
  taken.normalised().output("also");
  taken.node("Relu", {"sum"}, {"also"});
  EXPECT_EQ(summands_to_observe(taken.model()), Names{}) << "the sum itself is needed";
  Layer plain;
  plain.node("Sub", {"sum", "r"}, {"y"});
  EXPECT_EQ(summands_to_observe(plain.model()), Names{});
}

TEST(Summands, ThatAreStatedOrGivenAreNotLookedAt) {
  Layer made;
  made.normalised();
  auto& value = *made.proto().mutable_graph()->add_value_info();
  value.set_name("m");
  auto& shape = *value.mutable_type()->mutable_tensor_type()->mutable_shape();
  shape.add_dim()->set_dim_param("batch");
  auto& second = *shape.add_dim();
  shape.add_dim()->set_dim_value(4);
  EXPECT_EQ(summands_to_observe(made.model()), (Names{"m", "r"})) << "a dimension without a name or a size is not stated";
  second.set_dim_param("seq");
  EXPECT_EQ(summands_to_observe(made.model()), Names{"r"});
}

TEST(Summands, OfModelsOfWhichFewRunsTellNothingAreNone) {
  EXPECT_EQ(summands_to_observe(Layer({"batch", "", "4"}).normalised().model()), (Names{"m", "r"})) << "one without a name";
  EXPECT_EQ(summands_to_observe(Layer({"n", "n", "4"}).normalised().model()), Names{}) << "the rows by another name";
  Layer two;
  two.normalised().input("mask", {"batch", "heads"});
  EXPECT_EQ(summands_to_observe(two.model()), Names{}) << "two free dimensions that may differ";
  Layer rows;
  rows.normalised().input("mask", {"others", "seq"});
  EXPECT_EQ(summands_to_observe(rows.model()), Names{});
  Layer depends;
  depends.normalised().output("at", {}, onnx::TensorProto::INT64);
  depends.node("NonZero", {"r"}, {"at"});
  EXPECT_EQ(summands_to_observe(depends.model()), Names{});
  Layer branches;
  branches.normalised().output("z").input("c", {}, onnx::TensorProto::BOOL);
  auto& chosen = branches.node("If", {"c"}, {"z"});
  for (const char* name : {"then_branch", "else_branch"}) {
    auto& branch = *chosen.add_attribute();
    branch.set_name(name);
    branch.set_type(onnx::AttributeProto::GRAPH);
    *branch.mutable_g()->add_node() = make_node("Identity", {"r"}, {"out"});
    branch.mutable_g()->add_output()->set_name("out");
  }
  EXPECT_EQ(summands_to_observe(branches.model()), Names{});
}

TEST(Summands, AreStatedAsTheFreeDimensionsThatTheyFollow) {
  Model model = Layer({"batch", "seq", "4"}, true).normalised().model();
  const int count = state_shapes(model, {{2, 8, {{"m", {2, 8, 4}}, {"r", {2, 8, 4}}, {"f", {2, 16, 4}}, {"y", {2, 8, 4}}}},
                                         {3, 8, {{"m", {3, 8, 4}}, {"r", {3, 8, 4}}, {"f", {3, 16, 4}}, {"y", {3, 8, 4}}}},
                                         {2, 9, {{"m", {2, 9, 4}}, {"r", {2, 16, 4}}, {"f", {2, 16, 4}}, {"y", {2, 9, 4}}}}});
  EXPECT_EQ(count, 2) << "an output says its shape itself";
  EXPECT_EQ(stated(model, "m"), "'batch' 'seq' 4");
  EXPECT_EQ(stated(model, "r"), "") << "rounded up to 8";
  EXPECT_EQ(stated(model, "f"), "'batch' 16 4");
}

TEST(Summands, OfDimensionsWithoutNamesGetOursAndOthersNothing) {
  Model model = Layer({"", "", "4"}).normalised().model();
  ASSERT_EQ(summands_to_observe(model).size(), 2U);
  EXPECT_EQ(state_shapes(model, {{2, 8, {{"m", {2, 8, 4}}, {"r", {16, 4}}, {"none", {2, 8, 4}}}},
                                 {3, 8, {{"m", {3, 8, 4}}, {"r", {24, 4}}, {"none", {3, 8, 4}}}},
                                 {2, 9, {{"m", {2, 9, 4}}, {"r", {18, 4}}, {"none", {2, 9, 4}}}}}),
            1);
  EXPECT_EQ(stated(model, "m"), "'rows' 'size' 4");
}

TEST(Summands, AreNotStatedFromFewerRunsThanThereAreFreeDimensions) {
  Model model = Layer().normalised().model();
  EXPECT_EQ(state_shapes(model, {{2, 8, {{"m", {2, 8, 4}}}}, {3, 8, {{"m", {3, 8, 4}}}}}), 0) << "8 would be taken for fixed";
  EXPECT_EQ(state_shapes(model, {}), 0);
  Model fixed = Layer({"1", "8", "4"}).normalised().model();
  EXPECT_EQ(state_shapes(fixed, {{2, 8, {{"m", {1, 8, 4}}}}}), 1);
  EXPECT_EQ(stated(fixed, "m"), "1 8 4");
}

}  // namespace
}  // namespace mayfly::optimize
