#include "worker/url_event.h"

#include <gtest/gtest.h>

#include <array>

#include "domain/function_url.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;

std::string lines(const std::string& kind, const std::string& event = R"({"version":"2.0"})") {
  return "Lambda-Runtime-Trace-Id: x\r\nMayfly-Url-Event: " + event + "\r\nMayfly-Url-Body: " + kind + "\r\n";
}

Json event(std::string_view body, const std::string& kind) { return Json::parse(url_event(body, lines(kind)).value()); }

TEST(UrlEvent, IsCompletedWithTheBody) {
  EXPECT_EQ(event("", "text"), Json({{"version", "2.0"}, {"isBase64Encoded", false}}));
  EXPECT_EQ(event("", "bytes"), Json({{"version", "2.0"}, {"isBase64Encoded", false}}));
  const std::string text = "gr\xc3\xbc\xc3\x9f\"\\\n";
  EXPECT_EQ(event(text, "text"), Json({{"version", "2.0"}, {"body", text}, {"isBase64Encoded", false}}));
  EXPECT_EQ(event("\xff", "text"), Json({{"version", "2.0"}, {"body", "/w=="}, {"isBase64Encoded", true}}));  // no UTF-8
  const std::array<std::pair<const char*, const char*>, 5> kForms{{{"a", "YQ=="}, {"ab", "YWI="}, {"abc", "YWJj"}, {"abcd", "YWJjZA=="},
                                                                   {"\xfb\xff\xfe", "+//+"}}};
  for (const auto& [bytes, encoded] : kForms) EXPECT_EQ(event(bytes, "bytes")["body"], encoded);
}

TEST(UrlEvent, HasALimit) {
  const std::string most(domain::kUrlEventMax - 100, 'x');
  EXPECT_TRUE(url_event(most, lines("text")));
  for (const auto& [body, kind] : {std::pair(std::string(domain::kUrlEventMax, 'x'), "text"), std::pair(most, "bytes"),
                                   std::pair(std::string(domain::kUrlEventMax / 2, '"'), "text")}) {
    const auto made = url_event(body, lines(kind));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Code::invalid_argument);
  }
  EXPECT_FALSE(url_event("x", "Lambda-Runtime-Trace-Id: x\r\n"));
}

std::string answer(std::string_view text) {
  const auto made = url_answer({.text = text, .content_type = {}});
  if (!made) return made.error().message;
  EXPECT_EQ(made->bytes.find("\r\n\r\n") + 4, made->head_size);
  return made->bytes;
}

TEST(UrlAnswer, WithoutAStatusItIsTheBody) {
  const std::string head = "HTTP/1.1 200 \r\nContent-Type: application/json\r\n\r\n";
  EXPECT_EQ(answer(R"({"a" : [1, 2.50, "x \" y\\"], "body": ""})"), head + R"({"a":[1,2.50,"x \" y\\"],"body":""})");
  EXPECT_EQ(answer(R"("h\u00e9 \"")"), head + "h\xc3\xa9 \"");
  EXPECT_EQ(answer(" 12345678901234567890123 "), head + "12345678901234567890123");
  EXPECT_EQ(answer("null"), head + "null");
  EXPECT_EQ(answer(R"([{"statusCode": 201}])"), head + R"([{"statusCode":201}])");
}

TEST(UrlAnswer, WithAStatusItIsTheAnswer) {
  EXPECT_EQ(answer(R"({"statusCode": 204})"), "HTTP/1.1 204 \r\nContent-Type: application/json\r\n\r\n");
  EXPECT_EQ(answer(R"({"statusCode": 201, "headers": {"content-TYPE": "a/b", "X": 1, "y": false, "z": null}, )"
                   R"("cookies": ["a=1", "b=2"], "body": "t"})"),
            "HTTP/1.1 201 \r\ncontent-TYPE: a/b\r\nX: 1\r\ny: false\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nt");
  EXPECT_EQ(answer(R"({"statusCode": 200, "headers": null, "cookies": null, "isBase64Encoded": null, "body": {"a": [1]}})"),
            "HTTP/1.1 200 \r\nContent-Type: application/json\r\n\r\n{\"a\":[1]}");
  EXPECT_TRUE(answer(R"({"statusCode": 200, "body": "AAH/", "isBase64Encoded": true})").ends_with(std::string("\r\n\r\n\0\x01\xff", 7)));
  EXPECT_TRUE(answer(R"({"statusCode": 200, "body": "YQ", "isBase64Encoded": true})").ends_with("\r\n\r\na"));  // without padding
}

TEST(UrlAnswer, WhatIsNoneSaysWhy) {
  const std::array<std::pair<const char*, const char*>, 15> kCases{{
      {"", "no JSON"}, {"{", "no JSON"}, {R"({"statusCode": "200"})", "statusCode is \"200\""}, {R"({"statusCode": 200.5})", "statusCode"},
      {R"({"statusCode": null})", "statusCode is null"}, {R"({"statusCode": 199})", "statusCode"}, {R"({"statusCode": 600})", "statusCode"},
      {R"({"statusCode": 200, "headers": []})", "headers are no object"}, {R"({"statusCode": 200, "headers": {"a:": "b"}})", "header 'a:'"},
      {R"({"statusCode": 200, "headers": {"a": "b\nc"}})", "header 'a'"}, {R"({"statusCode": 200, "headers": {"a": {}}})", "header 'a'"},
      {R"({"statusCode": 200, "cookies": [1]})", "cookies"}, {R"({"statusCode": 200, "cookies": ["a\u0000"]})", "Set-Cookie"},
      {R"({"statusCode": 200, "isBase64Encoded": true, "body": "a b="})", "no base64"},
      {R"({"statusCode": 200, "isBase64Encoded": 1})", "neither true nor false"}}};
  for (const auto& [text, why] : kCases) EXPECT_NE(answer(text).find(why), std::string::npos) << text << ": " << answer(text);
  EXPECT_NE(answer(R"({"statusCode": 200, "headers": {"a": ")" + std::string(70'000, 'x') + "\"}}").find("64 KiB"), std::string::npos);
}

TEST(UrlAnswer, OfAStreamIsItsBytesBehindItsPrelude) {
  constexpr std::string_view kType = "application/vnd.awslambda.http-integration-response";
  const std::string end(8, '\0');
  const std::string prelude = R"({"statusCode": 202, "headers": {"A": "b"}, "cookies": ["c=d"]})" + end + "body";
  EXPECT_EQ(url_answer({.text = prelude, .content_type = kType, .streamed = true})->bytes,
            "HTTP/1.1 202 \r\nA: b\r\nSet-Cookie: c=d\r\nContent-Type: application/octet-stream\r\n\r\nbody");
  EXPECT_EQ(url_answer({.text = "{}" + end, .content_type = kType, .streamed = true})->bytes,
            "HTTP/1.1 200 \r\nContent-Type: application/octet-stream\r\n\r\n");
  EXPECT_EQ(url_answer({.text = "{\"statusCode\": 1", .content_type = "text/html", .streamed = true})->bytes,
            "HTTP/1.1 200 \r\nContent-Type: text/html\r\n\r\n{\"statusCode\": 1");
  for (const std::string& text : {std::string("{}"), "[]" + end, "{" + end, R"({"statusCode": "2"})" + end})
    EXPECT_FALSE(url_answer({.text = text, .content_type = kType, .streamed = true})) << text;
}

}  // namespace
}  // namespace mayfly::worker
