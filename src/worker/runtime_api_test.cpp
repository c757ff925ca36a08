// By table: a few words for what was told, a few for what follows.
#include "worker/runtime_api.h"

#include <gtest/gtest.h>

#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Step = RuntimeApi::Step;

const std::string kRoot = "/2018-06-01/runtime/";

RuntimeApi make_api(std::uint64_t response_max = 100) { return RuntimeApi({.function_arn = "arn:f", .response_max = response_max}); }

Step ask(RuntimeApi& api, Method method, const std::string& path, std::string body = {}, ConnectionId from = 1) {
  return api.request(from, {.method = method, .path = path, .body = std::move(body)});
}
Step get_next(RuntimeApi& api, ConnectionId from = 1) { return ask(api, Method::get, kRoot + "invocation/next", "", from); }
Step post(RuntimeApi& api, const std::string& path, std::string body = "{}") {
  return ask(api, Method::post, kRoot + path, std::move(body));
}

std::string told(const RuntimeReply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.headers)
    if (key == name) return value;
  return "none";
}

// "202", "400 InvalidRequestID", "none"
std::string answer_of(const Step& step) {
  if (!step.answer) return "none";
  const RuntimeReply& reply = step.answer->reply;
  const Json body = domain::parse_json<Json>(reply.body);
  return std::to_string(reply.status) + (reply.status < 300 ? "" : " " + body.value("errorType", "?"));
}

TEST(RuntimeApi, ACallIsGivenToWhoAsksAndAnsweredOnce) {
  RuntimeApi api = make_api();
  Step step = get_next(api, 7);
  EXPECT_TRUE(step.ready);
  EXPECT_FALSE(step.answer);
  EXPECT_TRUE(api.idle());
  step = api.invoke({.id = "a", .deadline_ms = 1234, .event = "{\"x\":1}", .trace_id = "Root=1"});
  ASSERT_TRUE(step.answer);
  EXPECT_TRUE(step.given);
  EXPECT_EQ(step.answer->to, 7U);
  EXPECT_EQ(step.answer->reply.status, 200);
  EXPECT_EQ(step.answer->reply.body, "{\"x\":1}");
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Aws-Request-Id"), "a");
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Deadline-Ms"), "1234");
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Invoked-Function-Arn"), "arn:f");
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Trace-Id"), "Root=1");
  EXPECT_FALSE(api.idle());
  step = post(api, "invocation/a/response", "[1]");
  EXPECT_EQ(answer_of(step), "202");
  ASSERT_TRUE(step.outcome);
  EXPECT_FALSE(step.outcome->error);
  EXPECT_EQ(step.outcome->response, "[1]");
  EXPECT_TRUE(api.idle());
}

TEST(RuntimeApi, WhatTheCallerSaidComesInHeaders) {
  RuntimeApi api = make_api();
  static_cast<void>(get_next(api));
  RuntimeCall call{.id = "a"};
  read_context("Lambda-Runtime-Trace-Id: Root=1-a\r\nUnknown: x\r\nLambda-Runtime-Client-Context: {\"a\":1}\r\n", call);
  const Step step = api.invoke(std::move(call));
  ASSERT_TRUE(step.answer);
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Trace-Id"), "Root=1-a");
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Client-Context"), "{\"a\":1}");
  RuntimeCall none{.id = "b"};
  for (const char* broken : {"", "Lambda-Runtime-Trace-Id", "Lambda-Runtime-Trace-Id:", "\r\n\r\n", ": x"}) read_context(broken, none);
  EXPECT_TRUE(none.trace_id.empty() && none.client_context.empty());
}

