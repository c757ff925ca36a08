// What the parts promise together. The disk that is full is a real one: a small tmpfs, for root only.
#include "store/store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "os/disk.h"
#include "os/process.h"
#include "store/test_folder.h"

namespace mayfly::store {
namespace {

domain::Version version_of(std::vector<domain::FileRef> files) {
  domain::Version version{.files = std::move(files)};
  version.manifest.model = "m.onnx";
  return version;
}

Result<domain::FileRef> upload(Store& store, std::string_view text) {
  TRY(const auto upload, store.artifacts().begin());
  TRY_VOID(upload->append(std::as_bytes(std::span(text))));
  return upload->finish();
}

TEST(Store, OneNodeADirectory) {
  const TestFolder folder;
  auto pipe = *os::make_pipe();
  auto child = os::fork_child(std::move(pipe.second), [&](os::Fd ready) {
    const auto store = Store::open({.folder = folder});
    if (store) [[maybe_unused]] const auto written = ::write(ready.get(), "!", 1);
    ::pause();
    return 0;
  });
  ASSERT_TRUE(child);
  char byte = 0;
  while (::read(pipe.first.get(), &byte, 1) != 1) ::usleep(1000);
  const auto second = Store::open({.folder = folder});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::conflict);
  EXPECT_EQ(second.error().message, "another node (process " + std::to_string(child->pid) + ") holds " + (folder / "lock") +
                                        ": stop it, or use another data directory");
  os::end(*child);
  EXPECT_TRUE(Store::open({.folder = folder}));
}

TEST(Store, ADirectoryThatCantBeMadeIsSaidToBe) {
  const auto store = Store::open({.folder = "/nonexistent/data"});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::not_found);
  EXPECT_NE(store.error().message.find("/nonexistent/data"), std::string::npos);
}

TEST(Store, GarbageIsWhatNoVersionNames) {
  const TestFolder folder;
  auto store = *Store::open({.folder = folder, .artifact_grace = {}});
  const auto kept = *upload(*store, "kept"), old = *upload(*store, "old");
  const auto added = store->catalog().add_version("f", version_of({kept}), "live");
  ASSERT_TRUE(added);
  auto collected = store->collect_garbage();
  ASSERT_TRUE(collected) << collected.error().message;
  EXPECT_EQ(collected->files, 1);
  EXPECT_TRUE(store->artifacts().has(kept.sha256));
  EXPECT_FALSE(store->artifacts().has(old.sha256));
  ASSERT_TRUE(store->catalog().remove_function(added->function));
  EXPECT_EQ(store->collect_garbage()->files, 1);
  EXPECT_FALSE(store->artifacts().has(kept.sha256));
}

TEST(Store, WhatWasJustUploadedIsNotGarbage) {
  const TestFolder folder;
  auto store = *Store::open({.folder = folder});
  const auto file = *upload(*store, "soon deployed");
  EXPECT_EQ(store->collect_garbage()->files, 0);
  EXPECT_TRUE(store->artifacts().has(file.sha256));
}

class FullDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || std::system(("mount -t tmpfs -o size=3m mayfly-test " + disk_ + " 2>/dev/null").c_str()) != 0)
      GTEST_SKIP() << "needs root and mount";
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(std::system(("umount -l " + disk_).c_str()), 0);
  }
  std::unique_ptr<Store> open() {
    auto store = Store::open({.folder = disk_, .usage = {.segment = {256 << 10}}});
    EXPECT_TRUE(store) << (store ? "" : store.error().message);
    return store ? *std::move(store) : nullptr;
  }
  // Takes all the room but about `left` bytes.
  void fill(std::uint64_t left) {
    std::uint64_t size = 4 << 20;
    const auto fd = os::open_file(ballast_, os::OpenMode::create_new);
    ASSERT_TRUE(fd);
    while (size > 4096 && !os::reserve_space(fd->get(), size, ballast_)) size -= 4096;
    ASSERT_TRUE(os::cut_file(fd->get(), size > left ? size - left : 0, ballast_));
  }
  void clear() { ASSERT_TRUE(os::remove_file(ballast_)); }

  const TestFolder folder_;
  const std::string disk_ = folder_;
  const std::string ballast_ = folder_ / "ballast";
  bool mounted_ = false;
};

TEST_F(FullDisk, AnUploadThatDoesNotFitLeavesNothing) {
  const auto store = open();
  const std::string block(64 << 10, 'x');
  {
    const auto going = *store->artifacts().begin();
    Result<void> written;
    for (int i = 0; i < 100 && written; ++i) written = going->append(std::as_bytes(std::span(block)));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, Code::exhausted);
    EXPECT_TRUE(written.error().message.starts_with("the disk is full: cannot write " + disk_ + "/uploads/1")) << written.error().message;
    EXPECT_FALSE(going->append(std::as_bytes(std::span("a", 1))));
    EXPECT_EQ(going->finish().error().code, Code::exhausted);
  }
  EXPECT_TRUE(os::list_folder(disk_ + "/uploads")->empty());
  EXPECT_TRUE(os::list_folder(disk_ + "/artifacts")->empty());
  EXPECT_TRUE(upload(*store, block));
}

