#include "gateway/sigv4.h"

#include <gtest/gtest.h>

#include <vector>

namespace mayfly::gateway::sigv4 {
namespace {

using namespace std::chrono_literals;

const Keys kKeys{{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}};
const WallTime kThen{std::chrono::microseconds(1'440'938'160'000'000)};  // 2015-08-30 12:36:00

// Of AWS's published examples: the day's credential for a service.
std::string authorization(std::string_view service, std::string_view headers, std::string_view signature) {
  return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/" + std::string(service) +
         "/aws4_request, SignedHeaders=" + std::string(headers) + ", Signature=" + std::string(signature);
}

struct Sent {
  Method method = Method::get;
  std::string path = "/", query, body;
  std::vector<std::pair<std::string, std::string>> headers;

  std::string check(std::string_view service = "service", WallTime now = kThen) const {
    std::vector<HttpHeader> views;
    for (const auto& [name, value] : headers) views.push_back({name, value});
    const HttpRequest request{.method = method, .path = path, .query = query, .headers = views, .body = body, .body_size = body.size()};
    const auto refusal = sigv4::check(request, kKeys, now, service);
    return refusal ? refusal->type : "signed";
  }
};

Sent vanilla(Method method, const std::string& signature) {
  return {.method = method, .headers = {{"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"},
                                        {"Authorization", authorization("service", "host;x-amz-date", signature)}}};
}

TEST(SigV4, PublishedExamplesAreSigned) {
  // get-vanilla and post-vanilla of AWS's test suite.
  EXPECT_EQ(vanilla(Method::get, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31").check(), "signed");
  EXPECT_EQ(vanilla(Method::post, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b").check(), "signed");
  // get-vanilla-query-order-key-case: the query is sorted.
  Sent ordered = vanilla(Method::get, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
  ordered.query = "Param2=value2&Param1=value1";
  EXPECT_EQ(ordered.check(), "signed");
  // get-relative: "..".
  Sent relative = vanilla(Method::get, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  relative.path = "/example/..";
  EXPECT_EQ(relative.check(), "signed");
  // The guide's ListUsers of IAM.
  const Sent users{.query = "Action=ListUsers&Version=2010-05-08",
                   .headers = {{"Host", "iam.amazonaws.com"},
                               {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
                               {"X-Amz-Date", "20150830T123600Z"},
                               {"Authorization", authorization("iam", "content-type;host;x-amz-date",
                                                               "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")}}};
  EXPECT_EQ(users.check("iam"), "signed");
}

TEST(SigV4, WhatIsAnotherRequestIsNotSigned) {
  const Sent good = vanilla(Method::get, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  const auto changed = [&](auto change) {
    Sent sent = good;
    change(sent);
    return sent.check();
  };
  EXPECT_EQ(good.check("lambda"), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.method = Method::post; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.path = "/other"; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.query = "a=b"; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.body = "{}"; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers[0].second = "elsewhere"; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers.emplace_back("X-Amz-Invocation-Type", "Event"); }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers.emplace_back("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"); }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers[2].second.back() = '0'; }), "InvalidSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers.pop_back(); }), "MissingAuthenticationTokenException");
  EXPECT_EQ(changed([](Sent& s) { s.headers[2].second = "Basic abc"; }), "IncompleteSignatureException");
  EXPECT_EQ(changed([](Sent& s) { s.headers[1].second = "20150831T000000Z"; }), "IncompleteSignatureException") << "another day";
  EXPECT_EQ(changed([](Sent& s) { s.headers[2].second.replace(s.headers[2].second.find("AKIDEXAMPLE"), 4, "WHAT"); }),
            "UnrecognizedClientException");
  EXPECT_EQ(changed([](Sent& s) { s.headers[2].second = authorization("service", "x-amz-date", std::string(64, '0')); }),
            "InvalidSignatureException") << "Host must be signed";
}

TEST(SigV4, ASignatureHoldsForFiveMinutes) {
  const Sent good = vanilla(Method::get, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_EQ(good.check("service", {kThen.since_epoch + 5min}), "signed");
  EXPECT_EQ(good.check("service", {kThen.since_epoch - 5min}), "signed");
  EXPECT_EQ(good.check("service", {kThen.since_epoch + 5min + 1s}), "InvalidSignatureException");
  EXPECT_EQ(good.check("service", {kThen.since_epoch - 5min - 1s}), "InvalidSignatureException");
}

TEST(SigV4, KeysAreReadAndNeverTold) {
  EXPECT_EQ(*parse_keys(" a:0123456789abcdef  b:0123456789:bcdef "), (Keys{{"a", "0123456789abcdef"}, {"b", "0123456789:bcdef"}}));
  for (const char* bad : {"a", "secret-alone-of-some-length", ":0123456789abcdef", "a:short", "a/b:0123456789abcdef",
                          "a:0123456789abcdef a:0123456789abcdef"}) {
    const auto keys = parse_keys(bad);
    ASSERT_FALSE(keys) << bad;
    EXPECT_EQ(keys.error().message.find("0123456789abcdef"), std::string::npos);
    EXPECT_EQ(keys.error().message.find("secret-alone"), std::string::npos);
  }
}

}  // namespace
}  // namespace mayfly::gateway::sigv4
