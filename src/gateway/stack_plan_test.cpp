#include "gateway/stack_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "gateway/stack_resources.h"

namespace mayfly::gateway {
namespace {

constexpr const char* kTemplate = R"(Parameters: {Memory: {Type: Number, Default: 256}}
Resources:
  Alias:
    Type: AWS::Lambda::Alias
    Properties: {Name: blue, FunctionName: !Ref Fn, FunctionVersion: !GetAtt V.Version}
  V: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Fn}}
  Fn:
    Type: AWS::Lambda::Function
    Properties: {Role: !GetAtt R.Arn, Code: {S3Bucket: b, S3Key: k}, MemorySize: !Ref Memory}
  R: {Type: AWS::IAM::Role}
Outputs: {Arn: {Value: !GetAtt Fn.Arn}}
)";

StackSpec spec_of(const std::string& text, const std::map<std::string, ParameterValue>& given = {}) { return *read_spec(text, given, {}); }

Stack made(const StackSpec& spec) {
  Stack stack{.name = "s", .id = "arn:s", .spec = spec};
  const std::vector<std::string> order = *order_of(spec, {"s", "arn:s"});
  for (const std::string& id : order)
    stack.resources.push_back({.id = id, .type = domain::text_of(spec.root["Resources"][id]["Type"]), .physical = "p-" + id,
                               .properties = *properties_of(spec, {"s", "arn:s"}, stack.resources, {}, id),
                               .attributes = {{"Arn", "arn:" + id}, {"Version", "1"}}});
  stack.outputs = *outputs_of(spec, {"s", "arn:s"}, stack.resources, {});
  return stack;
}

TEST(StackPlan, WhatIsReferredToComesFirst) {
  const std::vector<std::string> order = *order_of(spec_of(kTemplate), {"s", "arn:s"});
  EXPECT_EQ(order, (std::vector<std::string>{"R", "Fn", "V", "Alias"}));
}

TEST(StackPlan, WhatDiffersIsAChange) {
  const Stack stack = made(spec_of(kTemplate));
  EXPECT_FALSE(changes_of(stack.spec, stack)->any);
  const auto more = changes_of(spec_of(kTemplate, {{"Memory", {"512"}}}), stack);
  ASSERT_TRUE(more) << more.error().message;
  ASSERT_EQ(more->changes.size(), 1U) << more->changes.dump();
  EXPECT_EQ(more->changes[0].dump(),
            R"({"id":"Fn","type":"AWS::Lambda::Function","physical":"p-Fn","action":"Modify","replacement":"False"})");
  // Another name is another function, and what refers to it is made of that.
  std::string named = kTemplate;
  named.replace(named.find("MemorySize"), 10, "FunctionName: other, MemorySize");
  const auto replaced = changes_of(spec_of(named), stack);
  std::string all;
  for (const Json& change : replaced->changes) all += domain::text_of(change["id"]) + ":" + domain::text_of(change["replacement"]) + " ";
  EXPECT_EQ(all, "Fn:True V:True Alias:True ");
  const auto less = changes_of(spec_of("Resources: {R: {Type: 'AWS::IAM::Role'}}"), stack);
  EXPECT_EQ(std::ranges::count_if(less->changes, [](const Json& c) { return c["action"] == "Remove"; }), 3);
}

TEST(StackPlan, RefusalsAreInAwsWords) {
  const auto refusal = [](const std::string& text, const std::map<std::string, ParameterValue>& given = {}) {
    const auto spec = read_spec(text, given, {});
    if (!spec) return spec.error().message;
    const auto changes = changes_of(*spec, Stack{.name = "s", .id = "arn:s"});
    return changes ? std::string("none") : changes.error().message;
  };
  EXPECT_EQ(refusal(kTemplate), "none");
  EXPECT_EQ(refusal("Parameters: {P: {Type: String}}\nResources: {R: {Type: x}}"), "Parameters: [P] must have values");
  EXPECT_EQ(refusal(kTemplate, {{"Other", {"1"}}}), "Parameters: [Other] do not exist in the template");
  EXPECT_EQ(refusal(kTemplate, {{"Memory", {"much"}}}), "Parameter 'Memory' must be a number.");
  EXPECT_NE(refusal("Resources: {T: {Type: 'AWS::SQS::Queue'}}").find("can't make T (AWS::SQS::Queue)"), std::string::npos);
  EXPECT_NE(refusal("Resources: {B: {Type: 'AWS::S3::Bucket'}}").find("B (AWS::S3::Bucket)"), std::string::npos);
  EXPECT_NE(refusal("Resources: {F: {Type: 'AWS::Lambda::Function'}}").find("required key [Code]"), std::string::npos);
  EXPECT_NE(refusal("Resources: {a_b: {Type: 'AWS::IAM::Role'}}").find("non alphanumeric"), std::string::npos);
  EXPECT_EQ(capability_wanted(spec_of(kTemplate)), "CAPABILITY_IAM");
  EXPECT_EQ(capability_wanted(spec_of("Resources: {R: {Type: 'AWS::IAM::Role', Properties: {RoleName: x}}}")), "CAPABILITY_NAMED_IAM");
}

TEST(Stack, ADocumentReadsBack) {
  Stack stack = made(spec_of(kTemplate));
  stack.steps = {{"Fn", "update", to_json(stack.resources[1]), {{"version", 3}}}};
  stack.events.push_back({{"id", "e"}, {"us", 7}});
  stack.change_sets.push_back({.name = "c", .id = "arn:c", .spec = stack.spec, .created_us = 9});
  const auto back = stack_from(to_document(stack));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_document(*back), to_document(stack));
  EXPECT_EQ(resource_from(to_json(stack.resources[1])), stack.resources[1]);
  EXPECT_EQ(stack_from("{}").error().code, Code::data_loss);
}

TEST(StackResources, NamesOfFunctionsFit) {
  EXPECT_EQ(StackResources::name_before({.stack = "my-App", .id = "HelloWorld", .type = "AWS::Lambda::Function"}, Json::object()),
            "my-app-hello-world");
  const std::string name =
      StackResources::name_before({.stack = std::string(80, 'a'), .id = "F", .type = "AWS::Lambda::Function"}, Json::object());
  EXPECT_EQ(name.size(), 63U);
  EXPECT_EQ(StackResources::name_before({.stack = "s", .id = "F", .type = "AWS::Lambda::Function"}, {{"FunctionName", "own"}}), "own");
}

}  // namespace
}  // namespace mayfly::gateway
