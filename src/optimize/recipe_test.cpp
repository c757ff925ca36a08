#include "optimize/recipe.h"

#include <gtest/gtest.h>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

TEST(Recipe, Words) {
  const auto steps = parse_recipe("fold, int8-dynamic,prune:0.5,shape:batch=4,int4-weights");
  ASSERT_TRUE(steps.has_value()) << steps.error().message;
  EXPECT_EQ(*steps, (std::vector<Step>{{"fold", {}}, {"int8-dynamic", {}}, {"prune", 0.5}, {"shape:batch", 4}, {"int4-weights", 32}}));
  EXPECT_EQ(to_string(steps->at(2)), "prune:0.5");
  EXPECT_EQ(to_string(steps->at(3)), "shape:batch=4");
}

TEST(Recipe, WhatIsWrongIsNamed) {
  const std::pair<std::string, std::string> cases[] = {{"fold,int8-dynamc", "did you mean 'int8-dynamic'"},
                                                       {"fold,int8-dynamc", "word 2"},
                                                       {"prune", "needs an amount"},
                                                       {"prune:2", "out of range"},
                                                       {"prune:x", "no number"},
                                                       {"prune:nan", "no number"},
                                                       {"fold:1", "takes no amount"},
                                                       {"", "word 1 of the recipe is empty"},
                                                       {"fold,,fold", "word 2 of the recipe is empty"},
                                                       {"shape:batch", "needs a size"},
                                                       {"shape:batch=0.5", "out of range"},
                                                       {"shape:batch=1.5", "no whole number"},
                                                       {"compile", "there are fold"}};
  for (const auto& [text, why] : cases) {
    const auto steps = parse_recipe(text);
    ASSERT_FALSE(steps.has_value()) << text;
    EXPECT_EQ(steps.error().code, Code::invalid_argument);
    EXPECT_NE(steps.error().message.find(why), std::string::npos) << text << ": " << steps.error().message;
  }
  std::string many = "fold";
  for (int i = 0; i < 16; ++i) many += ",fold";
  EXPECT_FALSE(parse_recipe(many).has_value());
}

TEST(Recipe, EachStepIsThere) {
  TestModel made;
  made.input("x", {"n", "8"}).output("y").floats("w", {8, 4}).node("MatMul", {"x", "w"}, {"y"});
  for (const StepInfo& info : all_steps()) {
    Step step{info.name, {}};
    if (info.name == "shape:NAME") step.name = "shape:n";
    if (!info.amount.empty()) step.amount = info.least;
    if (info.name.starts_with("int8-static") || info.name == "int8-weights:fit") continue;  // they take what was measured
    EXPECT_TRUE(apply(made.model(), step).has_value()) << info.name;
  }
  EXPECT_FALSE(apply(made.model(), {"prune", 7}).has_value());
  EXPECT_FALSE(apply(made.model(), {"nothing", {}}).has_value());
  EXPECT_NE(apply(made.model(), {"int8-static", {}}).error().message.find("takes ranges"), std::string::npos);
  EXPECT_EQ(parse_recipe("int8-static:min-max")->at(0).name, "int8-static");
  EXPECT_EQ(parse_recipe("int8-static:entropy,fold")->at(0).name, "int8-static:entropy");
  EXPECT_EQ(parse_recipe("int8-weights:fit, fp16")->at(0).name, "int8-weights:fit");
  EXPECT_NE(parse_recipe("int8-weights:5").error().message.find("int8-weights:fit"), std::string::npos);
  EXPECT_NE(parse_recipe("int8-static:entropie").error().message.find("'int8-static:entropy'"), std::string::npos);
}

TEST(Recipe, AStepLeavesItsInputAlone) {
  TestModel made;
  made.input("x", {"n", "64"}).output("y").floats("w", {64, 64}).node("MatMul", {"x", "w"}, {"y"});
  const Model model = made.model();
  const std::string before = model.impl().proto.SerializeAsString();
  EXPECT_EQ(applied(model, {"prune", 0.5}).changed, 1);
  EXPECT_EQ(applied(model, {"int8-dynamic", {}}).changed, 1);
  EXPECT_EQ(model.impl().proto.SerializeAsString(), before);
}

TEST(Shape, ADimensionIsFixed) {
  TestModel made;
  made.input("x", {"batch", "seq"}).output("y", {"batch", "seq"}).node("Relu", {"x"}, {"y"});
  const Applied fixed = applied(made.model(), {"shape:batch", 4});
  const auto& graph = fixed.model.impl().proto.graph();
  EXPECT_EQ(graph.input(0).type().tensor_type().shape().dim(0).dim_value(), 4);
  EXPECT_EQ(graph.input(0).type().tensor_type().shape().dim(1).dim_param(), "seq");
  EXPECT_EQ(graph.output(0).type().tensor_type().shape().dim(0).dim_value(), 4);
  const auto wrong = apply(made.model(), {"shape:rows", 4});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().message.find("there are 'batch', 'seq'"), std::string::npos) << wrong.error().message;
}

}  // namespace
}  // namespace mayfly::optimize
