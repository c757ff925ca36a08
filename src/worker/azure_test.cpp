// Routes of Azure's triggers, and an app's requests and answers, without a program.
#include "worker/azure.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "domain/json.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Form = AzureApp::Form;

// "no", or the parameters as name=value.
std::string match(std::string_view route, std::string_view path) {
  AzureRoute::Parameters parameters;
  if (!AzureRoute(route).matches(path, parameters)) return "no";
  std::string text;
  for (const auto& [name, value] : parameters) text += (text.empty() ? "" : " ") + name + "=" + value;
  return text;
}

TEST(AzureRoute, MatchesAsItsAuthorsMeanIt) {
  const struct {
    const char *route, *path, *seen;
  } kCases[] = {
      {"orders", "/orders", ""},
      {"/orders/", "/ORDERS/", ""},
      {"orders", "/orders/1", "no"},
      {"orders", "/", "no"},
      {"", "/", ""},
      {"or%20ders", "/or%20ders", "no"},          // a route is written plainly,
      {"or ders", "/or%20ders", ""},              // a path is not
      {"orders/{id}", "/orders/7%2F8", "id=7/8"},
      {"orders/{id}", "/orders", "no"},
      {"orders/{id?}", "/orders", ""},
      {"orders/{id=5}", "/orders", "id=5"},
      {"orders/{id=5}", "/orders/6", "id=6"},
      {"orders/{id:int}", "/orders/-7", "id=-7"},
      {"orders/{id:int}", "/orders/7x", "no"},
      {"orders/{id:int}", "/orders/99999999999", "no"},
      {"orders/{id:long}", "/orders/99999999999", "id=99999999999"},
      {"orders/{id:int?}", "/orders", ""},
      {"orders/{id:int?}", "/orders/x", "no"},
      {"{a:bool}/{b:alpha}/{c:double}", "/True/abc/1.5e3", "a=True b=abc c=1.5e3"},
      {"{a:alpha}", "/a1", "no"},
      {"{a:guid}", "/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "a=6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
      {"{a:guid}", "/6ba7b810-9dad-11d1-80b4-00c04fd430c", "no"},
      {"{a:unheard(of)}", "/x", "a=x"},
      {"files/{*rest}", "/files/a/b%20c/d", "rest=a/b c/d"},
      {"files/{*rest}", "/files", ""},
      {"{a}/x/{b}", "/1/x/2", "a=1 b=2"},
      {"{a}/x/{b}", "/1/y/2", "no"},
  };
  for (const auto& [route, path, seen] : kCases) EXPECT_EQ(match(route, path), seen) << route << " " << path;
}

class AzureTest : public testing::Test {
 protected:
  AzureTest() {
    char pattern[] = "/tmp/mayfly-azure-XXXXXX";
    root = ::mkdtemp(pattern);
  }
  ~AzureTest() override { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  }
  // An app in a programming model.
  AzureApp model(const char* functions, const char* host = "{}", bool outputs_to_log = false) {
    auto app = AzureApp::parse(host, root.string(), outputs_to_log);
    const auto added = app.value().add_functions(functions);
    EXPECT_TRUE(added) << added.error().message;
    return *std::move(app);
  }
  // A custom handler, with function.json of `f`.
  Result<AzureApp> custom(const std::string& bindings, const std::string& more = "", bool outputs_to_log = false) {
    write("host.json", R"({"customHandler": {"description": {"defaultExecutablePath": "sh", "arguments": ["run", "-x"]})" + more + "}}");
    write("f/function.json", R"({"bindings": [)" + bindings + "]}");
    return AzureApp::read(root.string(), outputs_to_log);
  }
  fs::path root;
};

constexpr const char* kHttp = R"({"type": "httpTrigger", "name": "req", "direction": "in", "methods": ["get", "POST"],
                                  "route": "f/{id?}"})";
constexpr const char* kOut = R"({"type": "http", "direction": "out", "name": "$return"})";
constexpr const char* kQueue = R"({"type": "queue", "direction": "OUT", "name": "q"})";

std::string head(const std::string& line, const std::string& more = "") { return line + " HTTP/1.1\r\nHost: h\r\n" + more + "\r\n"; }

