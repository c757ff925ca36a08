#include "app/sam.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

class SamTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("mayfly-sam-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string write(const std::string& text, const std::string& name = "template.yaml") {
    std::ofstream(root_ / name) << text;
    return (root_ / name).string();
  }
  std::string refusal(const std::string& properties) {
    const auto read = read_sam(write("Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n"
                                     "    Properties: {Handler: app.handler, Runtime: python3.11" + properties + "}\n"));
    return read ? "it was read" : read.error().message;
  }
  fs::path root_;
};

TEST_F(SamTest, FunctionsAreReadWithGlobalsAndReferences) {
  const std::string file = write(R"(AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: prod}
Globals:
  Function:
    Timeout: 7
    Runtime: python3.11
    Environment: {Variables: {STAGE: !Ref Stage, LEVEL: info}}
Resources:
  HelloWorldFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello/
      Handler: app.lambda_handler
      MemorySize: 512
      Environment:
        Variables:
          LEVEL: debug
          NEXT: !Ref Other
          ARN: !GetAtt Other.Arn
          URL: !Sub 'https://${Other}.${AWS::Region}.example/${Stage}/${!keep}'
          OLD: {"Fn::GetAtt": [Other, Arn]}
      Events: {Api: {Type: Api, Properties: {Path: /hello, Method: get}}}
  Other:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: ., Handler: index.handler, Runtime: nodejs20.x, FunctionName: !Sub 'other-${Stage}'}
  Table: {Type: AWS::DynamoDB::Table}
)");
  const auto read = read_sam(file);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->functions.size(), 2U);
  const SamFunction& hello = read->functions[0];
  EXPECT_EQ(hello.name, "hello-world-function");
  EXPECT_EQ(hello.path, (root_ / "hello").string());
  EXPECT_EQ(hello.runtime + " " + hello.handler + " " + hello.memory + " " + hello.timeout, "python3.11 app.lambda_handler 512MiB 7s");
  const std::vector<std::pair<std::string, std::string>> variables{
      {"STAGE", "prod"}, {"LEVEL", "debug"}, {"NEXT", "other-prod"},
      {"ARN", "arn:aws:lambda:us-east-1:000000000000:function:other-prod"},
      {"URL", "https://other-prod.us-east-1.example/prod/${keep}"},
      {"OLD", "arn:aws:lambda:us-east-1:000000000000:function:other-prod"}};
  EXPECT_EQ(hello.environment, variables);
  EXPECT_EQ(read->functions[1].name, "other-prod");
  EXPECT_EQ(read->functions[1].memory, "128MiB");
  ASSERT_EQ(read->notes.size(), 2U);
  EXPECT_NE(read->notes[0].find("Events.Api"), std::string::npos);
  EXPECT_NE(read->notes[1].find("Table (AWS::DynamoDB::Table)"), std::string::npos);
}

TEST_F(SamTest, AFunctionUrlIsWhatLambdasApiTakes) {
  const auto read = read_sam(write(R"(Transform: AWS::Serverless-2016-10-31
Parameters: {Mode: {Type: String, Default: RESPONSE_STREAM}}
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: app.handler
      Runtime: python3.11
      FunctionUrlConfig:
        AuthType: AWS_IAM
        InvokeMode: !Ref Mode
        Cors: {AllowOrigins: ['https://a.example'], AllowCredentials: true, MaxAge: 60}
)"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->functions[0].url,
            R"({"AuthType":"AWS_IAM","Cors":{"AllowCredentials":true,"AllowOrigins":["https://a.example"],"MaxAge":60},)"
            R"("InvokeMode":"RESPONSE_STREAM"})");
  EXPECT_NE(refusal(", CodeUri: ., FunctionUrlConfig: {InvokeMode: BUFFERED}").find("AuthType is missing"), std::string::npos);
  EXPECT_NE(refusal(", CodeUri: ., FunctionUrlConfig: true").find("a map is wanted"), std::string::npos);
}

TEST_F(SamTest, LayersArePublishedFirst) {
  const auto read = read_sam(write(R"(Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: python3.11, Handler: app.handler, Layers: [!Ref Tools]}}
Resources:
  Fn:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: code, Layers: ['arn:aws:lambda:us-east-1:000000000000:layer:other:3', {Ref: Named}]}
  Tools: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layers/tools/}}
  Named: {Type: AWS::Lambda::LayerVersion, Properties: {Content: named.zip, LayerName: own, Description: it}}
)"));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->layers.size(), 2U);
  EXPECT_EQ(read->layers[0].name + " " + read->layers[0].path, "Tools " + (root_ / "layers/tools").string());
  EXPECT_EQ(read->layers[1].name + " " + read->layers[1].description + " " + read->layers[1].path,
            "own it " + (root_ / "named.zip").string());
  ASSERT_EQ(read->functions.size(), 1U);
  ASSERT_EQ(read->functions[0].layers.size(), 3U);
  EXPECT_EQ(read->functions[0].layers[0].resource, "Tools");
  EXPECT_EQ(read->functions[0].layers[1].text, "arn:aws:lambda:us-east-1:000000000000:layer:other:3");
  EXPECT_EQ(read->functions[0].layers[2].resource, "Named");
  EXPECT_TRUE(read->notes.empty());
}

TEST_F(SamTest, WhatCanNotBeHadIsNamed) {
  EXPECT_EQ(refusal(", CodeUri: x"), "it was read");
  EXPECT_NE(refusal("").find("F: CodeUri is missing"), std::string::npos);
  EXPECT_NE(refusal(", CodeUri: s3://bucket/key").find("beside the template"), std::string::npos);
  EXPECT_NE(refusal(", CodeUri: x, Layers: a").find("F.Layers: a list is wanted"), std::string::npos);
  EXPECT_NE(refusal(", CodeUri: x, Layers: [!Ref Absent]").find("F.Layers: Absent is neither"), std::string::npos);
  EXPECT_NE(refusal(", CodeUri: x, Environment: {Variables: {T: !Ref Table}}").find("F.Environment.Variables.T: Table is neither"),
            std::string::npos);
  EXPECT_NE(refusal(", CodeUri: x, Environment: {Variables: {T: !ImportValue v}}").find("ImportValue is not resolved"), std::string::npos);
  EXPECT_NE(read_sam(write("Resources: {T: {Type: 'AWS::Serverless::Api'}}\n")).error().message.find("no function"), std::string::npos);
  EXPECT_NE(read_sam(write("- a\n")).error().message.find("no template"), std::string::npos);
  EXPECT_NE(read_sam(write("a: [\n")).error().message.find("not YAML"), std::string::npos);
}

TEST_F(SamTest, OnlyATemplateIsOne) {
  EXPECT_EQ(find_sam(root_.string()), "");
  const std::string file = write("Transform: AWS::Serverless-2016-10-31\nResources: {}\n");
  EXPECT_EQ(find_sam(root_.string()), file);
  EXPECT_EQ(find_sam(file), file);
  write("model: model.onnx\n", "function.yaml");
  EXPECT_EQ(find_sam(root_.string()), "") << "a manifest goes before";
  EXPECT_EQ(find_sam(write("x: 1\n", "other.yaml")), "");
}

}  // namespace
}  // namespace mayfly::app