TEST(RuntimeApi, ATraceIsCompletedNotChanged) {
  Random random(1);
  const auto is_hex = [](std::string_view text) { return text.find_first_not_of("0123456789abcdef") == text.npos; };
  const std::string made = complete_trace("", 0x67000000, random);
  ASSERT_EQ(made.size(), std::string_view("Root=1-67000000-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=0").size()) << made;
  EXPECT_TRUE(made.starts_with("Root=1-67000000-") && is_hex(made.substr(16, 24)) && made.substr(40, 8) == ";Parent=" &&
              is_hex(made.substr(48, 16)) && made.substr(64) == ";Sampled=0") << made;
  EXPECT_NE(complete_trace("", 0x67000000, random), made);
  EXPECT_TRUE(complete_trace("nonsense", 0x67000000, random).starts_with("Root=1-67000000-"));
  EXPECT_TRUE(complete_trace("Root=1-5-6;Sampled=1", 7, random).starts_with("Root=1-5-6;Sampled=1;Parent="));
  const std::string whole = "Root=1-5-6;Parent=7;Sampled=0;Lineage=a:0";
  EXPECT_EQ(complete_trace(whole, 7, random), whole);
}

TEST(RuntimeApi, AStreamThatFailsSaysSoBehindItsBytes) {
  RuntimeApi api = make_api();
  const auto stream = [&](std::vector<HttpHeader> trailers) {
    static_cast<void>(get_next(api));
    static_cast<void>(api.invoke({.id = "a"}));
    return *api.request(1, {.method = Method::post, .path = "/2018-06-01/runtime/invocation/a/response", .body = "begun",
                            .trailers = trailers}).outcome;
  };
  EXPECT_EQ(stream({{"Other", "x"}}).response, "begun");
  const auto failed = stream({{"lambda-runtime-function-error-type", "Oops"},
                              {"Lambda-Runtime-Function-Error-Body", "eyJlcnJvck1lc3NhZ2UiOiJubyBsdWNrIn0="}});
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->text(), "Oops: no luck");
  EXPECT_EQ(failed.error->json, "{\"errorMessage\":\"no luck\"}");
  const auto silent = stream({{"Lambda-Runtime-Function-Error-Type", "Oops"}, {"Lambda-Runtime-Function-Error-Body", "%"}});
  ASSERT_TRUE(silent.error);
  EXPECT_EQ(silent.error->text(), "Oops");
}

TEST(RuntimeApi, AStreamIsPassedOnByWhoAnswersTheCallThatRunsAlone) {
  constexpr const char* kPath = "/2018-06-01/runtime/invocation/a/response";
  RuntimeApi api = make_api();
  EXPECT_FALSE(api.begin_stream(1, kPath)) << "no call runs";
  static_cast<void>(get_next(api));
  static_cast<void>(api.invoke({.id = "a"}));
  EXPECT_FALSE(api.begin_stream(1, "/2018-06-01/runtime/invocation/b/response"));
  EXPECT_TRUE(api.begin_stream(1, kPath));
  EXPECT_FALSE(api.begin_stream(2, kPath)) << "one answers";
  const auto post_by = [&](ConnectionId from) { return api.request(from, {.method = Method::post, .path = kPath}); };
  EXPECT_EQ(answer_of(post_by(2)), "403 InvalidStateTransition");
  EXPECT_FALSE(api.broke_off(2, kPath, "why").outcome) << "another's end is nothing";
  const Step broken = api.broke_off(1, kPath, "its connection closed");
  ASSERT_TRUE(broken.outcome && broken.outcome->error);
  EXPECT_EQ(broken.outcome->error->text(), "Runtime.TruncatedResponse: the runtime's response is not whole: its connection closed");
  EXPECT_EQ(answer_of(post_by(1)), "403 InvalidStateTransition") << "it has its outcome";
}

TEST(RuntimeApi, AWholeResponseThatCanNotBeReadFailsItsCall) {
  RuntimeApi api = make_api();
  static_cast<void>(get_next(api));
  static_cast<void>(api.invoke({.id = "a"}));
  EXPECT_FALSE(api.broke_off(1, "/2018-06-01/runtime/invocation/a/error", "why").outcome);
  EXPECT_TRUE(api.broke_off(1, "/2018-06-01/runtime/invocation/a/response", "why").outcome);
  EXPECT_TRUE(api.idle());
}

