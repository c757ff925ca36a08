// Heads of requests and answers that pass through, as text.
#include "gateway/forward.h"

#include <gtest/gtest.h>

#include <vector>

#include "domain/frame.h"

namespace mayfly::gateway {
namespace {

std::string forwarded(const std::vector<HttpHeader>& headers, Method method = Method::get, std::uint64_t body_size = 0,
                      std::string_view query = "") {
  HttpRequest request;
  request.method = method;
  request.method_text = name(method);
  request.query = query;
  request.headers = headers;
  request.body_size = body_size;
  return forward_head(request, "/a%20b", "call-7");
}

TEST(ForwardHead, SaysWhoAskedAndKeepsTheRest) {
  EXPECT_EQ(forwarded({{"Host", "shop:81"}, {"X-Own", "a, b"}}, Method::get, 0, "x=1"),
            "GET /a%20b?x=1 HTTP/1.1\r\nHost: shop:81\r\nX-Own: a, b\r\nForwarded: for=127.0.0.1;host=\"shop:81\";proto=http\r\n"
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Request-Id: call-7\r\n\r\n");
}

TEST(ForwardHead, WhatAProxySaidBeforeIsKept) {
  const std::string head = forwarded({{"forwarded", "for=192.0.2.7"}, {"x-forwarded-for", "192.0.2.7"}, {"X-Forwarded-Proto", "https"},
                                      {"X-Request-Id", "theirs"}});
  EXPECT_NE(head.find("Host: localhost\r\n"), head.npos) << head;
  EXPECT_NE(head.find("Forwarded: for=192.0.2.7, for=127.0.0.1;host=\"localhost\";proto=https\r\n"), head.npos) << head;
  EXPECT_NE(head.find("X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n"), head.npos) << head;
  EXPECT_EQ(head.find("theirs"), head.npos) << head;
}

TEST(ForwardHead, HopByHopHeadersAreLeftOut) {
  const std::string head = forwarded({{"Connection", "keep-alive, X-Hop ,\tx-too"}, {"X-HOP", "1"}, {"X-Too", "1"}, {"TE", "trailers"},
                                      {"Upgrade", "h2c"}, {"Expect", "100-continue"}, {"Transfer-Encoding", "chunked"},
                                      {"Content-Length", "999"}, {"X-Hope", "stays"}});
  EXPECT_NE(head.find("X-Hope: stays\r\n"), head.npos);
  for (const char* gone : {"X-HOP:", "X-Too", "TE:", "Upgrade", "Expect", "chunked", "999", "keep-alive"})
    EXPECT_EQ(head.find(gone), head.npos) << gone << " in " << head;
}

TEST(ForwardHead, ALengthIsTheBodysOwn) {
  EXPECT_NE(forwarded({}, Method::post, 12).find("Content-Length: 12\r\n"), std::string::npos);
  EXPECT_NE(forwarded({}, Method::post).find("Content-Length: 0\r\n"), std::string::npos);
  EXPECT_EQ(forwarded({}, Method::get).find("Content-Length"), std::string::npos);
  EXPECT_NE(forwarded({}, Method::get, 1).find("Content-Length: 1\r\n"), std::string::npos);
}

TEST(PutAroundBody, InTheFrameWhileItFitsElseInAMemfd) {
  HttpRequest small;
  small.body = "body";
  small.body_size = 4;
  ASSERT_TRUE(put_around_body("head", "tail", small));
  EXPECT_EQ(small.body, "headbodytail");
  EXPECT_EQ(small.body_size, 12U);
  EXPECT_FALSE(small.body_memfd);
  HttpRequest grows;
  grows.body = std::string(domain::kInlineMax, 'x');
  grows.body_size = domain::kInlineMax;
  ASSERT_TRUE(put_around_body("head", "", grows));
  ASSERT_TRUE(grows.body_memfd && grows.body.empty());
  ASSERT_TRUE(os::is_sealed(grows.body_memfd.get(), grows.body_size));
  ASSERT_TRUE(put_around_body("more", "last", grows));         // of a memfd, too
  EXPECT_EQ(grows.body_size, domain::kInlineMax + 12);
  const auto text = os::map_file(grows.body_memfd.get(), grows.body_size, os::Access::read);
  ASSERT_TRUE(text);
  EXPECT_TRUE(text->text().starts_with("moreheadxx") && text->text().ends_with("xxlast"));
}

TEST(ReadAnswerHead, StatusAndEndToEndHeaders) {
  const auto head = read_answer_head("HTTP/1.1 201 Made\r\nX: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nDate: then\r\n"
                                     "Y:\t two \r\n"
                                     "Content-Length: 7\r\nX-Request-Id: a\r\nX-Mayfly-Cold: 1\r\n\r\n");
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->status, 201);
  EXPECT_EQ(head->lines, "X: 1\r\nY: two\r\n");
  EXPECT_EQ(head->length, 7U);
  EXPECT_FALSE(read_answer_head("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n")->length);
  EXPECT_FALSE(read_answer_head("HTTP/1.1 200 OK\r\nContent-Length: seven\r\n\r\n")->length);
}

TEST(ReadAnswerHead, WhatIsNoHeadIsRefused) {
  const std::string long_line = "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n";
  const std::vector<std::string_view> wrong = {"", "\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
                                      "HTTP/1.1 199 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA b: x\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nA: x\ny\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nA: x\x01\r\n\r\n", "HTTP/1.1 200 OK\r\n A: x\r\n\r\n",
                                      long_line};
  for (const std::string_view text : wrong) {
    const auto head = read_answer_head(text);
    ASSERT_FALSE(head) << text.substr(0, 60);
    EXPECT_EQ(head.error().code, Code::internal);
  }
}

}  // namespace
}  // namespace mayfly::gateway
