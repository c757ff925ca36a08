#include "gateway/lambda_forms.h"

#include <gtest/gtest.h>

#include "os/digest.h"

namespace mayfly::gateway::lambda {
namespace {

using namespace std::chrono_literals;

std::string parsed(std::string_view name, std::string_view qualifier = "") {
  const auto target = parse_target(name, qualifier);
  return target ? target->function + "|" + target->qualifier : "refused";
}

TEST(LambdaTarget, NamesAndArns) {
  EXPECT_EQ(parsed("fraud"), "fraud|");
  EXPECT_EQ(parsed("fraud", "live"), "fraud|live");
  EXPECT_EQ(parsed("fraud:3"), "fraud|3");
  EXPECT_EQ(parsed("fraud:3", "3"), "fraud|3");
  EXPECT_EQ(parsed("123456789012:function:fraud"), "fraud|");
  EXPECT_EQ(parsed("123456789012:function:fraud:live"), "fraud|live");
  EXPECT_EQ(parsed("arn:aws:lambda:eu-west-1:123456789012:function:fraud"), "fraud|");
  EXPECT_EQ(parsed("arn:aws-cn:lambda:eu-west-1:123456789012:function:fraud:$LATEST"), "fraud|$LATEST");
  for (const char* bad : {"", ":", "a:b:c", "arn:aws:lambda:eu-west-1:123456789012:layer:x", "arn:aws:s3:::bucket",
                          "arn:aws:lambda:eu-west-1:123456789012:function:", "arn:aws:lambda:eu-west-1:123456789012:function:a:b:c"})
    EXPECT_EQ(parsed(bad), "refused") << bad;
  EXPECT_EQ(parse_target("fraud:3", "4").error().message, "the function's name says '3' and Qualifier says '4': name one");
}

TEST(LambdaError, HasItsTypeAndStatus) {
  const auto seen = [](Code code, int status = 0) {
    const HttpReply reply = error_reply({code, "why"}, status);
    EXPECT_EQ(Json::parse(reply.body)["Message"], "why");
    return std::to_string(reply.status) + " " + reply.headers.at(0).second;
  };
  EXPECT_EQ(seen(Code::not_found), "404 ResourceNotFoundException");
  EXPECT_EQ(seen(Code::conflict), "409 ResourceConflictException");
  EXPECT_EQ(seen(Code::exhausted), "429 TooManyRequestsException");
  EXPECT_EQ(seen(Code::invalid_argument), "400 InvalidParameterValueException");
  EXPECT_EQ(seen(Code::unimplemented), "400 InvalidParameterValueException");
  EXPECT_EQ(seen(Code::unavailable), "500 ServiceException");
  EXPECT_EQ(seen(Code::invalid_argument, 413), "413 RequestTooLargeException");
  EXPECT_EQ(seen(Code::deadline_exceeded, 408), "408 ServiceException");
}

TEST(LambdaError, OfTheFunctionIsAnAnswer) {
  serve::InvocationReply reply{.error = {Code::invalid_argument, "no input 'x'"}, .version = 1};
  EXPECT_TRUE(is_function_error(reply));
  EXPECT_EQ(function_error("id", reply.error), R"({"errorType":"Mayfly.invalid_argument","errorMessage":"no input 'x'"})");
  reply.error = {Code::deadline_exceeded, "no answer within 3 s"};
  EXPECT_TRUE(is_function_error(reply));
  EXPECT_EQ(Json::parse(function_error("id", reply.error))["errorType"], "Sandbox.Timedout");
  reply.error.code = Code::exhausted;
  EXPECT_FALSE(is_function_error(reply)) << "the queue is full: to be asked again";
  reply.phases.decode = 1us;
  EXPECT_TRUE(is_function_error(reply)) << "out of memory while it ran";
  const auto died = [](const char* how) { return is_function_error({.error = {Code::unavailable, how}, .died = true, .version = 1}); };
  EXPECT_TRUE(died("Runtime.ExitError: signal 9 (Killed): it met a limit")) << "with its host";
  EXPECT_FALSE(died("the instance that ran this call ended: killed"));
  EXPECT_FALSE(is_function_error({.error = {Code::invalid_argument, "no such function"}, .version = 0}));
  EXPECT_FALSE(is_function_error({.ok = true, .version = 1}));
}

TEST(LambdaLog, ReportsAsItDoes) {
  serve::InvocationReply reply{.ok = true, .version = 3, .phases = {.decode = 1ms, .run = 2500us, .encode = 12us}, .memory = 20_MiB};
  EXPECT_EQ(log_of("id", reply, 512_MiB),
            "START RequestId: id Version: 3\nEND RequestId: id\n"
            "REPORT RequestId: id\tDuration: 3.51 ms\tBilled Duration: 4 ms\tMemory Size: 512 MB\tMax Memory Used: 20 MB\n");
  reply.phases.cold = 2;
  reply.phases.init = 20ms;
  EXPECT_TRUE(log_of("id", reply, 512_MiB).ends_with("Max Memory Used: 20 MB\tInit Duration: 20.00 ms\n"));
}

TEST(LambdaError, OfAProgramThatEndedIsInItsWords) {
  const auto told = [](const char* message, Code code = Code::unavailable) {
    const Json json = Json::parse(function_error("id", {code, message}));
    return json["errorType"].get<std::string>() + " | " + json["errorMessage"].get<std::string>();
  };
  const std::string ended = "Runtime.ExitError | RequestId: id Error: Runtime exited with error: ";
  EXPECT_EQ(told("Runtime.ExitError: exit status 3"), ended + "exit status 3");
  EXPECT_EQ(told("Runtime.ExitError: signal 9 (Killed): it met a limit", Code::exhausted), ended + "signal: killed: it met a limit");
  EXPECT_EQ(told("Runtime.ExitError: signal 9 ("), ended + "signal: ");
  EXPECT_EQ(told("no instance of function 'f' could start: Runtime.ImportModuleError: No module named 'x'"),
            "Runtime.ImportModuleError | No module named 'x'");
  EXPECT_EQ(told("Task timed out after 3.00 seconds", Code::deadline_exceeded),
            "Sandbox.Timedout | RequestId: id Error: Task timed out after 3.00 seconds");
  EXPECT_EQ(told("nobody said Runtime. here: or so"), "Mayfly.unavailable | nobody said Runtime. here: or so");
  const auto failed = [](const char* why) {
    return is_function_error({.error = {Code::unavailable, why}, .not_started = true, .version = 1});
  };
  EXPECT_TRUE(failed("could start: Runtime.HandlerNotFound: no"));
  EXPECT_FALSE(failed("could start: no sandbox could be made"));
}

TEST(LambdaLog, HasTheCallsLinesAndItsLastFourKibibytes) {
  serve::InvocationReply reply{.error = {Code::unavailable, "Runtime.ExitError: exit status 3"}, .version = 1, .phases = {.run = 1ms},
                               .log = "one\ntwo"};
  EXPECT_TRUE(log_of("id", reply, 512_MiB).starts_with(
      "START RequestId: id Version: 1\none\ntwo\nRequestId: id Error: Runtime exited with error: exit status 3\n"
      "Runtime.ExitError\nEND RequestId: id\n")) << log_of("id", reply, 512_MiB);
  EXPECT_TRUE(log_of("id", reply, 512_MiB).ends_with("\tStatus: error\tError Type: Runtime.ExitError\n"));
  for (int i = 0; i < 1000; ++i) reply.log += "\nline " + std::to_string(i);
  EXPECT_LE(log_of("id", reply, 512_MiB).size(), 4096u);
  EXPECT_TRUE(log_of("id", reply, 512_MiB).contains("\nline 999\n"));
}

TEST(LambdaConfiguration, SaysWhatThereIs) {
  domain::Version version{.number = 2, .created = {std::chrono::microseconds(1'764'000'000'123'456)},
                          .manifest = {.name = "fraud", .model = "fraud.onnx", .resources = {.memory = 256_MiB, .timeout = 2500ms}},
                          .files = {{"a.bin", std::string(64, '0'), {1000}}, {"fraud.onnx", std::string(64, 'f'), {24}}}};
  const domain::Function function{.name = "fraud", .versions = {version},
                                  .settings = {{kConfigured, "1", R"({"Description": "said", "Role": "r"})", {}},
                                               {kConfigured, "3", R"({"Description": "later"})", {}},
                                               {kPublished, "2", R"({"Description": "published"})", {}}}};
  const Json latest = configuration_of(function, version, "$LATEST"), numbered = configuration_of(function, version, "2");
  EXPECT_EQ(latest["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:fraud");
  EXPECT_EQ(numbered["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:fraud:2");
  EXPECT_EQ(latest["Version"], "$LATEST");
  EXPECT_EQ(numbered["Version"], "2");
  EXPECT_EQ(latest["CodeSize"], 1024);
  EXPECT_EQ(latest["CodeSha256"], "//////////////////////////////////////////8=");
  EXPECT_EQ(latest["Timeout"], 3) << "whole seconds, not less than there are";
  EXPECT_EQ(latest["MemorySize"], 256);
  EXPECT_EQ(latest["Description"], "said");
  EXPECT_EQ(latest["Role"], "r");
  EXPECT_EQ(numbered["Description"], "published");
  EXPECT_NE(numbered["RevisionId"], latest["RevisionId"]);
  EXPECT_FALSE(latest.contains("Runtime"));
  EXPECT_EQ(latest["LastModified"], "2025-11-24T16:00:00.123+0000");
}

TEST(LambdaAlias, WeightsThereAndBack) {
  const std::vector<domain::Version> versions{{.number = 1}, {.number = 2}};
  const Json body = Json::parse(R"({"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}})");
  const auto weights = weights_of(body, {}, versions);
  EXPECT_EQ(*weights, (std::vector<domain::Weight>{{1, 0.75}, {2, 0.25}}));
  EXPECT_EQ(alias_of({.name = "fraud"}, {.name = "live", .weights = *weights})["RoutingConfig"]["AdditionalVersionWeights"]["2"], 0.25);
  EXPECT_EQ(*weights_of(Json::parse(R"({"RoutingConfig": {}})"), *weights, versions), (std::vector<domain::Weight>{{1, 1}}));
  EXPECT_EQ(*weights_of(Json::parse(R"({"FunctionVersion": "$LATEST"})"), {}, versions), (std::vector<domain::Weight>{{2, 1}}));
  for (const char* bad : {"{}", R"({"FunctionVersion": "one"})", R"({"FunctionVersion": "1", "RoutingConfig": 1})",
                          R"({"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": "half"}}})"})
    EXPECT_EQ(weights_of(Json::parse(bad), {}, versions).error().code, Code::invalid_argument) << bad;
}

TEST(LambdaPath, BeginsWithADate) {
  EXPECT_TRUE(is_path("/2015-03-31/functions"));
  EXPECT_FALSE(is_path("/v2/models"));
  EXPECT_FALSE(is_path("/2015-03-31"));
  EXPECT_FALSE(is_path("/"));
}

TEST(LambdaForms, WhatInvokeSaysOfACallBecomesLines) {
  EXPECT_EQ(call_context("", "").value(), "");
  EXPECT_EQ(call_context("Root=1-a", os::to_base64("{\"custom\": {\"a\":\n \"\u00fc\"}}")).value(),
            "Lambda-Runtime-Trace-Id: Root=1-a\r\nLambda-Runtime-Client-Context: {\"custom\":{\"a\":\"\\u00fc\"}}\r\n");
  EXPECT_EQ(call_context(std::string(513, 'x'), "").value(), "");
  EXPECT_EQ(call_context("a\tb", "").value(), "");
  for (const std::string& bad : {std::string("%%"), os::to_base64("[1]"), os::to_base64("{"), std::string(3584, 'A')})
    EXPECT_EQ(call_context("", bad).error().code, Code::invalid_argument) << bad.substr(0, 20);
}

}  // namespace
}  // namespace mayfly::gateway::lambda
