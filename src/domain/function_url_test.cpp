#include "domain/function_url.h"

#include <gtest/gtest.h>

#include <set>

namespace mayfly::domain {
namespace {

TEST(FunctionUrl, IdsAreOfLettersAndDigits) {
  Random random(7);
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    ids.insert(make_url_id(random));
    EXPECT_TRUE(is_url_id(*ids.begin()));
  }
  EXPECT_EQ(ids.size(), 1000U);
  for (const char* other : {"", "abc", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", "abcdefghijklmnopqrstuvwxyz01234-"})
    EXPECT_FALSE(is_url_id(other)) << other;
}

TEST(FunctionUrl, IsReadFromItsSetting) {
  const std::string id = "abcdefghijklmnopqrstuvwxyz012345";
  const auto url = [&](std::string key, std::string document) {
    return Setting{std::string(kUrl), std::move(key), std::move(document), {}};
  };
  const Function function{.name = "web", .settings = {
      url("", R"({"id":")" + id + R"(","AuthType":"NONE","Cors":{"AllowOrigins":["*"],"AllowMethods":["GET"],"AllowHeaders":["a"],)"
              R"("ExposeHeaders":["b"],"AllowCredentials":true,"MaxAge":5}})"),
      url("live", R"({"id":")" + id + R"(","AuthType":"AWS_IAM"})"),
      url("old", R"({"AuthType":"NONE"})"), url("broken", "{"), {"aws.tag.x", "", "\"y\"", {}}}};
  const auto urls = urls_of(function);
  ASSERT_EQ(urls.size(), 2U);
  EXPECT_EQ(urls[0], (FunctionUrl{.id = id, .function = "web", .qualifier = "", .signs = false,
                                  .cors = Cors{.origins = {"*"}, .methods = {"GET"}, .headers = {"a"}, .exposed = {"b"},
                                               .credentials = true, .max_age = 5}}));
  EXPECT_EQ(urls[1], (FunctionUrl{.id = id, .function = "web", .qualifier = "live", .signs = true}));
}

}  // namespace
}  // namespace mayfly::domain
