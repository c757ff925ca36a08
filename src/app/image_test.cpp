// Images as layouts and archives, what goes into the manifest of them, and what is refused.
#include "app/image.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "app/test_image.h"
#include "domain/manifest.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    root = fs::temp_directory_path() / ("mayfly-image-" + std::to_string(::getpid()) + "-" +
                                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root);
    fs::create_directories(root);
  }
  void TearDown() override { fs::remove_all(root); }
  std::string place() { return (root / std::to_string(++places)).string(); }

  Result<ImagePackage> read_layout(const TestImage& image, const std::string& tag = "", const std::string& manifest = "") {
    const std::string at = place();
    image.write_folder(at);
    return read_image(at + tag, manifest);
  }
  static domain::Manifest manifest_of(const Result<ImagePackage>& image) {
    EXPECT_TRUE(image) << image.error().message;
    if (!image) return {};
    const auto manifest = domain::parse_manifest(image->package.manifest);
    EXPECT_TRUE(manifest) << manifest.error().message << "\n" << image->package.manifest;
    return manifest.value_or(domain::Manifest{});
  }
  static std::string refusal(const Result<ImagePackage>& image) { return image ? "it was taken" : image.error().message; }
  // Of an image that is spoiled before its files are made.
  std::string spoiled(const std::function<void(TestImage&)>& spoil) {
    TestImage image;
    spoil(image);
    if (image.files.empty()) image.make_all();
    return refusal(read_layout(image));
  }
  fs::path root;
  int places = 0;
};

TEST_F(ImageTest, AFolderIsItsConfigurationAndItsLayers) {
  for (const bool zipped : {false, true}) {
    TestImage image;
    if (zipped) image.zip();
    image.make_all();
    const auto read = read_layout(image);
    const domain::Manifest manifest = manifest_of(read);
    EXPECT_EQ(manifest.image.entrypoint, Words{"/bin/app"});
    EXPECT_EQ(manifest.image.command, (Words{"a", "b"}));
    EXPECT_EQ(manifest.image.environment, (std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"EQUALS", "x=y"}}));
    EXPECT_EQ(manifest.image.directory, "/srv");
    EXPECT_EQ(manifest.image.user, "app:staff");
    EXPECT_EQ(manifest.runtime, "container-http");
    ASSERT_EQ(read->package.files.size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(read->package.files[i].file.path, "layer-00" + std::to_string(i));
      EXPECT_EQ(read->package.files[i].file.sha256, sha256_of(image.layers[i]));
      EXPECT_TRUE(read->package.files[i].file.archive);
    }
    EXPECT_EQ(read->package.size.count, image.layers[0].size() + image.layers[1].size());
  }
}

TEST_F(ImageTest, WhatTheConfigurationLeavesOutHasDefaults) {
  TestImage image;
  image.config["config"] = {{"Cmd", {"/x"}}, {"Env", nullptr}, {"User", ""}};
  image.make_all();
  const domain::Manifest manifest = manifest_of(read_layout(image));
  EXPECT_EQ(manifest.image, (domain::Image{.command = {"/x"}}));
}

TEST_F(ImageTest, TheManifestsOwnKeysStay) {
  TestImage image;
  image.make_all();
  const domain::Manifest manifest =
      manifest_of(read_layout(image, "", "name: cart\nimage: oci:x\nruntime: container-lambda\nhandler: a.b\n"));
  EXPECT_EQ(manifest.name, "cart");
  EXPECT_EQ(manifest.runtime, "container-lambda");
  EXPECT_EQ(manifest.handler, "a.b");
  EXPECT_EQ(manifest.image.command, (Words{"a", "b"}));
  EXPECT_NE(refusal(read_layout(image, "", "[a]")).find("not a mapping"), std::string::npos);
  EXPECT_NE(refusal(read_layout(image, "", "{")).find("not YAML"), std::string::npos);
}

