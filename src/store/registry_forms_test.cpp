#include "store/registry_forms.h"

#include <gtest/gtest.h>

namespace mayfly::store {
namespace {

std::string said(std::string_view header) {
  std::string text;
  for (const Challenge& challenge : parse_challenges(header)) {
    text += challenge.scheme + "(";
    for (const auto& [name, value] : challenge.parameters) text += name + "=" + value + ";";
    text += ")";
  }
  return text;
}

TEST(RegistryForms, ChallengesAreReadAsTheirGrammarHasThem) {
  EXPECT_EQ(said(R"(Bearer realm="https://auth.example/token",service="a b",scope="repository:x/y:pull,push")"),
            "bearer(realm=https://auth.example/token;scope=repository:x/y:pull,push;service=a b;)");
  EXPECT_EQ(said(R"(Basic Realm = "x \"y\"" , Bearer realm=z)"), R"(basic(realm=x "y";)bearer(realm=z;))");
  EXPECT_EQ(said("Negotiate, Basic realm=\"x\""), "negotiate()basic(realm=x;)");
  EXPECT_NE(said("Negotiate YWI/Yw==, Basic realm=\"x\"").find("basic(realm=x;)"), std::string::npos);
  for (const char* odd : {"", ",", "=", "\"", "a=", "realm=x", "Bearer realm=\"", "Bearer realm=\"\\", "\x01\x02", "@,@,Basic"})
    EXPECT_LE(parse_challenges(odd).size(), 1u) << odd;
  std::string many;
  for (int i = 0; i < 100; ++i) many += "Basic,";
  EXPECT_EQ(parse_challenges(many).size(), 16u);
}

TEST(RegistryForms, PlacesAreAnEndpointAndWhatMayBeSent) {
  const Endpoint from{.tls = true, .host = "registry.example", .port = 443, .authority = "registry.example"};
  const auto place = [&](std::string_view url) {
    const auto read = parse_place(url, from);
    return read ? (read->endpoint.tls ? "https " : "http ") + read->endpoint.authority + " " + read->target : std::string("refused");
  };
  EXPECT_EQ(place("https://Blobs.Example/a/b?c=%2F&d#e"), "https blobs.example /a/b?c=%2F&d");
  EXPECT_EQ(place("http://127.0.0.1:9000"), "http 127.0.0.1:9000 /");
  EXPECT_EQ(place("http://[::1]:9000?x"), "http [::1]:9000 /?x");
  EXPECT_EQ(place("/v2/x?y"), "https registry.example /v2/x?y");
  for (const std::string& odd : {std::string(), std::string("//other.example/x"), std::string("x/y"), std::string("file:///etc/passwd"),
                                 std::string("https://u:p@h/x"), std::string("https://h@other/x"), std::string("https:///x"),
                                 std::string("https://h/a b"), std::string("https://h/\r\nX: y"), std::string("/\x7f"),
                                 std::string("https://h\\@other/"), std::string("gopher://h/x"), "/" + std::string(9000, 'a')})
    EXPECT_EQ(place(odd), "refused") << odd;
  EXPECT_TRUE(same_endpoint(*parse_endpoint("https://a.b"), *parse_endpoint("https://A.B:443")));
  EXPECT_FALSE(same_endpoint(*parse_endpoint("https://a.b"), *parse_endpoint("http://a.b:443")));
  EXPECT_FALSE(same_endpoint(*parse_endpoint("https://a.b"), *parse_endpoint("https://a.b:444")));
}

TEST(RegistryForms, TokensFitIntoAHeader) {
  EXPECT_EQ(*parse_token(R"({"token": "a.b-c_d=", "access_token": "z"})"), "a.b-c_d=");
  EXPECT_EQ(*parse_token(R"({"access_token": "z"})"), "z");
  for (const char* odd : {"", "[]", "{}", R"({"token": ""})", R"({"token": 7})", R"({"token": "a b"})", R"({"token": "a\r\nX: y"})"})
    EXPECT_FALSE(parse_token(odd)) << odd;
  EXPECT_FALSE(parse_token(R"({"token": ")" + std::string(20'000, 'a') + "\"}"));
}

TEST(RegistryForms, RefusalsSayWhatTheySay) {
  const Refusal known = parse_refusal(404, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown","detail":{}}]})");
  EXPECT_EQ(known.code + "|" + known.text, "MANIFEST_UNKNOWN|MANIFEST_UNKNOWN, manifestunknown");
  EXPECT_EQ(parse_refusal(404, R"({"errors":[{"code":"DENIED"}]})").text, "DENIED");
  for (const char* odd : {"", "<html>", "{}", R"({"errors":[]})", R"({"errors":[7]})", R"({"errors":{}})", R"({"errors":[{"code":7}]})"})
    EXPECT_EQ(parse_refusal(503, odd).text, "status 503") << odd;
}

}  // namespace
}  // namespace mayfly::store