TEST_F(FullDisk, TheCatalogKeepsWhatItAcknowledged) {
  auto store = open();
  fill(200 << 10);
  int acknowledged = 0;
  Result<Added> added = Added{};
  while (acknowledged < 5000) {
    added = store->catalog().add_version("f" + std::to_string(acknowledged), version_of({}), "live");
    if (!added) break;
    ++acknowledged;
  }
  ASSERT_FALSE(added) << "3 MB held 5000 functions";
  EXPECT_EQ(added.error().code, Code::exhausted) << added.error().message;
  EXPECT_GT(acknowledged, 5);
  for (int round = 0; round < 2; ++round) {
    const auto functions = store->catalog().load();
    ASSERT_TRUE(functions) << functions.error().message;
    EXPECT_EQ(functions->size(), static_cast<std::size_t>(acknowledged));
    for (const domain::Function& function : *functions) EXPECT_EQ(function.aliases.size(), 1U);
    if (round == 0) {
      clear();
      store.reset();
      store = open();
    }
  }
  EXPECT_TRUE(store->catalog().add_version("after", version_of({}), "live"));
}

TEST_F(FullDisk, CallsGoOnWithoutUsageRecords) {
  const auto store = open();
  UsageLog& usage = store->usage();
  fill(600 << 10);
  for (int i = 0; i < 6000; ++i) usage.append({.function = 1, .version = 1, .arrived_us = i});
  EXPECT_GT(usage.lost(), 1000U);
  const auto trouble = usage.take_trouble();
  ASSERT_TRUE(trouble);
  EXPECT_EQ(trouble->code, Code::exhausted);
  EXPECT_NE(trouble->message.find("the disk is full"), std::string::npos);
  EXPECT_FALSE(usage.take_trouble()) << "said once";
  const std::uint64_t before = usage.lost(), kept = 6000 - before;
  clear();
  for (int i = 0; i < 2000; ++i) usage.append({.function = 1, .version = 1, .arrived_us = i});
  EXPECT_LE(usage.lost() - before, 1024U) << "it tries again";
  EXPECT_EQ(usage.recent(0, 10000, {}).size(), kept + 2000 - (usage.lost() - before));
}

TEST(Store, WhatLiesOutsideAPackageIsNotInIt) {
  namespace fs = std::filesystem;
  const TestFolder folder;
  const auto store = *Store::open({.folder = folder});
  Packages& packages = store->packages();
  const std::string sha(64, 'a');
  const auto work = packages.new_folder();
  ASSERT_TRUE(work);
  fs::create_directory(*work + "/lib");
  std::ofstream(*work + "/lib/client.jar") << "jar";
  fs::create_directory_symlink(".", *work + "/d");
  fs::create_directory_symlink("d/d/d/../../..", *work + "/up");  // by its letters it stays inside
  EXPECT_FALSE(packages.has(sha));
  ASSERT_TRUE(packages.adopt(*work, sha));
  EXPECT_TRUE(packages.has(sha));
  EXPECT_TRUE(packages.holds(sha, "lib/client.jar"));
  EXPECT_TRUE(packages.holds(sha, "d/lib/client.jar"));
  EXPECT_FALSE(packages.holds(sha, "up/catalog.db"));
  EXPECT_FALSE(packages.holds(sha, "../" + sha));
  EXPECT_EQ(packages.names_in(sha, "lib"), std::vector<std::string>{"client.jar"});
  EXPECT_EQ(packages.names_in(sha, "up"), std::vector<std::string>{});
  packages.collect([](const std::string&) { return false; });
  EXPECT_FALSE(packages.has(sha)) << "its archive is gone";
}

TEST(Store, LayersBecomeOneRootForAllOfTheirImage) {
  namespace fs = std::filesystem;
  const TestFolder folder;
  const auto store = *Store::open({.folder = folder});
  Packages& packages = store->packages();
  const std::vector<std::string> layers{std::string(64, 'a'), std::string(64, 'b')};
  for (const std::string& layer : layers) {
    const auto work = packages.new_folder();
    ASSERT_TRUE(work);
    std::ofstream(*work + "/" + layer.substr(0, 1)) << layer[0];
    fs::create_symlink("/outside", *work + "/tmp");
    ASSERT_TRUE(packages.adopt(*work, layer_name(layer)));
  }
  const std::string name = image_name(layers), root = packages.path_of(name) + kImageRoot;
  EXPECT_NE(name, image_name({layers[1], layers[0]}));
  ASSERT_TRUE(packages.stack(layers));
  ASSERT_TRUE(packages.stack(layers)) << "fine where it is";
  EXPECT_TRUE(fs::exists(root + "/a") && fs::exists(root + "/b") && fs::exists(root + "/etc/hosts"));
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(root + "/tmp"))) << "a place to mount on, whatever the layers say";
  packages.collect([&](const std::string& sha256) { return sha256 == layers[0]; });
  EXPECT_TRUE(packages.has(layer_name(layers[0])));
  EXPECT_FALSE(packages.has(layer_name(layers[1])) || packages.has(name)) << "one of its layers is gone";
  EXPECT_FALSE(packages.stack({layers[0], std::string(64, 'c')})) << "a layer that is not there";
}

}  // namespace
}  // namespace mayfly::store