TEST_F(AzureTest, ALanguagesFunctionsAreSentTheRequestByName) {
  const AzureApp app = model(R"([
    {"name": "rest", "bindings": [{"type": "httpTrigger", "name": "req", "direction": "IN", "route": "{*all}"}]},
    {"name": "one", "bindings": [{"type": "httpTrigger", "name": "req", "methods": ["get"], "route": "one/{id}"}]}])");
  EXPECT_FALSE(app.custom());
  const auto request = app.request(head("GET /api/one/a%26b?x=1", "mayfly-azure-by-hand: 1\r\nX: y\r\n"), "body");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->form, Form::named);
  EXPECT_EQ(request->bytes, "GET /api/one/a%26b?x=1 HTTP/1.1\r\nMayfly-Azure-Function: one\r\nMayfly-Azure-Parameters: id=a%26b\r\n"
                            "Host: h\r\nX: y\r\n\r\nbody");
  const auto rest = app.request(head("PUT /api/one/a"), "");
  ASSERT_TRUE(rest);
  EXPECT_NE(rest->bytes.find("Function: rest\r\nMayfly-Azure-Parameters: all=one%2Fa\r\n"), std::string::npos) << rest->bytes;
  const auto nobody = app.request(head("GET /else"), "");
  EXPECT_EQ(nobody.error().code, Code::not_found);
  EXPECT_NE(nobody.error().message.find("/api/one/{id}, /api/{*all}"), std::string::npos) << nobody.error().message;
}

TEST_F(AzureTest, AFunctionWithoutARouteIsRunByHand) {
  const AzureApp app = model(R"([{"name": "t", "bindings": [{"type": "timerTrigger", "name": "t"},
                                                            {"type": "queue", "direction": "out", "name": "q"}]},
                                 {"name": "h", "bindings": [{"type": "httpTrigger", "name": "r", "authLevel": "function"}]}])");
  const auto request = app.request(head("POST /admin/functions/t"), R"({"input": "x"})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->by_hand);
  EXPECT_NE(request->bytes.find("Mayfly-Azure-By-Hand: 1\r\n"), std::string::npos);
  EXPECT_TRUE(request->bytes.ends_with(R"({"input": "x"})"));
  EXPECT_EQ(app.request(head("POST /admin/functions/t"), "[1]").error().code, Code::invalid_argument);
  EXPECT_EQ(app.request(head("POST /admin/functions/u"), "").error().code, Code::not_found);
  EXPECT_EQ(app.request(head("GET /admin/functions/t"), "").error().code, Code::not_found);
  EXPECT_EQ(app.request(head("POST /admin/functions/h"), "").error().code, Code::invalid_argument);
  EXPECT_EQ(app.request(head("GET /api/t"), "").error().code, Code::not_found);
  const auto listed = app.request(head("GET /admin/functions"), "");
  ASSERT_TRUE(listed && listed->form == Form::answered);
  const Json all = Json::parse(listed->bytes.substr(listed->head_size));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["invoke_url_template"], "/api/h");
  EXPECT_EQ(all[0]["config"]["bindings"][0]["authLevel"], "function");
}

TEST_F(AzureTest, WhatNothingServesIsRefusedByName) {
  const char* const functions = R"([
    {"name": "q", "bindings": [{"type": "httpTrigger", "name": "r"}, {"type": "queue", "direction": "out", "name": "m"}]},
    {"name": "b", "bindings": [{"type": "timerTrigger", "name": "t"}, {"type": "blob", "direction": "in", "name": "x"}]}])";
  const AzureApp app = model(functions);
  const auto refused = app.request(head("GET /api/q"), "");
  EXPECT_EQ(refused.error().code, Code::unimplemented);
  EXPECT_NE(refused.error().message.find("'m' of type queue"), std::string::npos) << refused.error().message;
  EXPECT_EQ(app.request(head("POST /admin/functions/b"), "").error().code, Code::unimplemented);
  EXPECT_TRUE(model(functions, "{}", true).request(head("GET /api/q"), ""));
}

TEST_F(AzureTest, FunctionsThatAreNone) {
  auto app = AzureApp::parse("{}", root.string(), false).value();
  const std::string http = R"([{"type": "httpTrigger", "name": "r"}])";
  for (const std::string& text : {std::string("["), std::string("[]"), std::string("{}"), R"([{"name": "f"}])" + std::string(),
                                  R"([{"name": "a b", "bindings": )" + http + "}]", R"([{"name": "", "bindings": )" + http + "}]",
                                  R"([{"name": "f", "bindings": [1]}])" + std::string(), R"([7])" + std::string(),
                                  R"([{"name": "f", "bindings": )" + http + R"(}, {"name": "f", "bindings": )" + http + "}]",
                                  R"([{"name": "g", "bindings": [{"type": "httpTrigger"}, {"type": "timerTrigger"}]}])" + std::string()})
    EXPECT_FALSE(app.add_functions(text)) << text;
}

