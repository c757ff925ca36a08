#include "domain/code_order.h"

#include <gtest/gtest.h>

#include <functional>

namespace mayfly::domain {
namespace {

CodeOrder order() {
  return {.arguments = {"/usr/bin/python3", "-c", std::string(kPythonRuntime)}, .environment = {"A=1", "B_2=x=y", "EMPTY="},
          .handler = "app.handler", .function = "greet", .version = 7, .memory_mb = 256, .timeout_ms = 3000,
          .runtime = "python3.11", .folder = "/var/task"};
}

TEST(CodeOrder, ThereAndBackUnchanged) {
  const auto back = parse_code_order(to_json(order()));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, order());
}

TEST(CodeOrder, OfAContainerTheProgramMayBeAName) {
  CodeOrder changed = order();
  changed.container = true;
  changed.user = "app:staff";
  changed.h2c = true;
  changed.arguments[0] = "python3";
  EXPECT_EQ(*parse_code_order(to_json(changed)), changed);
  changed.arguments[0] = "";
  EXPECT_FALSE(parse_code_order(to_json(changed)));
}

TEST(CodeOrder, WhatCanNotBeStartedIsRefused) {
  const std::vector<std::pair<const char*, std::function<void(CodeOrder&)>>> cases = {
      {"no program", [](CodeOrder& o) { o.arguments.clear(); }},
      {"a relative program", [](CodeOrder& o) { o.arguments[0] = "python3"; }},
      {"a relative folder", [](CodeOrder& o) { o.folder = "task"; }},
      {"no value", [](CodeOrder& o) { o.environment = {"A"}; }},
      {"no name", [](CodeOrder& o) { o.environment = {"=1"}; }},
      {"a name with a digit first", [](CodeOrder& o) { o.environment = {"1A=1"}; }},
      {"a NUL in an argument", [](CodeOrder& o) { o.arguments[1] = std::string("-c\0x", 4); }},
      {"a NUL in the handler", [](CodeOrder& o) { o.handler = std::string("a\0b", 3); }},
      {"too many arguments", [](CodeOrder& o) { o.arguments.resize(65); }},
      {"too many variables", [](CodeOrder& o) { o.environment.assign(257, "A=1"); }},
      {"no time", [](CodeOrder& o) { o.timeout_ms = 0; }},
      {"no memory", [](CodeOrder& o) { o.memory_mb = 0; }},
      {"version 0", [](CodeOrder& o) { o.version = 0; }},
      {"too long", [](CodeOrder& o) { o.environment = {"A=" + std::string(kCodeOrderMax, 'x')}; }},
  };
  for (const auto& [what, change] : cases) {
    CodeOrder changed = order();
    change(changed);
    const auto parsed = parse_code_order(to_json(changed));
    EXPECT_FALSE(parsed) << what;
    if (!parsed) { EXPECT_EQ(parsed.error().code, Code::invalid_argument) << what; }
  }
  for (const char* text : {"", "[]", "{}", "{\"arguments\":1}", "null"}) EXPECT_FALSE(parse_code_order(text)) << text;
}

}  // namespace
}  // namespace mayfly::domain
