// Searches for smaller models on a whole node in virtual time; what a search itself does is tests/optimize/deploy.py's.
#include <gtest/gtest.h>

#include "control/test_node.h"
#include "domain/json.h"
#include "domain/settings.h"
#include "store/test_folder.h"

namespace mayfly::control {
namespace {

using namespace std::chrono_literals;
using domain::OptimizationRecord;
using State = domain::OptimizationState;

class NodeOptimizeTest : public testing::Test {
 protected:
  void SetUp() override { restart(); }
  void restart() {
    node.reset();
    node = std::make_unique<TestNode>(turn, options);
  }
  void deploy(const std::string& name, const std::string& manifest = "") {
    const auto made = node->deploy({.name = name, .manifest = manifest, .files = {node->upload("model.onnx", "a model of " + name)}});
    ASSERT_TRUE(made) << made.error().message;
  }
  Result<int> optimize(const std::string& name, domain::OptimizationOrder order = {}, int version = 0) {
    return node->wait<int>([&](Done<int> done) { (*node)->optimize(name, version, order, std::move(done)); });
  }
  Result<void> stop(const std::string& name, int version) {
    return node->wait<void>([&](Done<void> done) { (*node)->stop_optimization(name, version, std::move(done)); });
  }
  OptimizationRecord record(const std::string& name, int version = 1) {
    const auto view = (*node)->describe(name);
    const domain::Setting* setting = domain::find_setting(view->function, domain::kOptimization, std::to_string(version));
    return setting ? domain::parse_optimization_record(setting->document).value() : OptimizationRecord{};
  }
  std::vector<domain::Weight> live(const std::string& name) { return (*node)->describe(name)->function.aliases.at(0).weights; }
  std::size_t versions(const std::string& name) { return (*node)->describe(name)->function.versions.size(); }
  int searches() { return node->launcher().started[domain::Role::optimize]; }

