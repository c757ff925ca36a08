#include "instances/start_caches.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "instances/built.h"
#include "instances/runtimes.h"

namespace mayfly::instances {
namespace {

domain::CodeOrder java_order() {
  domain::CodeOrder code{.arguments = java_arguments({.program = "/jdk/bin/java", .folders = {}}, 512_MiB), .environment = {"A=1"}};
  code.arguments.emplace_back("example.Main");
  return code;
}

StartOrder order_of(const std::string& runtime) {
  StartOrder order;
  order.runtime = runtime;
  order.timeout = std::chrono::minutes(1);
  return order;
}

TEST(StartCachesTest, AStartWithAnArchiveHasItsJarsInFront) {
  domain::CodeOrder code = java_order();
  const std::vector<std::string> plain = code.arguments;
  use_start_cache(order_of("java17"), code);
  ASSERT_EQ(code.arguments.size(), plain.size() + 1);
  const auto path = std::ranges::find(code.arguments, "-cp");
  ASSERT_NE(path, code.arguments.end());
  EXPECT_EQ(*(path - 1), "-XX:SharedArchiveFile=/var/start-cache/classes.jsa");
  EXPECT_EQ(*(path + 1), "/var/task/lib/*:/var/task");
  EXPECT_EQ(code.arguments.back(), "example.Main");
}

// What Maven built, and layers: another class path than the package's alone. A layer's jar never comes before the package's classes.
TEST(StartCachesTest, AClassPathLosesNothing) {
  domain::CodeOrder code = java_order();
  const auto path = std::ranges::find(code.arguments, "-cp") + 1;
  *path = "/d/runtime/*:/var/task:/var/task/lib/*:/opt/java/lib/*:/d/lib/*";
  EXPECT_EQ(plan_start_cache(order_of("java17"), code).dump.back(), "/d/runtime/*:/var/task/lib/*:/d/lib/*");
  use_start_cache(order_of("java17"), code);
  EXPECT_EQ(*(std::ranges::find(code.arguments, "-cp") + 1), "/d/runtime/*:/var/task/lib/*:/d/lib/*:/var/task:/opt/java/lib/*");
}

TEST(StartCachesTest, WhatWasBuiltStaysOnTheClassPath) {
  domain::CodeOrder code = java_order();
  run_what_was_built("java17", "", "/var/dependencies", code.arguments);
  const domain::CodeOrder before = code;
  use_start_cache(order_of("java17"), code);
  const std::string jars = "/var/dependencies/runtime/*:/var/task/lib/*:/var/dependencies/lib/*";
  EXPECT_EQ(*(std::ranges::find(code.arguments, "-cp") + 1), jars + ":/var/task");
  EXPECT_EQ(plan_start_cache(order_of("java17"), before).dump.back(), jars);
}

TEST(StartCachesTest, OneThatIsCutShortIsNone) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("mayfly-start-caches-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / domain::kClassData) << "0123456789";
  EXPECT_FALSE(is_whole(folder, order_of("java17"))) << "nobody said how long it is";
  std::ofstream(folder / domain::kClassDataSize) << "10";
  EXPECT_TRUE(is_whole(folder, order_of("java17")));
  std::filesystem::resize_file(folder / domain::kClassData, 5);
  EXPECT_FALSE(is_whole(folder, order_of("java17")));
  EXPECT_TRUE(is_whole(folder, order_of("nodejs22.x")));
  std::filesystem::remove_all(folder);
  EXPECT_FALSE(is_whole(folder, order_of("nodejs22.x")));
}

TEST(StartCachesTest, TheDumpHasTheOptionsOfAStart) {
  domain::CodeOrder code = java_order();
  code.environment = {"SECRET=x", "JAVA_TOOL_OPTIONS=-Xss2m"};
  const auto plan = plan_start_cache(order_of("functions-framework-java"), code);
  EXPECT_EQ(plan.kind, domain::StartCacheKind::class_data);
  const auto has = [&](const std::string& option) { return std::ranges::count(plan.dump, option) == 1; };
  for (const std::string& option : code.arguments)
    EXPECT_TRUE(!option.starts_with("-X") || option.starts_with("-Xshare") || has(option)) << option;
  EXPECT_TRUE(has("-Xshare:dump") && !has("-Xshare:auto"));
  EXPECT_EQ(plan.dump.back(), "/var/task/lib/*");
  EXPECT_EQ(plan.environment.back(), "JAVA_TOOL_OPTIONS=-Xss2m");
  EXPECT_FALSE(std::ranges::count(plan.environment, "SECRET=x")) << "the dump runs nothing of the package's";
  const auto parsed = domain::parse_start_cache_order(domain::to_json(plan));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->dump, plan.dump);
  EXPECT_NE(parsed->code.find("DumpLoadedClassList"), std::string::npos);
}

TEST(StartCachesTest, OfNodeTheUsersOwnOverrules) {
  domain::CodeOrder code{.arguments = {"/n/bin/node", "app.js"}, .environment = {}};
  use_start_cache(order_of("nodejs22.x"), code);
  EXPECT_EQ(code.environment, std::vector<std::string>{"NODE_COMPILE_CACHE=/var/start-cache"});
  code.environment = {"NODE_COMPILE_CACHE=/var/task/mine"};
  use_start_cache(order_of("nodejs22.x"), code);
  EXPECT_EQ(code.environment, std::vector<std::string>{"NODE_COMPILE_CACHE=/var/task/mine"});
}

TEST(StartCachesTest, OthersHaveNone) {
  for (const char* runtime : {"python3.11", "provided.al2023", "http", "azure", "container-http"})
    EXPECT_FALSE(may_have_start_cache(runtime)) << runtime;
  for (const char* text : {"", "{}", "[]", "{\"kind\": 9}"}) EXPECT_FALSE(domain::parse_start_cache_order(text)) << text;
}

}  // namespace
}  // namespace mayfly::instances
