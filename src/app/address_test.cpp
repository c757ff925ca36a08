#include "app/address.h"

#include <gtest/gtest.h>

#include "app/client.h"

namespace mayfly::app {
namespace {

TEST(Address, ReadsUrls) {
  const std::pair<const char*, const char*> cases[] = {
      {"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
      {"localhost", "http://localhost:8080"},
      {"127.0.0.1:9", "http://127.0.0.1:9"},
      {"http://[::1]:81/", "http://[::1]:81"},
      {"http://host/prefix/", "http://host:8080/prefix"},
  };
  for (const auto& [text, url] : cases) {
    const auto address = parse_url(text);
    ASSERT_TRUE(address) << text << ": " << address.error().message;
    EXPECT_EQ(address->url(), url);
  }
}

TEST(Address, RefusesWhatNamesNoNode) {
  for (const char* text : {"", "http://", "https://host", "ftp://host", "http://host:0", "http://host:99999", "http://host:x", "http://a b",
                           "http://host\r\nX: y", "http://user@host", "[::1", "host:"}) {
    const auto address = parse_url(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, Code::invalid_argument);
    EXPECT_NE(address.error().message.find("http://127.0.0.1:8080"), std::string::npos) << "it says what to write";
  }
}

TEST(Address, EncodesSegments) {
  EXPECT_EQ(encode("fraud:live"), "fraud:live");
  EXPECT_EQ(encode("$LATEST"), "$LATEST");
  EXPECT_EQ(encode("a/b c%\xc3\xa4"), "a%2Fb%20c%25%C3%A4");
}

TEST(Client, SaysWhatToDoWhereNobodyListens) {
  const Client client(*parse_url("http://127.0.0.1:1"));
  const auto reply = client.call({.path = "/api/node"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::unavailable);
  EXPECT_NE(reply.error().message.find("no node answers at http://127.0.0.1:1"), std::string::npos);
  EXPECT_NE(reply.error().message.find("mayfly serve"), std::string::npos);
}

TEST(Client, TakesTheErrorsOfBothForms) {
  HttpReply reply;
  reply.status = 404;
  reply.body = R"({"error": {"code": "not_found", "message": "no function 'x'"}})";
  EXPECT_EQ(error_of(reply).message, "no function 'x'");
  EXPECT_EQ(error_of(reply).code, Code::not_found);
  reply.body = R"({"error": "plain\u001b[2J"})";
  EXPECT_EQ(error_of(reply).message, "plain\\x1b[2J");
  reply.status = 502;
  reply.body = "<html>";
  EXPECT_EQ(error_of(reply).message, "the node answered with status 502 and no message");
  EXPECT_EQ(error_of(reply).code, Code::internal);
}

TEST(Nearest, FindsMisspeltNamesAndNothingFar) {
  const std::vector<std::string> known{"fraud", "photos", "sentences", "digits"};
  EXPECT_EQ(nearest("fruad", known), std::vector<std::string>{"fraud"});
  EXPECT_EQ(nearest("sent", known), std::vector<std::string>{"sentences"});
  EXPECT_EQ(nearest("photo", known), std::vector<std::string>{"photos"});
  EXPECT_TRUE(nearest("weather", known).empty());
  EXPECT_TRUE(nearest("", known).empty());
}

}  // namespace
}  // namespace mayfly::app