TEST(RuntimeApi, ACallWaitsForWhoAsks) {
  RuntimeApi api = make_api();
  EXPECT_FALSE(api.invoke({.id = "a"}).answer);
  const Step step = get_next(api);
  EXPECT_TRUE(step.ready);
  EXPECT_TRUE(step.given);
  ASSERT_TRUE(step.answer);
  EXPECT_EQ(told(step.answer->reply, "Lambda-Runtime-Trace-Id"), "none");
  EXPECT_FALSE(post(api, "invocation/a/response").ready);
  EXPECT_FALSE(get_next(api).ready);  // once
}

TEST(RuntimeApi, WhoLeftGetsNoCallAndAWithdrawnCallGoesToNobody) {
  RuntimeApi api = make_api();
  static_cast<void>(get_next(api, 1));
  static_cast<void>(get_next(api, 2));
  api.left(1);
  EXPECT_EQ(api.invoke({.id = "a"}).answer->to, 2U);
  EXPECT_TRUE(post(api, "invocation/a/response").outcome);
  EXPECT_FALSE(api.invoke({.id = "b"}).answer);
  api.withdraw();
  EXPECT_TRUE(api.idle());
  EXPECT_FALSE(get_next(api).answer);
}

TEST(RuntimeApi, WhatIsOutOfTurnIsRefusedAndChangesNothing) {
  struct Row {
    const char* what;
    Method method;
    std::string path;
    const char* answer;
  };
  const auto check = [](RuntimeApi& api, const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      const Step step = ask(api, row.method, row.path, "{}");
      EXPECT_EQ(answer_of(step), row.answer) << row.what;
      EXPECT_FALSE(step.outcome || step.init_failed || step.ready || step.given) << row.what;
    }
  };
  RuntimeApi api = make_api();
  const std::vector<Row> always = {
      {"another path", Method::get, "/", "404 NotFound"},
      {"another version", Method::get, "/2020-01-01/runtime/invocation/next", "404 NotFound"},
      {"nothing below the root", Method::get, kRoot, "404 NotFound"},
      {"no such thing of a call", Method::post, kRoot + "invocation/a/result", "404 NotFound"},
      {"more below a call", Method::post, kRoot + "invocation/a/response/x", "404 NotFound"},
      {"a call alone", Method::post, kRoot + "invocation/a", "404 NotFound"},
      {"next by POST", Method::post, kRoot + "invocation/next", "405 MethodNotAllowed"},
      {"a response by GET", Method::get, kRoot + "invocation/a/response", "405 MethodNotAllowed"},
      {"an error by PUT", Method::put, kRoot + "invocation/a/error", "405 MethodNotAllowed"},
      {"an init error by GET", Method::get, kRoot + "init/error", "405 MethodNotAllowed"},
      {"a call that never was", Method::post, kRoot + "invocation/other/response", "400 InvalidRequestID"},
      {"a failure of one that never was", Method::post, kRoot + "invocation/other/error", "400 InvalidRequestID"},
      {"no id", Method::post, kRoot + "invocation//response", "400 InvalidRequestID"},
  };
  check(api, always);
  static_cast<void>(get_next(api));
  check(api, always);
  static_cast<void>(api.invoke({.id = "a"}));
  check(api, always);
  check(api, {{"the next before the answer", Method::get, kRoot + "invocation/next", "403 InvalidStateTransition"},
              {"a failed start after it", Method::post, kRoot + "init/error", "403 InvalidStateTransition"}});
  EXPECT_TRUE(post(api, "invocation/a/response").outcome);
  check(api, {{"a second response", Method::post, kRoot + "invocation/a/response", "403 InvalidStateTransition"},
              {"an error after the response", Method::post, kRoot + "invocation/a/error", "403 InvalidStateTransition"}});
}

struct ErrorRow {
  const char* what;
  std::string header, body;
  const char* text;
  bool json;
};

