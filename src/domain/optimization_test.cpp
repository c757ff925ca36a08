#include "domain/optimization.h"

#include <gtest/gtest.h>

#include "domain/manifest.h"

namespace mayfly::domain {
namespace {

using namespace std::chrono_literals;

TEST(Optimization, AnOrderIsReadAsItIsWritten) {
  const auto order = parse_optimization_order(R"({"recipe": "int8-dynamic,compile", "goal": "size", "accuracy_drop_max": "2%",
      "same_min": 0.95, "compare": "classes", "time_max": "90s", "alias": "beta", "canary": "10%", "data": "samples.npz", "samples": ")" +
                                              std::string(64, 'a') + "\"}");
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(order->recipes, std::vector<std::string>{"int8-dynamic,compile"});
  EXPECT_DOUBLE_EQ(order->accuracy_drop_max, 0.02);
  EXPECT_DOUBLE_EQ(order->canary, 0.1);
  EXPECT_EQ(order->time_max, Duration(90s));
  EXPECT_EQ(*parse_optimization_order(to_json(*order)), *order);
  EXPECT_EQ(*parse_optimization_order("{}"), OptimizationOrder{});
}

TEST(Optimization, WhatIsWrongIsNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {"[]", "an object"},
      {"{", "an object"},
      {R"({"goal": "beauty"})", "latency, size, cost"},
      {R"({"goal": 7})", "'goal' is 7"},
      {R"({"same_min": "most"})", "a share"},
      {R"({"same_min": 1.5})", "a share"},
      {R"({"accuracy_drop_max": -0.1})", "a share"},
      {R"({"time_max": "5"})", "a time"},
      {R"({"time_max": "25h"})", "24h"},
      {R"({"canary": 0})", "above 0"},
      {R"({"canary": "0%"})", "above 0"},
      {R"({"recipe": [1]})", "steps"},
      {R"({"samples": "abc"})", "SHA-256"},
      {R"({"alias": "7"})", "alias name"},
      {R"({"speed": 1})", "'speed' is not known"},
  };
  for (const auto& [text, holds] : cases) {
    const auto order = parse_optimization_order(text);
    ASSERT_FALSE(order) << text;
    EXPECT_EQ(order.error().code, Code::invalid_argument) << text;
    EXPECT_NE(order.error().message.find(holds), std::string::npos) << text << ": " << order.error().message;
  }
}

TEST(Optimization, ARecordIsReadAsItIsWritten) {
  OptimizationRecord record{.state = OptimizationState::done, .order = {.goal = "cost"}, .optimized = 3, .became = "the alias moves",
                            .report = R"({"candidates": [{"recipe": "fp16"}], "goal": "cost"})"};
  const auto read = parse_optimization_record(to_document(record));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->state, record.state);
  EXPECT_EQ(read->order, record.order);
  EXPECT_EQ(read->optimized, 3);
  EXPECT_EQ(read->became, record.became);
  EXPECT_NE(read->report.find("fp16"), std::string::npos);
  EXPECT_FALSE(parse_optimization_record(R"({"candidates": []})")) << "an older form has no state";
  EXPECT_FALSE(parse_optimization_record("nothing"));
}

// The process that answers has run a stranger's model.
TEST(Optimization, AnAnswerIsChecked) {
  const auto found =
      parse_optimization_found(R"({"candidates": [{"chosen": false}, {"chosen": true, "changed": 4}], "weights": ["net.data"]})");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->passed);
  EXPECT_EQ(found->changed, 4);
  EXPECT_EQ(found->weights, std::vector<std::string>{"net.data"});
  for (const std::string text : {"", "[]", "{}", R"({"candidates": 1})", R"({"candidates": [1]})", R"({"candidates": [], "weights": [1]})"})
    EXPECT_FALSE(parse_optimization_found(text)) << text;
  EXPECT_FALSE(parse_optimization_found(R"({"candidates": [], "why": ")" + std::string(kOptimizationTextMax, 'x') + "\"}"));
  const auto odd = parse_optimization_found(R"({"candidates": [{"chosen": true, "changed": "many"}]})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->changed, 0) << "what is no number makes no version";
}

TEST(Optimization, AManifestNamesIt) {
  const auto plain = parse_manifest("optimize: auto\n");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->optimize->recipes, std::vector<std::string>{"auto"});
  const auto whole = parse_manifest("optimize:\n  recipe: [int8-dynamic, 'fp16,compile']\n  goal: size\n  accuracy_drop_max: 2%\n"
                                    "  canary: 0.1\n  data: samples.npz\n");
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(whole->optimize->recipes, (std::vector<std::string>{"int8-dynamic", "fp16,compile"}));
  EXPECT_DOUBLE_EQ(whole->optimize->canary, 0.1);
  EXPECT_EQ(*manifest_from_json(to_json(*whole)), *whole);
  EXPECT_EQ(to_json(Manifest{}).find("optimize"), std::string::npos);
  for (const auto& [text, holds] : {std::pair<std::string, std::string>{"optimize:\n  goal: beauty\n", "latency"},
                                    {"optimize:\n  alias: live\n", "line 2"},
                                    {"runtime: python3.11\nhandler: a.b\noptimize: auto\n", "for models"},
                                    {"optimize: {time_max: soon}\n", "a time"}}) {
    const auto wrong = parse_manifest(text);
    ASSERT_FALSE(wrong) << text;
    EXPECT_NE(wrong.error().message.find(holds), std::string::npos) << wrong.error().message;
  }
}

}  // namespace
}  // namespace mayfly::domain
