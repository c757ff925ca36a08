#include "os/stack.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace mayfly::os {
namespace {

namespace fs = std::filesystem;

class StackFolders : public testing::Test {
 protected:
  void SetUp() override {
    root = fs::temp_directory_path() / ("mayfly-stack-" + std::to_string(::getpid()) + "-" +
                                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root);
    for (const char* folder : {"one", "two", "out", "outside"}) fs::create_directories(root / folder);
  }
  void TearDown() override { fs::remove_all(root); }
  void write(const std::string& path, const std::string& text = "") {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  std::string read(const std::string& path) {
    std::ifstream file(root / path);
    return file ? std::string(std::istreambuf_iterator<char>(file), {}) : "none";
  }
  Result<void> stack() { return stack_folders({(root / "one").string(), (root / "two").string()}, (root / "out").string()); }
  std::vector<std::string> names(const std::string& path) {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(root / path)) all.push_back(entry.path().filename());
    std::ranges::sort(all);
    return all;
  }
  fs::path root;
};

TEST_F(StackFolders, TheUpperLayerWins) {
  write("one/a", "1");
  write("one/d/b", "1");
  write("one/file/x", "1");
  write("two/d/b", "2");
  write("two/d/c", "2");
  write("two/file", "2");
  ASSERT_TRUE(stack());
  EXPECT_EQ(read("out/a") + read("out/d/b") + read("out/d/c") + read("out/file"), "1222");
  EXPECT_EQ(read("one/d/b"), "1") << "the layers stay as they are";
  EXPECT_EQ(fs::hard_link_count(root / "out/a"), 2u) << "a file is there once";
  EXPECT_EQ(fs::status(root / "out/d").permissions(), fs::perms(0755));
}

TEST_F(StackFolders, MergedFoldersHaveNoWhiteouts) {
  write("one/d/a", "1");
  write("one/d/b", "1");
  write("two/d/.wh.a", "a name");
  write("two/.wh..wh..opq", "another");
  write("two/d/b", "2");
  ASSERT_TRUE(merge_folders({(root / "one").string(), (root / "two").string()}, (root / "out").string()));
  EXPECT_EQ(read("out/d/a") + read("out/d/b") + read("out/d/.wh.a") + read("out/.wh..wh..opq"), "12a nameanother");
}

TEST_F(StackFolders, WhiteoutsTakeAway) {
  for (const char* path : {"one/a", "one/d/x", "one/d/y", "one/gone/z", "one/opaque/old", "two/opaque/new"}) write(path, "x");
  for (const char* path :
       {"two/.wh.a", "two/.wh.absent", "two/d/.wh.x", "two/.wh.gone", "two/opaque/.wh..wh..opq", "two/.wh..wh.aufs"})
    write(path);
  ASSERT_TRUE(stack());
  EXPECT_EQ(names("out"), (std::vector<std::string>{"d", "opaque"}));
  EXPECT_EQ(names("out/d"), (std::vector<std::string>{"y"}));
  EXPECT_EQ(names("out/opaque"), (std::vector<std::string>{"new"}));
  for (const char* bad : {"two/.wh.", "two/.wh..", "two/.wh..."}) {
    write(bad);
    const auto stacked = stack();
    ASSERT_FALSE(stacked) << bad;
    EXPECT_NE(stacked.error().message.find("names no file"), std::string::npos);
    fs::remove(root / bad);
  }
  EXPECT_EQ(names("."), (std::vector<std::string>{"one", "out", "outside", "two"})) << "nothing above was taken";
}

TEST_F(StackFolders, NoLinkIsFollowed) {
  write("outside/kept", "kept");
  for (const char* link : {"one/d", "one/e", "one/f"}) fs::create_directory_symlink(root / "outside", root / link);
  write("two/d/x", "x");
  write("two/e", "file");
  write("two/.wh.f");
  fs::create_symlink("/etc/shadow", root / "two/absolute");
  ASSERT_TRUE(stack());
  EXPECT_EQ(names("outside"), (std::vector<std::string>{"kept"}));
  EXPECT_EQ(read("out/d/x") + read("out/e"), "xfile");
  EXPECT_FALSE(fs::exists(fs::symlink_status(root / "out/f")));
  EXPECT_EQ(fs::read_symlink(root / "out/absolute"), "/etc/shadow") << "a link stays what it says";
}

TEST_F(StackFolders, WhatIsNeitherFileNorFolderIsRefused) {
  ASSERT_EQ(::mkfifo((root / "two/pipe").c_str(), 0600), 0);
  const auto stacked = stack();
  ASSERT_FALSE(stacked);
  EXPECT_NE(stacked.error().message.find("'pipe'"), std::string::npos);
}

TEST_F(StackFolders, APlaceIsMadeWhateverHasItsName) {
  write("outside/kept", "kept");
  fs::create_directory_symlink(root / "outside", root / "out/tmp");
  fs::create_directories(root / "out/etc");
  fs::create_symlink(root / "outside/kept", root / "out/etc/hosts");
  ASSERT_TRUE(replace_by_folder((root / "out").string(), "tmp"));
  ASSERT_TRUE(replace_by_folder((root / "out").string(), "tmp")) << "fine where it is";
  ASSERT_TRUE(replace_by_file((root / "out/etc").string(), "hosts", "own"));
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(root / "out/tmp")));
  EXPECT_EQ(read("out/etc/hosts") + read("outside/kept"), "ownkept");
}

}  // namespace
}  // namespace mayfly::os
