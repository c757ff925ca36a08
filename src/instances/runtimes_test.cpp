#include "instances/runtimes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;

class RuntimesTest : public testing::Test {
 protected:
  RuntimesTest() {
    char pattern[] = "/tmp/mayfly-runtimes-XXXXXX";
    root = fs::canonical(::mkdtemp(pattern));
  }
  ~RuntimesTest() override { fs::remove_all(root); }
  void add(const std::string& path, const std::string& bytes) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << bytes;
    fs::permissions(root / path, fs::perms::owner_all);
  }
  fs::path root;
};

constexpr const char* kElf = "\x7f" "ELF and more";

TEST_F(RuntimesTest, TheFirstProgramOfTheNameAndItsFolder) {
  add("shims/python3.99", "#!/bin/sh\n");       // what pyenv puts there
  add("opt/py/bin/python3.99", kElf);
  add("other/bin/python3.99", kElf);
  const std::string path = (root / "shims").string() + "::" + (root / "opt/py/bin").string() + ":" + (root / "other/bin").string();
  const auto runtime = find_runtime("python3.99", path, "");
  ASSERT_TRUE(runtime) << runtime.error().message;
  EXPECT_EQ(runtime->program, (root / "opt/py/bin/python3.99").string());
  EXPECT_EQ(runtime->folders.back(), (root / "opt/py").string());
  EXPECT_NE(std::ranges::find(runtime->folders, "/usr"), runtime->folders.end());
}

TEST_F(RuntimesTest, OfPyenvWhereThePathHasOnlyItsShim) {
  add("shims/python3.99", "#!/bin/sh\n");
  add(".pyenv/versions/3.99.2/bin/python3.99", kElf);
  add(".pyenv/versions/3.9.1/bin/python3.99", kElf);   // another version's folder
  const auto runtime = find_runtime("python3.99", (root / "shims").string(), root.string());
  ASSERT_TRUE(runtime) << runtime.error().message;
  EXPECT_EQ(runtime->folders.back(), (root / ".pyenv/versions/3.99.2").string());
}

TEST_F(RuntimesTest, WhatIsMissingIsNamed) {
  const auto missing = find_runtime("python3.99", root.string(), root.string());
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_TRUE(missing.error().message.starts_with("this machine has no python3.99: install it, or choose one that is there ("))
      << missing.error().message;
}

TEST_F(RuntimesTest, ABootstrapBringsItself) {
  EXPECT_EQ(find_runtime("provided.al2023", "", "")->program, "/var/task/bootstrap");
}

}  // namespace
}  // namespace mayfly::instances