TEST_F(ImageTest, ArchivesAreReadLikeFolders) {
  TestImage image;
  image.zip();
  image.make_all();
  const fs::path at = root / "oci.tar";
  image.write_archive(at);
  const auto read = read_image(at.string(), "");
  EXPECT_EQ(manifest_of(read).image.user, "app:staff");
  EXPECT_EQ(read->package.files[1].file.sha256, sha256_of(image.layers[1]));
  EXPECT_FALSE(read->held.empty()) << "its layers are files without a name";
}

TEST_F(ImageTest, WhatDockerSaveWrote) {
  TestImage image;
  image.make_docker("shop/cart:1");
  EXPECT_EQ(manifest_of(read_layout(image)).image.entrypoint, Words{"/bin/app"});
  EXPECT_EQ(manifest_of(read_layout(image, ":shop/cart:1")).image.entrypoint, Words{"/bin/app"});
  EXPECT_NE(refusal(read_layout(image, ":shop/cart:2")).find("shop/cart:1"), std::string::npos);
  // A layer that is there twice was written as a link to the first.
  image = {.layers = {"same", "same"}, .unzipped = {"same", "same"}};
  image.make_docker("x:1");
  image.files.erase("1/layer.tar");
  for (const bool hard : {false, true}) {
    const fs::path at = root / (hard ? "hard.tar" : "soft.tar");
    image.write_archive(at, {{"1/layer.tar", hard ? "0/layer.tar" : "../0/layer.tar"}}, hard);
    const auto read = read_image(at.string(), "");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->package.files[1].file.sha256, sha256_of("same"));
  }
  image.write_archive(root / "circle.tar", {{"1/layer.tar", "1/layer.tar"}});
  EXPECT_NE(refusal(read_image((root / "circle.tar").string(), "")).find("leads to nothing"), std::string::npos);
  image.write_archive(root / "out.tar", {{"1/layer.tar", "../../../etc/passwd"}});
  EXPECT_NE(refusal(read_image((root / "out.tar").string(), "")).find("leads to nothing"), std::string::npos);
}

TEST_F(ImageTest, OfSeveralTheOneForThisMachineAndTheOneThatIsNamed) {
  TestImage image;
  Json here = image.make(), arm = here, attested = here, unnamed = here;
  here["platform"] = {{"os", "linux"}, {"architecture", "amd64"}};
  arm["platform"] = {{"os", "linux"}, {"architecture", "arm64"}};
  attested["platform"] = {{"os", "unknown"}, {"architecture", "unknown"}};
  image.make_index({arm, here, attested});
  EXPECT_TRUE(read_layout(image));
  image.make_index({arm});
  EXPECT_NE(refusal(read_layout(image)).find("linux/arm64"), std::string::npos);
  Json one = here, two = here;
  one["annotations"]["org.opencontainers.image.ref.name"] = "1.0";
  two["annotations"]["org.opencontainers.image.ref.name"] = "shop/cart:2";
  image.make_index({one, two});
  EXPECT_NE(refusal(read_layout(image)).find("1.0, shop/cart:2"), std::string::npos);
  EXPECT_TRUE(read_layout(image, ":1.0"));
  EXPECT_TRUE(read_layout(image, ":shop/cart:2"));
  EXPECT_NE(refusal(read_layout(image, ":3")).find("'3'"), std::string::npos);
  // An index in an index, and one that never ends.
  image.make_index({here});
  const Json inner = image.add(image.files["index.json"], "application/vnd.oci.image.index.v1+json");
  image.make_index({inner});
  EXPECT_TRUE(read_layout(image));
}

