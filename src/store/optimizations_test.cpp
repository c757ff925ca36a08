#include "store/optimizations.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "os/disk.h"
#include "store/test_folder.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

std::string text_of(const std::string& path) { return os::read_file(path, 1_MiB).value_or(""); }

class OptimizationsTest : public testing::Test {
 protected:
  TestFolder folder;
  Optimizations kept{std::string(folder) + "/optimizations"};
  std::unique_ptr<Artifacts> artifacts = *Artifacts::open(folder);
};

TEST_F(OptimizationsTest, WhatASearchLeftIsOpenToTheNextOne) {
  const auto work = kept.open_work(VersionId{7});
  ASSERT_TRUE(work) << work.error().message;
  fs::create_directory(*work + "/.x.optimize");
  std::ofstream(*work + "/.x.optimize/state.json") << "{}";
  fs::permissions(*work + "/.x.optimize/state.json", fs::perms(0600));
  fs::permissions(*work + "/.x.optimize", fs::perms(0700));
  std::ofstream(std::string(folder) + "/outside") << "secret";
  fs::permissions(std::string(folder) + "/outside", fs::perms(0600));
  fs::create_symlink(std::string(folder) + "/outside", *work + "/link");
  ASSERT_TRUE(kept.open_work(VersionId{7}));
  EXPECT_EQ(fs::status(*work + "/.x.optimize/state.json").permissions(), fs::perms(0666));
  EXPECT_EQ(fs::status(*work + "/.x.optimize").permissions(), fs::perms(0777));
  EXPECT_EQ(fs::status(std::string(folder) + "/outside").permissions(), fs::perms(0600)) << "a link leads nowhere";
  const fs::perms above = fs::status(std::string(folder) + "/optimizations").permissions();
  EXPECT_EQ(above & fs::perms(0077), fs::perms::none) << "nobody else comes here";
}

TEST_F(OptimizationsTest, WhatIsTakenIsACopyOfAFileAndNeverALink) {
  const std::string work = *kept.open_work(VersionId{7});
  std::ofstream(work + "/optimized.onnx") << "a model";
  ASSERT_TRUE(kept.has(VersionId{7}, "optimized.onnx"));
  const auto file = kept.take(VersionId{7}, "optimized.onnx", *artifacts);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->size.count, 7u);
  std::ofstream(work + "/optimized.onnx") << "another";
  EXPECT_EQ(text_of(artifacts->path_of(file->sha256)), "a model");

  std::ofstream(std::string(folder) + "/secret") << "secret";
  fs::create_symlink(std::string(folder) + "/secret", work + "/link");
  fs::create_directory(work + "/folder");
  for (const char* name : {"link", "folder", "none"}) {
    EXPECT_FALSE(kept.has(VersionId{7}, name)) << name;
    EXPECT_FALSE(kept.take(VersionId{7}, name, *artifacts)) << name;
  }
}

TEST_F(OptimizationsTest, SamplesStayUntilItIsDropped) {
  std::ofstream(std::string(folder) + "/samples") << "numbers";
  EXPECT_EQ(kept.samples_of(VersionId{7}), "");
  ASSERT_TRUE(kept.keep_samples(VersionId{7}, std::string(folder) + "/samples", ".npz"));
  fs::remove(std::string(folder) + "/samples");
  EXPECT_EQ(text_of(kept.samples_of(VersionId{7})), "numbers");
  EXPECT_EQ(fs::path(kept.samples_of(VersionId{7})).extension(), ".npz");
  ASSERT_TRUE(kept.open_work(VersionId{8}));
  ASSERT_TRUE(kept.open_work(VersionId{9}));
  kept.drop_others({VersionId{7}, VersionId{8}});
  kept.drop(VersionId{8});
  EXPECT_EQ(*os::list_folder(std::string(folder) + "/optimizations"), std::vector<std::string>{"7"});
}

}  // namespace
}  // namespace mayfly::store
