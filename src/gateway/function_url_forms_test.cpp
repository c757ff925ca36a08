#include "gateway/function_url_forms.h"

#include <gtest/gtest.h>

#include <vector>

#include "domain/json.h"

namespace mayfly::gateway {
namespace {

using Json = nlohmann::json;

const std::string kId = "abcdefghijklmnopqrstuvwxyz012345";

struct Event {
  Json json;
  std::string body;
};

Event event_of(HttpRequest request, std::string_view path = "/", std::string_view key = {}) {
  const std::string lines = url_event_lines(
      request, {.id = kId, .path = path, .request_id = "an-id", .trace = "Root=1-2-3", .access_key = key,
                .now = {std::chrono::microseconds(1'583'348'638'390'123)}});
  const std::size_t end = lines.find("\r\n"), event = lines.find(": ") + 2;
  EXPECT_EQ(lines.substr(0, event), "Mayfly-Url-Event: ");
  const std::string second = lines.substr(end + 2);
  EXPECT_TRUE(second.starts_with("Mayfly-Url-Body: ") && second.ends_with("\r\n")) << second;
  return {Json::parse(lines.substr(event, end - event)), second.substr(17, second.size() - 19)};
}

HttpRequest request_of(std::vector<HttpHeader>& headers, std::string_view query = {}) {
  return {.method = Method::post, .method_text = "POST", .path = "/any", .query = query, .headers = headers};
}

TEST(FunctionUrlEvent, SaysWhatLambdasSays) {
  std::vector<HttpHeader> headers{{"Host", "127.0.0.1:8080"}, {"User-Agent", "me"}, {"X-A", "1"}, {"x-a", "2"}, {"Cookie", "a=1; b=2"},
                                  {"cookie", " c=3"}, {"Connection", "close"}, {"Content-Length", "9"}, {"Content-Type", "text/plain"}};
  HttpRequest request = request_of(headers, "a=1&b=%20x&a=2+3&bad=%zz&=v");
  request.body_size = 3;
  const auto [event, body] = event_of(std::move(request), "/my%20path");
  EXPECT_EQ(body, "text");
  EXPECT_EQ(event["rawPath"], "/my%20path");
  EXPECT_EQ(event["rawQueryString"], "a=1&b=%20x&a=2+3&bad=%zz&=v");
  EXPECT_EQ(event["queryStringParameters"], Json({{"a", "1,2 3"}, {"b", " x"}, {"bad", "%zz"}, {"", "v"}}));
  EXPECT_EQ(event["cookies"], Json({"a=1", "b=2", "c=3"}));
  EXPECT_EQ(event["headers"], Json({{"host", "127.0.0.1:8080"}, {"user-agent", "me"}, {"x-a", "1,2"}, {"cookie", "a=1; b=2;  c=3"},
                                    {"content-type", "text/plain"}, {"content-length", "3"}, {"x-forwarded-for", "127.0.0.1"},
                                    {"x-forwarded-proto", "http"}, {"x-forwarded-port", "8080"}, {"x-amzn-trace-id", "Root=1-2-3"}}));
  const Json context = event["requestContext"];
  EXPECT_EQ(context["time"], "04/Mar/2020:19:03:58 +0000");
  EXPECT_EQ(context["timeEpoch"], 1'583'348'638'390);
  EXPECT_EQ(context["http"], Json({{"method", "POST"}, {"path", "/my%20path"}, {"protocol", "HTTP/1.1"}, {"sourceIp", "127.0.0.1"},
                                   {"userAgent", "me"}}));
  EXPECT_EQ(context["domainName"], kId + ".lambda-url.us-east-1.on.aws");
  EXPECT_EQ(context["accountId"], "anonymous");
  EXPECT_FALSE(context.contains("authorizer"));
}

TEST(FunctionUrlEvent, SaysWhoSignedAndNotHow) {
  std::vector<HttpHeader> headers{{"Host", "x"}, {"Authorization", "AWS4-HMAC-SHA256 …"}};
  const Json event = event_of(request_of(headers), "/", "AKID").json;
  EXPECT_EQ(event["requestContext"]["authorizer"]["iam"]["accessKey"], "AKID");
  EXPECT_EQ(event["requestContext"]["accountId"], "000000000000");
  EXPECT_FALSE(event["headers"].contains("authorization"));
  headers[1] = {"Authorization", "Bearer x"};
  EXPECT_EQ(event_of(request_of(headers)).json["headers"]["authorization"], "Bearer x");
}

TEST(FunctionUrlEvent, BodiesAreTextByTheirType) {
  for (const auto& [type, kind] :
       {std::pair("text/csv", "text"), std::pair("Application/JSON; charset=utf-8", "text"), std::pair("application/xml", "text"),
        std::pair("application/javascript", "text"), std::pair("application/x-www-form-urlencoded", "bytes"),
        std::pair("application/octet-stream", "bytes"), std::pair("", "bytes"), std::pair("textual", "bytes")}) {
    std::vector<HttpHeader> headers{{"Host", "x"}, {"Content-Type", type}};
    EXPECT_EQ(event_of(request_of(headers)).body, kind) << type;
  }
}

TEST(FunctionUrlHost, IsAUrlsOwnOrNone) {
  for (const std::string& host : {kId + ".lambda-url.us-east-1.on.aws", kId + ".LAMBDA-url.eu-west-1.localhost:8080",
                                  kId + ".lambda-url.a.on.aws:1"})
    EXPECT_EQ(url_id_of_host(host), kId) << host;
  for (const std::string& host : {std::string(), kId, kId + ".lambda-url.us-east-1.on.aws.example.com", kId + ".lambda-url.localhost",
                                  "x" + kId + ".lambda-url.a.on.aws", kId.substr(1) + ".lambda-url.us-east-1.on.aws",
                                  kId + ".lambda-url.a.b.on.aws", kId + ".lambda-url..on.aws",
                                  kId.substr(1) + "-.lambda-url.a.on.aws"})
    EXPECT_EQ(url_id_of_host(host), "") << host;
}

std::string lines_for(const domain::Cors& cors, std::string_view origin, bool preflight) {
  std::vector<HttpHeader> headers{{"Host", "x"}, {"Origin", origin}, {"Access-Control-Request-Method", "PUT"},
                                  {"Access-Control-Request-Headers", "x-q"}};
  HttpRequest request = request_of(headers);
  request.method = Method::options;
  EXPECT_EQ(is_preflight(request), !origin.empty());
  return preflight ? preflight_lines(cors, request) : cors_lines(cors, request);
}

TEST(FunctionUrlCors, TellsWhatIsConfiguredToWhoMay) {
  const domain::Cors cors{.origins = {"https://a"}, .methods = {"GET", "PUT"}, .headers = {"x-a"}, .exposed = {"x-b", "x-c"},
                          .max_age = 60};
  const std::string allowed = "Access-Control-Allow-Origin: https://a\r\nVary: Origin\r\n";
  EXPECT_EQ(lines_for(cors, "https://a", true), allowed + "Access-Control-Allow-Methods: GET,PUT\r\nAccess-Control-Allow-Headers: x-a\r\n"
                                                          "Access-Control-Max-Age: 60\r\n");
  EXPECT_EQ(lines_for(cors, "https://a", false), allowed + "Access-Control-Expose-Headers: x-b,x-c\r\n");
  EXPECT_EQ(lines_for(cors, "https://b", true), "");
  EXPECT_EQ(lines_for(cors, "", false), "");
  const domain::Cors any{.origins = {"*"}, .methods = {"*"}, .headers = {"*"}};
  EXPECT_EQ(lines_for(any, "https://b", true), "Access-Control-Allow-Origin: *\r\nVary: Origin\r\nAccess-Control-Allow-Methods: *\r\n"
                                               "Access-Control-Allow-Headers: *\r\n");
  const domain::Cors trusted{.origins = {"*"}, .methods = {"*"}, .headers = {"*"}, .credentials = true};
  EXPECT_EQ(lines_for(trusted, "https://b", true),
            "Access-Control-Allow-Origin: https://b\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
            "Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: x-q\r\n");
}

TEST(FunctionUrlCors, WhatTheFunctionSaysOfItIsDropped) {
  EXPECT_EQ(without_cors("A: b\r\nAccess-Control-Allow-Origin: *\r\nACCESS-CONTROL-max-age: 1\r\nC: access-control-x\r\n"),
            "A: b\r\nC: access-control-x\r\n");
  EXPECT_EQ(without_cors(""), "");
}

TEST(FunctionUrlRefusal, IsInLambdasWords) {
  EXPECT_EQ(url_refusal({Code::exhausted, "secret"}, true).status, 429);
  EXPECT_EQ(url_refusal({Code::invalid_argument, "too large"}, true).status, 413);
  EXPECT_EQ(url_refusal({Code::invalid_argument, "no such input"}, false).status, 400);
  for (const Code code : {Code::internal, Code::deadline_exceeded, Code::unavailable, Code::not_found}) {
    const HttpReply reply = url_refusal({code, "secret"}, false);
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(reply.body, "Internal Server Error");
  }
  EXPECT_EQ(url_not_there().body, "{\"Message\":null}");
}

}  // namespace
}  // namespace mayfly::gateway