const std::vector<ErrorRow>& error_rows() {
  static const std::vector<ErrorRow> rows = {
      {"both", "", R"({"errorMessage":"m","errorType":"T","stackTrace":["s"]})", "T: m", true},
      {"the header's type counts", "H", R"({"errorMessage":"m","errorType":"T"})", "H: m", true},
      {"no type", "", R"({"errorMessage":"m"})", "Runtime.Unknown: m", true},
      {"no message", "", R"({"errorType":"T"})", "T", true},
      {"other types", "", R"({"errorType":1,"errorMessage":[2]})", "Runtime.Unknown", true},
      {"no object", "H", "[1]", "H", false},
      {"no JSON", "", "oops", "Runtime.Unknown", false},
      {"nothing", "", "", "Runtime.Unknown", false},
      {"too long to keep", "", R"({"errorType":"T","x":")" + std::string(70000, 'x') + "\"}", "T", false},
  };
  return rows;
}

TEST(RuntimeApi, ErrorsAreReadAsTheyAreTold) {
  for (const ErrorRow& row : error_rows()) {
    RuntimeApi api = make_api(1 << 20);
    static_cast<void>(get_next(api));
    static_cast<void>(api.invoke({.id = "a"}));
    const HttpHeader header{"lambda-runtime-function-error-type", row.header};
    Step step = api.request(1, {.method = Method::post, .path = "/2018-06-01/runtime/invocation/a/error",
                                .headers = std::span(&header, row.header.empty() ? 0 : 1), .body = row.body});
    EXPECT_EQ(answer_of(step), "202") << row.what;
    ASSERT_TRUE(step.outcome && step.outcome->error) << row.what;
    EXPECT_EQ(step.outcome->error->text(), row.text) << row.what;
    EXPECT_EQ(step.outcome->error->json, row.json ? row.body : "") << row.what;
  }
}

TEST(RuntimeApi, AFailedStartIsToldOnceAndEndsIt) {
  RuntimeApi api = make_api();
  Step step = post(api, "init/error", R"({"errorMessage":"no module","errorType":"Runtime.ImportModuleError"})");
  EXPECT_EQ(answer_of(step), "202");
  ASSERT_TRUE(step.init_failed);
  EXPECT_EQ(step.init_failed->text(), "Runtime.ImportModuleError: no module");
  step = post(api, "init/error");
  EXPECT_EQ(answer_of(step), "403 InvalidStateTransition");
  EXPECT_FALSE(step.init_failed);
  step = get_next(api);
  EXPECT_EQ(answer_of(step), "403 InvalidStateTransition");
  EXPECT_FALSE(step.ready);
}

TEST(RuntimeApi, AProgramMaySayThatItEndsWithAnAnswer) {
  for (const char* value : {"1", "0"}) {
    RuntimeApi api = make_api();
    static_cast<void>(get_next(api));
    static_cast<void>(api.invoke({.id = "a", .event = "1"}));
    const HttpHeader header{kExitsHeader, value};
    const Step step = api.request(1, {.method = Method::post, .path = kRoot + "invocation/a/error", .headers = {&header, 1}, .body = "{}"});
    ASSERT_TRUE(step.outcome);
    EXPECT_EQ(step.outcome->last, value[0] == '1');
  }
}

TEST(RuntimeApi, AResponseOverTheLimitFailsTheCall) {
  for (const bool cut : {false, true}) {
    RuntimeApi api = make_api(10);
    static_cast<void>(get_next(api));
    static_cast<void>(api.invoke({.id = "a"}));
    const Step step = api.request(1, {.method = Method::post, .path = "/2018-06-01/runtime/invocation/a/response",
                                      .body = cut ? "" : std::string(11, 'x'), .too_large = cut});
    EXPECT_EQ(answer_of(step), "413 RequestEntityTooLarge");
    ASSERT_TRUE(step.outcome && step.outcome->error);
    EXPECT_EQ(step.outcome->error->type, "Function.ResponseSizeTooLarge");
    EXPECT_FALSE(step.outcome->error->json.empty());
    static_cast<void>(get_next(api));
    static_cast<void>(api.invoke({.id = "b"}));
    EXPECT_FALSE(post(api, "invocation/b/response", std::string(10, 'x')).outcome->error);  // the limit itself is taken
  }
}

}  // namespace
}  // namespace mayfly::worker
