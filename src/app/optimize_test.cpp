// What `mayfly optimize` keeps and tells, without an engine: reports, recipes, and the folder for candidates.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "app/optimize_report.h"
#include "app/optimize_search.h"
#include "app/optimize_work.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

OptimizeRow row_of(const std::string& recipe, const std::string& gate, std::uint64_t size, double ms) {
  OptimizeRow row{
      .recipe = recipe, .gate = gate, .why = "because", .size = size, .artifact = 7, .parameters = 3, .changed = 2, .left = {"a: b"},
      .notes = {"n"}, .kept = {"k"}};
  row.trial.load = std::chrono::milliseconds(5);
  row.trial.first = std::chrono::milliseconds(6);
  row.trial.one = {.rows = 1, .runs = 100, .p50 = from_seconds(ms / 1000), .p99 = from_seconds(ms / 500), .per_second = 1000 / ms};
  row.trial.best = row.trial.one;
  row.trial.memory = 1000;
  row.cost = ms;
  row.comparisons.push_back({.output = "y",
                             .measure = gate::Measure::cosine,
                             .rows = 9,
                             .value = 0.995,
                             .limit = 0.99,
                             .interval = {-std::numeric_limits<double>::infinity(), 0.999},
                             .verdict = gate::Verdict::unsure,
                             .why = "few"});
  return row;
}

fs::path new_folder() {
  std::string name = ::testing::TempDir() + "mayfly-optimize-XXXXXX";
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  return name;
}

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(OptimizeReport, ARowReadsBackAsItWas) {
  const OptimizeRow row = row_of("int8-dynamic,compile", "unsure", 1000, 2);
  const auto back = row_from_json(Json::parse(to_json(row).dump()));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(row));
  EXPECT_EQ(back->comparisons[0].verdict, gate::Verdict::unsure);
  EXPECT_LT(back->comparisons[0].interval.low, -1e300);
  Json other = to_json(row);
  other.erase("one");
  EXPECT_FALSE(row_from_json(other));
  EXPECT_FALSE(row_from_json(Json::array()));
}

TEST(OptimizeReport, WhatOthersNamedDoesNotBecomeMarkup) {
  OptimizeReport report{
      .model = "<script>&\"", .output = "o", .goal = "size", .data = "d", .rows = {row_of("original", "original", 4000, 4)}};
  report.rows.push_back(row_of("<b>", "failed", 1000, 2));
  EXPECT_EQ(page_of(report).find("<script>"), std::string::npos);
  EXPECT_NE(picture_of(report).find("&lt;b&gt;"), std::string::npos);
  EXPECT_NE(table_of(report, {}).find("cosine 0.9950"), std::string::npos);
}

TEST(OptimizeReport, TheFrontIsWhatNothingIsBetterThanInBoth) {
  OptimizeReport report{.model = "m", .output = "o", .goal = "size", .data = "d", .rows = {row_of("original", "original", 4000, 4)}};
  report.rows[0].comparisons[0].value = 1;
  for (const auto& [name, size, value] :
       {std::tuple{"small", 1000, 0.99}, {"tiny", 500, 0.9}, {"worse", 2000, 0.98}, {"same", 1000, 0.99}}) {
    report.rows.push_back(row_of(name, "passed", static_cast<std::uint64_t>(size), 2));
    report.rows.back().comparisons[0].value = value;
  }
  report.rows.push_back({.recipe = "broken", .gate = "error"});
  EXPECT_EQ(front_of(report), (std::vector<bool>{true, true, true, false, true, false}));
  EXPECT_EQ(to_json(report)["candidates"][3]["front"], false);
  EXPECT_NE(table_of(report, {}).find("FRONT"), std::string::npos);
}

TEST(OptimizeReport, APictureOfNothingIsStillOne) { EXPECT_NE(picture_of({}).find("</svg>"), std::string::npos); }

TEST(OptimizeSearch, TheGoalPicksAmongThosePassed) {
  std::vector<OptimizeRow> rows = {row_of("original", "original", 1, 0.1), row_of("a", "passed", 300, 5), row_of("b", "passed", 500, 3),
                                   row_of("c", "failed", 10, 1), row_of("d", "unsure", 10, 1)};
  EXPECT_EQ(best_of(rows, "latency")->recipe, "b");
  EXPECT_EQ(best_of(rows, "size")->recipe, "a");
  EXPECT_EQ(best_of(rows, "cost")->recipe, "b");
  rows.push_back(row_of("e", "passed", 303, 2));  // larger by a hundredth, and much faster
  EXPECT_EQ(best_of(rows, "size")->recipe, "e");
  rows.pop_back();
  rows.erase(rows.begin() + 1, rows.begin() + 3);
  EXPECT_EQ(best_of(rows, "size"), nullptr);
}

