#include "store/objects.h"

#include <gtest/gtest.h>

namespace mayfly::store {
namespace {

// "Authenticating Requests: Using the Authorization Header", Amazon S3's API reference: its example of a bucket's lifecycle.
TEST(Objects, AreAskedForWithTheSignatureOfTheReference) {
  const ObjectStore store{.endpoint = "https://s3.amazonaws.com", .key_id = "AKIAIOSFODNN7EXAMPLE",
                          .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
  const WallTime now{std::chrono::seconds(1369353600)};  // 2013-05-24T00:00:00Z
  const std::string head = signed_head({.path = "/", .query = "lifecycle=", .host = "examplebucket.s3.amazonaws.com"}, store, now);
  EXPECT_NE(head.find("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("x-amz-date: 20130524T000000Z\r\n"), std::string::npos);
  EXPECT_EQ(head.find(store.secret), std::string::npos);
  EXPECT_EQ(signed_head({.path = "/", .query = "", .host = "h"}, {}, now), "Host: h\r\n") << "without a key it is not signed";
}

TEST(Objects, EndpointsAreAHostAndAPort) {
  const auto plain = parse_endpoint("http://127.0.0.1:9000");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host + "|" + std::to_string(plain->port) + "|" + plain->authority, "127.0.0.1|9000|127.0.0.1:9000");
  const auto tls = parse_endpoint("https://s3.example.com/");
  ASSERT_TRUE(tls && tls->tls);
  EXPECT_EQ(tls->authority + "|" + std::to_string(tls->port), "s3.example.com|443");
  const auto six = parse_endpoint("http://[::1]:9000");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->host + "|" + six->authority, "::1|[::1]:9000");
  for (const char* wrong : {"", "s3.example.com", "ftp://x", "http://", "http://a b", "http://a/b", "http://u@h", "http://h:0",
                            "http://h:x",
                            "http://h:70000", "http://[::1", "http://h\r\nX: y"})
    EXPECT_FALSE(parse_endpoint(wrong)) << wrong;
}

// Refused before anything is connected to: the endpoint's port is nobody's.
TEST(Objects, NamesThatLeadElsewhereAreNotAskedFor) {
  const ObjectStore store{.endpoint = "http://127.0.0.1:1", .buckets = {"code"}};
  const std::atomic<bool> stop = false;
  const auto code_of = [&](const std::string& bucket, const std::string& key) {
    const auto got = fetch_object(store, bucket, key, "", {}, stop, [](std::span<const std::byte>) -> Result<void> { return {}; });
    return got ? Code{} : got.error().code;
  };
  EXPECT_EQ(code_of("code", "a/b.zip"), Code::unavailable);
  EXPECT_EQ(code_of("other", "a"), Code::permission_denied);
  for (const char* bucket : {"", "ab", "CODE", "a/b", "a..b", "a@evil.example", "-ab", "ab.", "a b"})
    EXPECT_EQ(code_of(bucket, "a"), Code::invalid_argument) << bucket;
  for (const std::string& key : {std::string(), std::string(".."), std::string("../x"), std::string("a/../b"), std::string("a/.."),
                                 std::string("./a"), std::string("a\0b", 3), std::string(1025, 'a')})
    EXPECT_EQ(code_of("code", key), Code::invalid_argument) << key;
}

}  // namespace
}  // namespace mayfly::store
