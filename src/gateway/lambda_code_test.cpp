#include "gateway/lambda_code.h"

#include <gtest/gtest.h>

#include "gateway/lambda_images.h"

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

TEST(LambdaCode, AnImageIsNamedAndConfigured) {
  domain::Manifest manifest{.name = "f", .runtime = "container-lambda"};
  ASSERT_TRUE(set_image(Json::parse(R"({"ImageUri": "123.dkr.ecr.eu-central-1.amazonaws.com/shop/cart:1"})"), manifest));
  const auto made = manifest_in(Json::parse(R"({"Timeout": 7, "Layers": [], "Handler": null, "Runtime": "",
      "ImageConfig": {"EntryPoint": ["/x", ""], "Command": ["y"], "WorkingDirectory": "/srv"}})"), manifest);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->image.is_wanted());
  EXPECT_EQ(made->image.instead, (domain::ImageInstead{{"/x", ""}, {"y"}, "/srv"}));
  EXPECT_EQ(manifest_in(Json::parse(R"({"ImageConfig": null})"), *made)->image.instead, made->image.instead) << "it stays";
  EXPECT_EQ(manifest_in(Json::parse(R"({"ImageConfig": {}})"), *made)->image.instead, domain::ImageInstead{}) << "it goes";
  for (const char* bad : {R"({"Runtime": "python3.11"})", R"({"Handler": "a.b"})", R"({"Layers": ["x:1"]})", R"({"ImageConfig": 7})",
                          R"({"ImageConfig": {"Command": "x"}})", R"({"ImageConfig": {"EntryPoint": [7]}})",
                          R"({"ImageConfig": {"WorkingDirectory": "srv"}})"})
    EXPECT_FALSE(manifest_in(Json::parse(bad), *made)) << bad;
  EXPECT_FALSE(set_image(Json::parse(R"({"ImageUri": "cart:1"})"), manifest));
  EXPECT_FALSE(set_image(Json::parse("{}"), manifest));
  EXPECT_TRUE(*is_image(Json::parse(R"({"PackageType": "Image"})")) && !*is_image(Json::parse("{}")));
  EXPECT_FALSE(is_image(Json::parse(R"({"PackageType": "image"})")));
  EXPECT_FALSE(check_package(Json::parse(R"({"ImageUri": "a.b/c"})"), false));
  EXPECT_FALSE(check_package(Json::parse(R"({"S3Bucket": "bucket"})"), true));
}

TEST(LambdaCode, WhatIsNotDoneIsRefusedByItsName) {
  EXPECT_EQ(refusal("{}"), "Runtime is missing: name what runs the code, like python3.11");
  EXPECT_NE(refusal(R"({"Runtime": "python3.1", "Handler": "a.b"})").find("python3.1"), std::string::npos);
  EXPECT_TRUE(refusal(R"({"Runtime": "python3.11", "Handler": "a.b", "ImageConfig": {"Command": ["x"]}})").starts_with("ImageConfig"));
  EXPECT_TRUE(refusal(R"({"Architectures": ["arm64"]})").starts_with("Architectures.0 \"arm64\" is not supported"));
  EXPECT_TRUE(refusal(R"({"EphemeralStorage": {"Size": 1024}})").starts_with("EphemeralStorage.Size 1024"));
  EXPECT_TRUE(refusal(R"({"Runtime": "python3.11", "Handler": "a.b", "Timeout": "3"})").starts_with("Timeout is \"3\""));
  EXPECT_TRUE(refusal(R"({"Runtime": "python3.11", "Handler": "a.b", "Environment": {"Variables": {"A": 1}}})").starts_with("Environment"));
}

std::string layers(const std::string& list) {
  const auto manifest = manifest_in(Json::parse(R"({"Runtime": "python3.11", "Handler": "a.b", "Layers": )" + list + "}"), {.name = "f"});
  if (!manifest) return manifest.error().message;
  std::string all;
  for (const std::string& layer : manifest->layers) all += layer + " ";
  return all;
}

TEST(LambdaCode, LayersAreArnsOfVersions) {
  const auto arn = [](const std::string& rest) { return "\"arn:aws:lambda:eu-west-1:123456789012:layer:" + rest + "\""; };
  EXPECT_EQ(layers("[" + arn("a:1") + "," + arn("b:2") + "]"), "a:1 b:2 ");
  EXPECT_EQ(layers("[]"), "");
  EXPECT_TRUE(layers("[" + arn("a") + "]").starts_with("1 validation error detected"));
  EXPECT_TRUE(layers("[\"a:1\"]").starts_with("1 validation error detected"));
  EXPECT_TRUE(layers("[7]").starts_with("1 validation error detected"));
  EXPECT_TRUE(layers("\"a\"").starts_with("Layers is not a list"));
  EXPECT_TRUE(layers("[" + arn("a:1") + "," + arn("a:2") + "]").starts_with("Two different versions"));
}

TEST(LambdaCode, AZipIsInTheBodyOrInAStore) {
  EXPECT_EQ(zip_in(Json::parse(R"({"ZipFile": "UEsDBA=="})"), "")->base64, "UEsDBA==");
  EXPECT_EQ(zip_in(Json::parse(R"({"ZipFile": ""})"), "UEsDBA==")->base64, "UEsDBA==");
  const auto object = zip_in(Json::parse(R"({"S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v"})"), "");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->object.bucket + object->object.key + object->object.version, "bkv");
  for (const char* wrong : {"{}", R"({"S3Bucket": "b"})", R"({"S3Key": "k"})", R"({"ZipFile": "UEsDBA==", "S3Bucket": "b", "S3Key": "k"})",
                            R"({"ZipFile": "AAAA"})", R"({"ZipFile": "!"})"})
    EXPECT_FALSE(zip_in(Json::parse(wrong), "")) << wrong;
}

}  // namespace
}  // namespace mayfly::gateway::lambda
