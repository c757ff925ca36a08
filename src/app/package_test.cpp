#include "app/package.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

class PackageTest : public testing::Test {
 protected:
  void SetUp() override {
    root = fs::temp_directory_path() / ("mayfly-package-" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "-" +
                                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root);
    fs::create_directories(root / "f");
  }
  void TearDown() override { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  }
  static std::vector<std::string> names(const Package& package) {
    std::vector<std::string> all;
    for (const auto& file : package.files) all.push_back(file.file.path);
    return all;
  }
  fs::path root;
};

TEST_F(PackageTest, AFolderIsItsManifestAndItsFiles) {
  write("f/function.yaml", "name: fraud\n");
  write("f/model.onnx", "model");
  write("f/weights/part1.bin", "12");
  write("f/.git/config", "no");
  write("f/.hidden", "no");
  write("f/__pycache__/x.pyc", "no");
  fs::create_symlink("model.onnx", root / "f/same.onnx");
  const auto package = read_package((root / "f").string());
  ASSERT_TRUE(package) << package.error().message;
  EXPECT_EQ(package->manifest, "name: fraud\n");
  EXPECT_EQ(names(*package), (std::vector<std::string>{"model.onnx", "same.onnx", "weights/part1.bin"}));
  EXPECT_EQ(package->size.count, 12u);
  EXPECT_TRUE(read_package((root / "f/function.yaml").string())) << "the manifest names its folder";
}

TEST_F(PackageTest, AFileAloneNeedsNoManifest) {
  write("model.onnx", "abc");
  const auto package = read_package((root / "model.onnx").string());
  ASSERT_TRUE(package);
  EXPECT_EQ(package->manifest, "");
  EXPECT_EQ(names(*package), std::vector<std::string>{"model.onnx"});
  const auto file = open_file(package->files[0].location);
  ASSERT_TRUE(file);
  std::uint64_t last = 0;
  EXPECT_EQ(hash_file(file->get(), [&](std::uint64_t done) { last = done; }).value_or(""),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(last, 3u);
}

TEST_F(PackageTest, RefusesWhatLeavesTheFolderOrIsNoFile) {
  write("secret", "s");
  write("f/model.onnx", "m");
  const auto refused = [&](const char* word) {
    const auto package = read_package((root / "f").string());
    return !package && package.error().message.find(word) != std::string::npos;
  };
  fs::create_symlink("../secret", root / "f/link");
  EXPECT_TRUE(refused("leaves the folder"));
  fs::remove(root / "f/link");
  fs::create_symlink("nowhere", root / "f/link");
  EXPECT_TRUE(refused("points nowhere"));
  fs::remove(root / "f/link");
  fs::create_directory(root / "f/sub");
  fs::create_directory_symlink("sub", root / "f/link");
  EXPECT_TRUE(refused("points to a folder"));
  fs::remove(root / "f/link");
  for (int i = 0; i < 70; ++i) write("f/many/" + std::to_string(i), "");
  EXPECT_TRUE(refused("more than 64 files"));
}

TEST_F(PackageTest, SaysWhatIsMissing) {
  EXPECT_NE(read_package((root / "absent").string()).error().message.find("can't be opened"), std::string::npos);
  EXPECT_NE(read_package((root / "f").string()).error().message.find("has no model"), std::string::npos);
}

TEST(Overrides, ArePutIntoTheManifest) {
  EXPECT_EQ(with_overrides("name: a # as it is\n", {}).value_or(""), "name: a # as it is\n");
  Overrides overrides;
  overrides.min = 1;
  overrides.memory = "512MiB";
  EXPECT_EQ(with_overrides("", overrides).value_or(""), "scaling:\n  min: 1\nresources:\n  memory: 512MiB\n");
  EXPECT_EQ(with_overrides("name: a\nscaling: {min: 0, max: 5}\n", overrides).value_or(""),
            "name: a\nscaling: {min: 1, max: 5}\nresources:\n  memory: 512MiB\n");
  EXPECT_EQ(with_overrides("", {.runtime = "python3.11", .handler = "app.main"}).value_or(""), "runtime: python3.11\nhandler: app.main\n");
  EXPECT_FALSE(with_overrides("- a\n", overrides));
  EXPECT_FALSE(with_overrides("a: [", overrides));
}

}  // namespace
}  // namespace mayfly::app