TEST_F(AzureTest, ACustomHandlerIsReadFromItsFolder) {
  const auto app = custom(kHttp + std::string(",") + kOut);
  ASSERT_TRUE(app) << app.error().message;
  ASSERT_EQ(app->arguments().size(), 3U);
  EXPECT_TRUE(app->arguments()[0].ends_with("/sh"));
  EXPECT_EQ(app->arguments()[2], "-x");
  const auto request = app->request(head("POST /api/F/7?a=b+c&a"), "body");
  ASSERT_TRUE(request && request->form == Form::data) << request.error().message;
  EXPECT_TRUE(request->bytes.starts_with("POST /f HTTP/1.1\r\n"));
  const Json call = Json::parse(request->bytes.substr(request->bytes.find("\r\n\r\n") + 4));
  const Json& sent = call["Data"]["req"];
  EXPECT_EQ(sent["Url"], "http://h/api/F/7?a=b+c&a");
  EXPECT_EQ(sent["Params"], Json({{"id", "7"}}));
  EXPECT_EQ(sent["Body"], "body");
  EXPECT_EQ(call["Metadata"]["sys"]["MethodName"], "f");
  EXPECT_EQ(app->request(head("DELETE /api/f"), "").error().code, Code::not_found);
  EXPECT_FALSE(custom(kOut));                                             // no trigger
  EXPECT_FALSE(custom(R"({"type": "httpTrigger", "name": "r")"));         // no JSON
  write("host.json", R"({"customHandler": {"description": {"defaultExecutablePath": "no-such-program"}}})");
  EXPECT_NE(AzureApp::read(root.string(), false).error().message.find("no-such-program"), std::string::npos);
  write("host.json", R"({"customHandler": {}})");
  EXPECT_FALSE(AzureApp::read(root.string(), false));
  fs::remove(root / "host.json");
  EXPECT_FALSE(AzureApp::read(root.string(), false));
}

TEST_F(AzureTest, RequestsPassWhereTheFunctionHasHttpAlone) {
  const std::string passes = R"(, "enableForwardingHttpRequest": true)";
  const auto plain = custom(kHttp + std::string(",") + kOut, passes)->request(head("GET /api/f"), "");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->form, Form::as_it_is);
  EXPECT_TRUE(plain->bytes.empty());
  const auto more = custom(kHttp + std::string(",") + kOut + "," + kQueue, passes, true)->request(head("GET /api/f"), "");
  ASSERT_TRUE(more);
  EXPECT_EQ(more->form, Form::data);
}

TEST_F(AzureTest, ACustomHandlersAnswer) {
  const auto app = custom(kHttp + std::string(",") + kOut + "," + kQueue, "", true);
  ASSERT_TRUE(app) << app.error().message;
  const auto request = app->request(head("GET /api/f"), "");
  ASSERT_TRUE(request);
  const auto answer = [&](const char* body, const char* first = "HTTP/1.1 200 OK") { return app->answer(*request, first, body); };
  auto reply = answer(R"({"ReturnValue": {"StatusCode": "201", "headers": {"X": "a\r\nb", "Content-Type": "text/x"}, "body": "b"},
                          "Outputs": {"q": {"n": 1}}, "Logs": ["one", 2]})");
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->bytes, "HTTP/1.1 201 Answer\r\nContent-Type: text/x\r\nX: a  b\r\n\r\nb");
  EXPECT_EQ(reply->bytes.substr(reply->head_size), "b");
  EXPECT_EQ(reply->log, "one\n2\noutput q (queue): {\"n\":1}\n");
  EXPECT_TRUE(answer("{}")->bytes.starts_with("HTTP/1.1 204 "));
  EXPECT_TRUE(answer(R"({"ReturnValue": [1]})")->bytes.ends_with("\r\n\r\n[1]"));
  EXPECT_TRUE(answer(R"({"ReturnValue": {"status": 99}})")->bytes.starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(answer("[]").error().code, Code::internal);
  EXPECT_EQ(answer("{}", "HTTP/1.1 500 No").error().code, Code::internal);
  EXPECT_EQ(answer("{}", "HTTP").error().code, Code::internal);
}

TEST_F(AzureTest, ACustomHandlerRunByHand) {
  const auto app = custom(R"({"type": "timerTrigger", "direction": "in", "name": "t"},)" + std::string(kQueue));
  ASSERT_TRUE(app) << app.error().message;
  const auto request = app->request(head("POST /admin/functions/f"), "");
  ASSERT_TRUE(request && request->form == Form::data && request->by_hand);
  const Json call = Json::parse(request->bytes.substr(request->bytes.find("\r\n\r\n") + 4));
  EXPECT_EQ(call["Data"]["t"]["IsPastDue"], false);
  const auto reply = app->answer(*request, "HTTP/1.1 200 OK", R"({"Outputs": {"q": "m"}, "Logs": ["l"]})");
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->bytes.starts_with("HTTP/1.1 202 "));
  EXPECT_EQ(Json::parse(reply->bytes.substr(reply->head_size)), Json({{"Outputs", {{"q", "m"}}}, {"ReturnValue", nullptr}}));
  EXPECT_EQ(reply->log, "l\n");
}

}  // namespace
}  // namespace mayfly::worker