TEST(OptimizeSearch, RecipesAreStepsWithCompileAsTheLast) {
  EXPECT_EQ(read_recipe("compile")->steps, "");
  EXPECT_TRUE(read_recipe("fp16,compile")->compile);
  EXPECT_EQ(read_recipe("fp16,compile")->steps, "fp16");
  EXPECT_FALSE(read_recipe("fp16")->compile);
  for (const char* wrong : {"", "compile,fp16", "compile,compile", "compile,fp16,compile", "nothing", "fp16,,compile",
                            "keep", "fp16,keep", "keep,compile", "int8-dynamic,keep,keep", "int8-dynamic,compile,keep", "int8-static:no"}) {
    const auto recipe = read_recipe(wrong);
    ASSERT_FALSE(recipe) << wrong;
    EXPECT_EQ(recipe.error().code, Code::invalid_argument);
  }
  const auto kept = read_recipe("fold,int8-static:entropy,keep,compile");
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_TRUE(kept->keep && kept->compile);
  EXPECT_EQ(kept->steps, "fold,int8-static:entropy");
  for (const char* goal : {"latency", "size", "cost"})
    for (const bool convolutional : {false, true}) {
      for (const std::string& text : recipes_for(goal, convolutional)) EXPECT_TRUE(read_recipe(text)) << text;
      EXPECT_EQ(recipes_for(goal, convolutional)[0].find("int8-static") != std::string::npos, convolutional) << goal;
    }
}

TEST(OptimizeSearch, TheNearestToPassingAreTriedWithLayersKept) {
  std::vector<OptimizeRecipe> recipes;
  std::vector<OptimizeRow> rows;
  const auto add = [&](const char* text, const char* gate, double agreement) {
    recipes.push_back(*read_recipe(text));
    rows.push_back(row_of(text, gate, 1, 1));
    rows.back().comparisons = {{.measure = gate::Measure::agreement, .value = agreement, .limit = 0.99}};
  };
  add("int8-static,compile", "failed", 0.6);
  add("fp16,compile", "failed", 0.98);  // it has no layers to keep
  add("int8-weights:fit,fp16,compile", "failed", 0.97);
  add("int8-weights", "passed", 1);
  add("int8-static:percentile,compile", "failed", 0.7);
  const auto found = worth_keeping(recipes, rows);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].steps, "int8-weights:fit,fp16");
  EXPECT_EQ(found[1].steps, "int8-static:percentile");
  rows[0].comparisons = {{.measure = gate::Measure::accuracy, .value = 0.011, .limit = 0.01}};  // of labels it is the drop
  EXPECT_EQ(worth_keeping(recipes, rows)[0].steps, "int8-static");
}

TEST(OptimizeWorkTest, WhatIsKeptIsThereForTheSameKeyAlone) {
  const fs::path folder = new_folder();
  const std::string output = (folder / "small.onnx").string();
  {
    auto work = OptimizeWork::open(output, "key");
    ASSERT_TRUE(work) << work.error().message;
    EXPECT_EQ(OptimizeWork::open(output, "key").error().code, Code::conflict);
    ASSERT_TRUE(work->keep(row_of("a", "passed", 1, 1)));
    ASSERT_TRUE(work->keep(row_of("b", "failed", 1, 1)));
    ASSERT_TRUE(work->keep(row_of("a", "failed", 1, 1)));
    work->stay();
  }
  {
    auto again = OptimizeWork::open(output, "key");
    ASSERT_TRUE(again) << again.error().message;
    ASSERT_EQ(again->done().size(), 2U);
    EXPECT_EQ(again->done()[1].gate, "failed");
    again->stay();
  }
  auto other = OptimizeWork::open(output, "another key");
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_TRUE(other->done().empty());
  fs::remove_all(folder);
}

TEST(OptimizeWorkTest, TheOneThatIsTakenIsMovedWholeAndTheFolderGoes) {
  const fs::path folder = new_folder();
  const std::string output = (folder / "small.onnx").string(), original = (folder / "model.onnx").string();
  write(original, "original");
  fs::permissions(original, fs::perms(0640));
  write(output + ".data", "of an older model");
  {
    auto work = OptimizeWork::open(output, "key");
    ASSERT_TRUE(work) << work.error().message;
    ASSERT_TRUE(work->folder_of("a"));
    write(work->model_of("a"), "model");
    write(work->compiled_of("a"), "compiled");
    ASSERT_TRUE(work->take("a", original));
  }
  EXPECT_EQ(read(output), "model");
  EXPECT_EQ(fs::status(output).permissions(), fs::perms(0640));
  EXPECT_EQ(read((folder / "small.ort").string()), "compiled");
  EXPECT_FALSE(fs::exists(output + ".data"));
  EXPECT_FALSE(fs::exists(folder / ".small.onnx.optimize"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace mayfly::app
