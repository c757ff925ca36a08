#include "gateway/lambda_code.h"

#include <gtest/gtest.h>

namespace mayfly::gateway::lambda {
namespace {

std::string refusal(const char* body) {
  const auto manifest = manifest_in(Json::parse(body), {.name = "f"});
  return manifest ? "none" : manifest.error().message;
}

TEST(LambdaCode, ALongZipIsCutOutOfItsText) {
  const std::string zip(100'000, 'A');
  std::string body = R"({"Description": "a \"ZipFile\": \"x", "Tags": {"ZipFile": "short"}, "Code": {"ZipFile" : ")" + zip + R"("}})";
  EXPECT_EQ(cut_zip(body), zip);
  EXPECT_EQ(Json::parse(body)["Code"]["ZipFile"], "");
  EXPECT_EQ(Json::parse(body)["Tags"]["ZipFile"], "short");
  for (const std::string& text : std::vector<std::string>{"", R"({"ZipFile": "UEs="})", R"({"ZipFile": ")" + zip, R"(["ZipFile")"}) {
    std::string same = text;
    EXPECT_EQ(cut_zip(same), "");
    EXPECT_EQ(same, text);
  }
}

TEST(LambdaCode, Base64IsReadOrRefused) {
  EXPECT_EQ(*from_base64("", "x"), "");
  EXPECT_EQ(*from_base64("UEs=", "x"), "PK");
  EXPECT_EQ(*from_base64("UEsDBA==", "x"), std::string("PK\x03\x04"));
  for (const char* bad : {"UEs", "U Es", "UEs\n", "====", "UEs!", "    "}) EXPECT_FALSE(from_base64(bad, "x")) << bad;
}

TEST(LambdaCode, WhatIsSaidBecomesAManifest) {
  const auto manifest = manifest_in(Json::parse(R"({"Runtime": "python3.11", "Handler": "app.main", "Timeout": 7, "MemorySize": 256,
      "Environment": {"Variables": {"B": "2", "A": "1"}}, "Layers": [], "VpcConfig": {"SubnetIds": []}, "DeadLetterConfig": {},
      "EphemeralStorage": {"Size": 512}, "Architectures": ["x86_64"], "KMSKeyArn": ""})"), {.name = "f"});
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->handler, "app.main");
  EXPECT_EQ(manifest->resources.timeout, std::chrono::seconds(7));
  EXPECT_EQ(manifest->resources.memory, 256_MiB);
  EXPECT_EQ(manifest->environment, (std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"B", "2"}}));
  const auto later = manifest_in(Json::parse(R"({"Timeout": 8})"), *manifest);
  EXPECT_EQ(later->handler, "app.main") << "what is not said stays";
}

TEST(LambdaCode, WhatIsNotDoneIsRefusedByItsName) {
  EXPECT_EQ(refusal("{}"), "Runtime is missing: name what runs the code, like python3.11");
  EXPECT_NE(refusal(R"({"Runtime": "python3.1", "Handler": "a.b"})").find("python3.1"), std::string::npos);
  EXPECT_TRUE(refusal(R"({"Code": {"S3Bucket": "b"}})").starts_with("Code.S3Bucket \"b\" is not supported"));
  EXPECT_TRUE(refusal(R"({"PackageType": "Image"})").starts_with("PackageType \"Image\" is not supported"));
  EXPECT_TRUE(refusal(R"({"Architectures": ["arm64"]})").starts_with("Architectures.0 \"arm64\" is not supported"));
  EXPECT_TRUE(refusal(R"({"Layers": ["arn"]})").starts_with("Layers.0 \"arn\" is not supported"));
  EXPECT_TRUE(refusal(R"({"EphemeralStorage": {"Size": 1024}})").starts_with("EphemeralStorage.Size 1024"));
  EXPECT_TRUE(refusal(R"({"Runtime": "python3.11", "Handler": "a.b", "Timeout": "3"})").starts_with("Timeout is \"3\""));
  EXPECT_TRUE(refusal(R"({"Runtime": "python3.11", "Handler": "a.b", "Environment": {"Variables": {"A": 1}}})").starts_with("Environment"));
}

}  // namespace
}  // namespace mayfly::gateway::lambda
