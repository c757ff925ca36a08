// Which of an index's images is taken, and what starts; whole images are read in app/image_test.cpp.
#include "domain/container_image.h"

#include <gtest/gtest.h>

namespace mayfly::domain {
namespace {

using Words = std::vector<std::string>;

std::string entry(char digest, const std::string& more = "") {
  return R"({"mediaType": "m", "digest": "sha256:)" + std::string(64, digest) + R"(", "size": 7)" + more + "}";
}
std::string platform(const std::string& os, const std::string& architecture) {
  return R"(, "platform": {"os": ")" + os + R"(", "architecture": ")" + architecture + R"("})";
}
std::string chosen(const std::string& entries, const Choice& choice = {.what = "the index"}) {
  const auto found = choose_image(R"({"manifests": [)" + entries + "]}", choice);
  return found ? found->sha256.substr(0, 1) : found.error().message;
}

TEST(ContainerImage, OfAnIndexThisMachinesIsTaken) {
  const std::string here = entry('a', platform("linux", std::string(kImageArchitecture))), there = entry('b', platform("linux", "s390x"));
  EXPECT_EQ(chosen(there + "," + here + "," + entry('c', platform("windows", std::string(kImageArchitecture)))), "a");
  EXPECT_NE(chosen(there).find("linux/s390x"), std::string::npos);
  EXPECT_EQ(chosen(here + "," + entry('d', platform("unknown", "unknown"))), "a");
  EXPECT_NE(chosen(entry('d', platform("unknown", "unknown"))).find("names no image"), std::string::npos);
  EXPECT_NE(chosen(here + "," + entry('e')).find("there are 2 images"), std::string::npos);
  EXPECT_EQ(chosen(here + "," + entry('e'), {.what = "the index", .first = true}), "a");
  const std::string tagged = entry('f', R"(, "annotations": {"org.opencontainers.image.ref.name": "1.0"})");
  EXPECT_EQ(chosen(here + "," + tagged, {.what = "the index", .tag = "1.0"}), "f");
  EXPECT_NE(chosen(here, {.what = "the index", .tag = "1.0"}).find("no image with the tag '1.0'"), std::string::npos);
  for (const char* odd : {"{}", "7", "null", R"({"manifests": 7})", R"({"manifests": [7, null, []]})", "{"})
    EXPECT_FALSE(choose_image(odd, {.what = "the index"})) << odd;
  const auto both = choose_image(R"({"manifests": [], "layers": []})", {.what = "the index"});
  EXPECT_NE(both.error().message.find("one or the other"), std::string::npos);
}

TEST(ContainerImage, AManifestIsNoIndexAndHasLayersOfKnownKinds) {
  const std::string digest = R"("digest": "sha256:)" + std::string(64, 'a') + R"(", "size": 7)";
  const std::string config = R"("config": {"mediaType": "application/vnd.docker.container.image.v1+json", )" + digest + "}";
  const auto layer = [&](const std::string& type) { return R"({"mediaType": ")" + type + R"(", )" + digest + "}"; };
  const std::string fine = layer("application/vnd.docker.image.rootfs.diff.tar.gzip");
  const auto read = parse_image_manifest("{" + config + R"(, "layers": [)" + fine + "," + fine + "]}");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->layers.size(), 2u);
  EXPECT_FALSE(parse_image_manifest("{" + config + R"(, "layers": [)" + fine + R"(], "manifests": []})"));
  EXPECT_FALSE(parse_image_manifest("{" + config + R"(, "layers": []})"));
  EXPECT_FALSE(parse_image_manifest("{" + config + R"(, "layers": [)" + layer("application/x") + "]}"));
  EXPECT_FALSE(parse_image_manifest(R"({"layers": [)" + fine + "]}"));
  std::string many = fine;
  for (std::size_t i = 0; i < kImageLayersMax; ++i) many += "," + fine;
  EXPECT_FALSE(parse_image_manifest("{" + config + R"(, "layers": [)" + many + "]}"));
}

TEST(ContainerImage, WhatSpeaksLambdasRuntimeApi) {
  for (const Words& words : {Words{"/usr/bin/python3", "-m", "awslambdaric"}, Words{"/lambda-entrypoint.sh"},
                             Words{"/var/task/bootstrap", "x"}, Words{"npx", "aws-lambda-ric"}, Words{"bootstrap"}})
    EXPECT_TRUE(looks_like_lambda(words, {})) << words[0];
  EXPECT_TRUE(looks_like_lambda({"/x"}, {"LAMBDA_TASK_ROOT=/var/task"}));
  EXPECT_FALSE(looks_like_lambda({"/bin/server", "--bootstrap=no"}, {"X_LAMBDA_TASK_ROOT=/var/task", "A=LAMBDA_TASK_ROOT="}));
  EXPECT_FALSE(looks_like_lambda({}, {}));
}

}  // namespace
}  // namespace mayfly::domain
