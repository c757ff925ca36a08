#include "instances/runtimes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "domain/code_order.h"

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

TEST_F(RuntimesTest, OfAMajorVersionTheOldestThatIsNotOlder) {
  const auto add_node = [&](const std::string& folder, const std::string& major) {
    add(folder + "/bin/node", kElf);
    add(folder + "/include/node/node_version.h", "/* head */\n#define NODE_MAJOR_VERSION " + major + "\n");
  };
  add_node("a", "97");
  add_node("b", "94");
  add_node("c", "91");
  const std::string path = (root / "a/bin").string() + ":" + (root / "b/bin").string() + ":" + (root / "c/bin").string();
  EXPECT_EQ(find_runtime("nodejs94.x", path, "")->program, (root / "b/bin/node").string());
  EXPECT_EQ(find_runtime("nodejs92.x", path, "")->program, (root / "b/bin/node").string());
  EXPECT_EQ(find_runtime("nodejs95.x", path, "")->folders.back(), (root / "a").string());
  const auto missing = find_runtime("nodejs98.x", path, "");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_TRUE(missing.error().message.starts_with("this machine has no Node.js 98 or newer for nodejs98.x: install it"))
      << missing.error().message;
  EXPECT_NE(missing.error().message.find("94 at " + (root / "b/bin/node").string()), std::string::npos) << missing.error().message;
}

TEST_F(RuntimesTest, VersionsAreReadFromWhatLiesBesideAProgram) {
  add(".nvm/versions/node/v93.1.0/bin/node", kElf);
  add("npm/bin/node", kElf);
  add("npm/package.json", "{\"name\": \"node\", \"version\": \"95.2.0\"}");
  add("jdk/bin/java", kElf);
  add("jdk/release", "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"96.0.1\"\n");
  EXPECT_EQ(find_runtime("nodejs93.x", "", root.string())->program, (root / ".nvm/versions/node/v93.1.0/bin/node").string());
  EXPECT_EQ(find_runtime("nodejs94.x", (root / "npm/bin").string(), root.string())->program, (root / "npm/bin/node").string());
  EXPECT_EQ(find_runtime("java90", (root / "jdk/bin").string(), "")->program, (root / "jdk/bin/java").string());
  EXPECT_TRUE(find_runtime("java97", (root / "jdk/bin").string(), "").error().message.starts_with("this machine has no Java 97 or newer"));
}

TEST_F(RuntimesTest, ANodeOfAnUnknownVersionComesLast) {
  add("a/bin/node", kElf);
  EXPECT_EQ(find_runtime("nodejs99.x", (root / "a/bin").string(), "")->program, (root / "a/bin/node").string());
}

TEST(RuntimeArguments, AnEngineIsToldWhatMemoryItHas) {
  const Runtime runtime{.program = "/p", .folders = {}};
  EXPECT_EQ(arguments_of(runtime, "python3.11", "a.b", 256_MiB),
            (std::vector<std::string>{"/p", "-c", std::string(domain::kPythonRuntime)}));
  EXPECT_EQ(arguments_of(runtime, "nodejs20.x", "a.b", 1000_MiB).at(1), "--max-old-space-size=800");
  const auto java = arguments_of(runtime, "java17", "a.B::c", 1000_MiB);
  EXPECT_EQ(java.at(1), "-Xmx600m");
  EXPECT_EQ(java.back(), "a.B::c");
  EXPECT_EQ(arguments_of(runtime, "provided", "h", 1_GiB), (std::vector<std::string>{"/p"}));
}

TEST(RuntimeArguments, WhatTheUserSaysOfTheJvmTakesThePlaceOfOurs) {
  const auto with = [](std::vector<std::string> environment) {
    std::vector<std::string> arguments = java_arguments({.program = "/p", .folders = {}}, 1000_MiB);
    leave_to_users_options(environment, arguments);
    return arguments;
  };
  const auto all = with({"A=-Xmx1m", "JAVA_TOOL_OPTIONS=-Xss2m"});
  EXPECT_EQ(all, java_arguments({.program = "/p", .folders = {}}, 1000_MiB));
  const auto without = [&](std::string_view option) {
    auto rest = all;
    std::erase(rest, option);
    return rest;
  };
  EXPECT_EQ(with({"JAVA_TOOL_OPTIONS=-Xmx100m"}), without("-Xmx600m"));
  EXPECT_EQ(with({"JDK_JAVA_OPTIONS=-XX:MaxRAMPercentage=75"}), without("-Xmx600m"));
  EXPECT_EQ(with({"JAVA_TOOL_OPTIONS=-Xss2m -XX:+UseParallelGC"}), without("-XX:+UseSerialGC")) << "a JVM dies of two collectors";
  EXPECT_EQ(with({"_JAVA_OPTIONS=-XX:-TieredCompilation"}), without("-XX:TieredStopAtLevel=1"));
}

TEST_F(RuntimesTest, ABootstrapBringsItself) {
  EXPECT_EQ(find_runtime("provided.al2023", "", "")->program, "/var/task/bootstrap");
}

}  // namespace
}  // namespace mayfly::instances