  store::TestFolder folder;
  Turn turn{{1h}, {std::chrono::hours(480'000)}};
  TestNodeOptions options{.folder = folder};
  std::unique_ptr<TestNode> node;
};

TEST_F(NodeOptimizeTest, WhatPassesBecomesAVersionAndTheAliasMovesOnceItIsReady) {
  deploy("fraud");
  const auto asked = optimize("fraud");
  ASSERT_TRUE(asked) << asked.error().message;
  EXPECT_EQ(*asked, 1);
  EXPECT_EQ(record("fraud").state, State::waiting);
  node->play(20s);
  EXPECT_EQ(record("fraud").state, State::done) << record("fraud").became;
  EXPECT_EQ(record("fraud").optimized, 2);
  ASSERT_EQ(live("fraud").size(), 1u);
  EXPECT_EQ(live("fraud")[0].version, 2);
  const auto view = (*node)->describe("fraud");
  EXPECT_EQ(view->stages, (std::vector{Stage::ready, Stage::ready}));
  EXPECT_NE(view->function.versions[0].files, view->function.versions[1].files);
  EXPECT_TRUE((*node)->optimizations().empty());
  EXPECT_EQ(node->launcher().started[domain::Role::check], 2) << "what was made is checked like any model";
}

TEST_F(NodeOptimizeTest, ItBeginsOnceItsModelIsMeasuredAndOneAtATime) {
  for (const char* name : {"a", "b", "c"}) {
    deploy(name);
    ASSERT_TRUE(optimize(name));
  }
  int most = 0;
  for (int i = 0; i < 3000; ++i) {
    node->play(10ms);
    int searching = 0;
    for (const OptimizationView& view : (*node)->optimizations()) {
      if (view.waits || view.line.starts_with("version")) continue;
      ++searching;
      if (view.line == "begins") {
        EXPECT_EQ((*node)->describe(view.function)->stages[0], Stage::ready);
      }
    }
    most = std::max(most, searching);
  }
  EXPECT_LE(most, 2) << "one searches, the one before may be on its way to the disk";
  EXPECT_EQ(searches(), 3);
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(live(name)[0].version, 2);
}

TEST_F(NodeOptimizeTest, ACrashAnywhereEndsWithOneSmallerVersion) {
  for (int ms = 0; ms < 1200; ms += 97) {
    const std::string name = "f" + std::to_string(ms);
    deploy(name);
    ASSERT_TRUE(optimize(name));
    node->play(std::chrono::milliseconds(ms));
    restart();
    node->play(30s);
    EXPECT_EQ(record(name).state, State::done) << ms << " ms: " << record(name).became;
    EXPECT_EQ(versions(name), 2u) << ms << " ms";
    EXPECT_EQ(live(name)[0].version, 2) << ms << " ms: " << record(name).became;
  }
}

TEST_F(NodeOptimizeTest, WhoMovesTheAliasMeanwhileKeepsIt) {
  deploy("fraud");
  ASSERT_TRUE(node->deploy({.name = "fraud", .manifest = "", .files = {node->upload("model.onnx", "another")}, .alias = {}}));
  ASSERT_TRUE(optimize("fraud"));
  const auto moved = node->wait<domain::Alias>([&](Done<domain::Alias> done) {
    (*node)->set_alias("fraud", "live", {{2, 1}}, std::move(done));
  });
  ASSERT_TRUE(moved);
  node->play(20s);
  EXPECT_EQ(live("fraud")[0].version, 2);
  EXPECT_NE(record("fraud").became.find("moved meanwhile"), std::string::npos) << record("fraud").became;
}

TEST_F(NodeOptimizeTest, ACanaryGetsItsShare) {
  deploy("fraud");
  ASSERT_TRUE(optimize("fraud", {.canary = 0.25}));
  node->play(20s);
  ASSERT_EQ(live("fraud").size(), 2u);
  EXPECT_EQ(live("fraud")[1].version, 2);
  EXPECT_DOUBLE_EQ(live("fraud")[1].share, 0.25);
}

TEST_F(NodeOptimizeTest, AManifestBeginsItOnceAndTheSameDeployIsNothingNew) {
  deploy("fraud", "optimize: auto");
  node->play(20s);
  EXPECT_EQ(live("fraud")[0].version, 2);
  EXPECT_EQ(searches(), 1) << "what was made begins no other";
  const auto again =
      node->deploy({.name = "fraud", .manifest = "optimize: auto", .files = {node->upload("model.onnx", "a model of fraud")}});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->unchanged);
  EXPECT_EQ(again->version.number, 1);
  node->play(20s);
  EXPECT_EQ(live("fraud")[0].version, 2);
  EXPECT_EQ(searches(), 1);
}

TEST_F(NodeOptimizeTest, AStopEndsItAtEveryMoment) {
  for (int ms = 0; ms < 600; ms += 67) {
    const std::string name = "s" + std::to_string(ms);
    deploy(name);
    ASSERT_TRUE(optimize(name));
    node->play(std::chrono::milliseconds(ms));
    const auto stopped = stop(name, 1);
    node->play(30s);
    const OptimizationRecord after = record(name);
    EXPECT_EQ(after.state, stopped ? State::stopped : State::done) << ms << " ms: " << after.became;
    EXPECT_EQ(versions(name), stopped ? 1u : 2u) << ms << " ms";
  }
  EXPECT_EQ(stop("s0", 1).error().code, Code::not_found);
}

TEST_F(NodeOptimizeTest, ADeletedFunctionStaysDeletedAtEveryMoment) {
  for (int ms = 0; ms < 1200; ms += 101) {
    const std::string name = "d" + std::to_string(ms);
    deploy(name);
    ASSERT_TRUE(optimize(name));
    node->play(std::chrono::milliseconds(ms));
    ASSERT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->remove(name, std::move(done)); }));
    node->play(30s);
    EXPECT_FALSE((*node)->describe(name)) << ms << " ms";
    EXPECT_TRUE((*node)->optimizations().empty()) << ms << " ms";
  }
}

TEST_F(NodeOptimizeTest, WhatCanNotBeIsRefused) {
  deploy("fraud");
  EXPECT_EQ(optimize("nobody").error().code, Code::not_found);
  EXPECT_EQ(optimize("fraud", {}, 7).error().code, Code::not_found);
  EXPECT_EQ(optimize("fraud", {.alias = "beta"}).error().code, Code::not_found);
  EXPECT_EQ(optimize("fraud", {.data = "samples.npz"}).error().code, Code::not_found);
  EXPECT_EQ(optimize("fraud", {.samples = std::string(64, '0')}).error().code, Code::not_found);
  EXPECT_TRUE((*node)->optimizations().empty());
  ASSERT_TRUE(optimize("fraud"));
  EXPECT_EQ(optimize("fraud").error().code, Code::conflict);
  for (int i = 0; i < 20; ++i) deploy("other" + std::to_string(i));
  std::vector<Result<int>> asked;
  for (int i = 0; i < 20; ++i)  // in one turn: none of them can end meanwhile
    (*node)->optimize("other" + std::to_string(i), 0, {}, [&](Result<int> result) { asked.push_back(std::move(result)); });
  node->play(60s);
  ASSERT_EQ(asked.size(), 20u);
  EXPECT_GE(std::ranges::count_if(asked, [](const auto& each) { return !each && each.error().code == Code::exhausted; }), 4);
  EXPECT_GE(std::ranges::count_if(asked, [](const auto& each) { return each.has_value(); }), 15);
}

TEST_F(NodeOptimizeTest, ALyingAnswerMakesNoVersion) {
  deploy("fraud");
  node->play(10s);
  instances::FakeBehaviour behaviour = options.behaviour;
  behaviour.job_result = R"({"candidates": "many"})";
  node->launcher().fake.set(behaviour);
  ASSERT_TRUE(optimize("fraud"));
  node->play(20s);
  EXPECT_EQ(record("fraud").state, State::failed);
  EXPECT_EQ(versions("fraud"), 1u);
}

}  // namespace
}  // namespace mayfly::control
