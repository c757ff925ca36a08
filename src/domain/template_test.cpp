#include "domain/template.h"

#include <gtest/gtest.h>

#include "domain/serverless.h"

namespace mayfly::domain {
namespace {

Lookups lookups() {
  return {.reference = [](const std::string& name) -> Result<Json> {
            if (name == "Stage") return Json("dev");
            return fail(Code::invalid_argument, name + " is not there");
          },
          .attribute = [](const std::string& id, const std::string& name) -> Result<Json> { return Json("<" + id + "." + name + ">"); }};
}

Result<Json> resolved(const std::string& yaml) {
  const auto root = parse_template(yaml);
  if (!root) return fail(root.error());
  return Resolver(*root, lookups()).value(member(*root, "V"), "V");
}
std::string dumped(const std::string& yaml) {
  const auto value = resolved(yaml);
  return value ? value->dump() : value.error().message;
}

TEST(Template, ShortAndLongFormsAreOne) {
  EXPECT_EQ(*parse_template("V: [!Ref A, !GetAtt B.C.D, !Sub 'x${A}', !If [c, 1, 2]]"),
            *parse_template(R"({"V": [{"Ref": "A"}, {"Fn::GetAtt": ["B", "C.D"]}, {"Fn::Sub": "x${A}"}, {"Fn::If": ["c", "1", "2"]}]})"));
}

TEST(Template, FunctionsAreResolved) {
  struct Case { const char* yaml; const char* json; };
  constexpr Case kCases[] = {
      {"V: {A: !Ref Stage, B: !GetAtt F.Arn}", R"({"A":"dev","B":"<F.Arn>"})"},
      {"V: !Sub 'a ${Stage} ${F.Arn} ${!kept} ${'", R"("a dev <F.Arn> ${kept} ")"},
      {"V: !Sub ['${X}-${Stage}', {X: !Join ['/', [a, b]]}]", R"("a/b-dev")"},
      {"V: !Select [1, !Split [',', 'a,b,c']]", R"("b")"},
      {"V: !FindInMap [M, !Ref Stage, K]\nMappings: {M: {dev: {K: found}}}", R"("found")"},
      {"V: {A: !If [Is, yes it is, no], B: !If [Not, x, !Ref 'AWS::NoValue']}\nConditions:\n"
       "  Is: !And [!Equals [!Ref Stage, dev], !Not [!Condition Not]]\n"
       "  Not: !Or [!Equals [a, b], !Equals [c, d]]",
       R"({"A":"yes it is"})"},
      {"V: [1, !Ref 'AWS::NoValue', 2]", R"(["1","2"])"},
      {"V: {A: !Ref Gone}", "V.A: Gone is not there"},
      {"V: !ImportValue x", "V: ImportValue is not resolved here: write the value"},
      {"V: !Select [7, [a]]", "V: Fn::Select takes a number and a list that has so many"},
      {"V: !If [A, 1, 2]\nConditions: {A: !Condition A}", "Conditions.A: conditions that go in a circle, or too deep"},
  };
  for (const Case& one : kCases) EXPECT_EQ(dumped(one.yaml), one.json) << one.yaml;
}

TEST(Template, WhatWouldGrowIsRefused) {
  std::string bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (char c = 'b'; c < 'j'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += std::string(i ? ", *" : "*") + static_cast<char>(c - 1);
    bomb += "]\n";
  }
  EXPECT_NE(parse_template(bomb).error().message.find("values"), std::string::npos);
  EXPECT_NE(parse_template("a: &a [*a]").error().message.size(), 0U);
  EXPECT_NE(parse_template("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}").error().message.find("deep"),
            std::string::npos);
  EXPECT_NE(parse_template(std::string(kTemplateMax + 1, ' ')).error().message.find("may not exceed"), std::string::npos);
  EXPECT_NE(parse_template("a: 1\na: 2").error().message.find("twice"), std::string::npos);
  std::string sub = "x";
  for (int i = 0; i < 13; ++i) sub = R"({"Fn::Sub": ["${a}${a}${a}${a}", {"a": )" + (i == 0 ? std::string("\"x\"") : sub) + "}]}";
  EXPECT_NE(dumped("{\"V\": " + sub + "}").find("nested too deep, or too many"), std::string::npos);
}

TEST(Serverless, AFunctionIsWhatItStandsFor) {
  const auto root = parse_template(R"(Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: python3.11, Environment: {Variables: {A: '1', B: '2'}}, Layers: [l:1]}}
Resources:
  Fn:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: s3://bucket/a/key
      Handler: app.handler
      AutoPublishAlias: blue
      FunctionUrlConfig: {AuthType: NONE}
      Environment: {Variables: {B: '3'}}
      Layers: [l:2]
      Events: {E: {Type: Api}}
  L: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: {Bucket: b, Key: k}}}
  Other: {Type: AWS::Lambda::Function}
)");
  const auto expanded = expand_serverless(*root);
  ASSERT_TRUE(expanded) << expanded.error().message;
  const Json& all = expanded->root["Resources"];
  const Json& function = all["Fn"]["Properties"];
  EXPECT_EQ(function["Code"].dump(), R"({"S3Bucket":"bucket","S3Key":"a/key"})");
  EXPECT_EQ(function["Environment"].dump() + function["Layers"].dump(), R"({"Variables":{"A":"1","B":"3"}}["l:1","l:2"])");
  EXPECT_EQ(function["Role"].dump(), R"({"Fn::GetAtt":["FnRole","Arn"]})");
  EXPECT_EQ(all["FnAliasblue"]["Type"], "AWS::Lambda::Alias");
  EXPECT_EQ(all["FnUrl"]["Properties"]["TargetFunctionArn"].dump(), R"({"Ref":"FnAliasblue"})");
  EXPECT_EQ(all["L"]["Type"], "AWS::Lambda::LayerVersion");
  EXPECT_EQ(all["Other"].dump(), R"({"Type":"AWS::Lambda::Function"})");
  ASSERT_EQ(expanded->notes.size(), 1U);
  EXPECT_EQ(expanded->notes[0].second, "Events.E (Api) is not made here");
}

TEST(Serverless, WhatItCanNotBeIsNamed) {
  const auto refusal = [](const std::string& properties) {
    const auto root = parse_template(
        "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: 'AWS::Serverless::Function', Properties: {" + properties + "}}}");
    const auto expanded = expand_serverless(*root);
    return expanded ? std::string("none") : expanded.error().message;
  };
  EXPECT_NE(refusal("").find("'CodeUri' is missing"), std::string::npos);
  EXPECT_NE(refusal("CodeUri: code/").find("F.CodeUri is not s3://BUCKET/KEY"), std::string::npos);
  EXPECT_NE(refusal("CodeUri: s3://b/k, DeploymentPreference: {}").find("DeploymentPreference"), std::string::npos);
  EXPECT_EQ(refusal("CodeUri: s3://b/k"), "none");
  EXPECT_FALSE(expand_serverless(*parse_template("Transform: Other\nResources: {}")));
}

}  // namespace
}  // namespace mayfly::domain