TEST_F(ImageTest, WhatIsWrongIsSaid) {
  const std::pair<std::string, std::function<void(TestImage&)>> kCases[] = {
      {"layer 2, unzipped, of the image has the SHA-256",
       [](TestImage& i) {
         i.zip();
         i.unzipped[1] = "another";
       }},
      {"layer 1, unzipped, of the image has the SHA-256", [](TestImage& i) { i.unzipped[0] = "another"; }},
      {"layer 2 of the image can't be unzipped",
       [](TestImage& i) {
         i.zip();
         i.layers[1].resize(i.layers[1].size() - 12);
       }},
      {"2 layers, and its configuration 1", [](TestImage& i) { i.unzipped.pop_back(); }},
      {"2 layers, and its configuration 0", [](TestImage& i) { i.config["rootfs"] = 7; }},
      {"0 layers", [](TestImage& i) { i.layers.clear(); }},
      {"129 layers",
       [](TestImage& i) {
         i.layers.resize(129);
         i.unzipped = i.layers;
       }},
      {"linux/s390x", [](TestImage& i) { i.config["architecture"] = "s390x"; }},
      {"windows/amd64", [](TestImage& i) { i.config["os"] = "windows"; }},
      {"'tar/x' of layer 1", [](TestImage& i) { i.layer_type = "tar/x"; }},
      {"no container's image",
       [](TestImage& i) {
         i.more = {{"config", i.add("{}", "application/x")}};
         i.make_all();
       }},
      {"is no sha256",
       [](TestImage& i) {
         i.more = {{"config", 7}};
       }},
      {"says no size",
       [](TestImage& i) {
         i.more = {{"layers", {{{"mediaType", i.layer_type}, {"digest", "sha256:" + sha256_of("x")}}}}};
       }},
      {"is no sha256",
       [](TestImage& i) {
         i.more = {{"layers", {{{"digest", "sha256:../../../../etc/passwd"}, {"size", 1}}}}};
       }},
      {"which it names",
       [](TestImage& i) {
         i.make_all();
         i.files.erase("blobs/sha256/" + sha256_of(i.layers[1]));
       }},
      {"damaged or changed",
       [](TestImage& i) {
         i.make_all();
         i.files["blobs/sha256/" + sha256_of(i.layers[1])][0] ^= 1;
       }},
      {"should have 11",
       [](TestImage& i) {
         i.make_all();
         i.files["blobs/sha256/" + sha256_of(i.layers[1])] += "x";
       }},
      {"damaged or changed",
       [](TestImage& i) {
         i.make_all();
         i.files["blobs/sha256/" + sha256_of(i.config.dump())][2] ^= 1;
       }},
      {"not JSON", [](TestImage& i) { i.files["index.json"] = "{"; }},
      {"names no image", [](TestImage& i) { i.files["index.json"] = "[]"; }},
      {"neither index.json", [](TestImage& i) { i.files["other"] = ""; }},
      {"more than 4 MiB", [](TestImage& i) { i.files["index.json"] = std::string((4 << 20) + 1, ' '); }},
      {"0 images", [](TestImage& i) { i.files["manifest.json"] = "{}"; }},
      {"which it names", [](TestImage& i) { i.files["manifest.json"] = R"([{"Config": "../../x", "Layers": []}])"; }}};
  for (const auto& [text, spoil] : kCases) EXPECT_NE(spoiled(spoil).find(text), std::string::npos) << text << " / " << spoiled(spoil);
  EXPECT_EQ(spoiled([](TestImage&) {}), "it was taken");
  EXPECT_NE(refusal(read_image((root / "nowhere").string(), "")).find("is not there"), std::string::npos);
  std::ofstream(root / "text") << "no image";
  EXPECT_NE(refusal(read_image((root / "text").string(), "")).find("no image"), std::string::npos);
}

TEST(Image, WhatAManifestNames) {
  EXPECT_EQ(image_named_in("image: oci:./x.tar\n"), "oci:./x.tar");
  for (const char* none : {"", "image: {entrypoint: [x]}", "[image]", "name: x", "{", "image: [oci:x]"})
    EXPECT_EQ(image_named_in(none), "") << none;
}

}  // namespace
}  // namespace mayfly::app
