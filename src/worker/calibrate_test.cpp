#include "worker/calibrate.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "gate/sizes.h"
#include "optimize/test_models.h"
#include "worker/compile.h"
#include "worker/detail/session.h"
#include "worker/test_models.h"
#include "worker/trial.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using optimize::Calibration;
using optimize::Observed;
using optimize::TestModel;

// A folder of its own, in which nothing may be left.
class Calibrate : public ::testing::Test {
 protected:
  Calibrate() : folder_(::testing::TempDir() + "mayfly-calibrate-" + std::to_string(::getpid())) {
    std::filesystem::create_directory(folder_);
  }
  ~Calibrate() override {
    EXPECT_TRUE(std::filesystem::is_empty(folder_)) << "a model that was run is left";
    std::filesystem::remove_all(folder_);
  }
  std::string scratch() const { return folder_ + "/run.onnx"; }
  Result<Calibrated> calibrated(const optimize::Model& model, const gate::Samples& samples, Calibration method = Calibration::min_max) {
    return calibrate(test_engine(), model, samples, {.method = method, .scratch = scratch()});
  }

 private:
  std::string folder_;
};

template <class T>
gate::Samples samples_of(const std::vector<T>& values, std::int64_t width, Datatype type = Datatype::fp32) {
  const auto count = static_cast<std::int64_t>(values.size()) / width;
  gate::Array x{.name = "x", .datatype = type, .shape = {count, width}};
  const auto bytes = std::as_bytes(std::span(values));
  x.data.assign(bytes.begin(), bytes.end());
  return {.inputs = {x}, .count = static_cast<std::uint64_t>(count)};
}

// x [n,2] -> (2a, -3b) -> what of it is positive -> the sum of both.
optimize::Model sum_of_two() {
  TestModel made;
  made.input("x", {"n", "2"}).output("y", {"n", "1"}).floats("w", {2, 2}, {2, 0, 0, -3}).floats("v", {2, 1}, {1, 1});
  made.node("MatMul", {"x", "w"}, {"h"});
  made.node("Relu", {"h"}, {"r"});
  made.node("MatMul", {"r", "v"}, {"y"});
  return made.model();
}

TEST_F(Calibrate, MinMaxIsWhatTheValuesWereOverAllSamples) {
  const auto made = calibrated(sum_of_two(), samples_of<float>({1, 1, 4, -2, -5, 0.5f, 0, -1}, 2));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->samples, 4U);
  ASSERT_EQ(made->ranges.size(), 3U);  // x, behind the Relu, y: not h, which nothing has to hold
  const auto is = [&](const std::string& name, float least, float most) {
    EXPECT_EQ(made->ranges.at(name).least, least) << name;
    EXPECT_EQ(made->ranges.at(name).most, most) << name;
  };
  is("x", -5, 4);
  is("r", 0, 8);
  is("y", 0, 14);  // of the second sample: 8 + 6
}

// 210 rows of 1,024 values of a bell, the same each time, and one that lies far out.
std::vector<float> bell_with_an_outlier() {
  std::vector<float> values(210 * 1024);
  std::uint32_t state = 1;
  for (float& value : values) {
    value = 0;
    for (int i = 0; i < 12; ++i) state = state * 1664525 + 1013904223, value += static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
  }
  values[5000] = 40;
  return values;
}

TEST_F(Calibrate, TheOtherMethodsCutOffAnOutlierAsTheyDoOfTheValuesThemselves) {
  TestModel wide;
  wide.input("x", {"n", "1024"}).output("y", {"n", "2"}).floats("w", {1024, 2});
  wide.node("MatMul", {"x", "w"}, {"y"});
  const std::vector<float> values = bell_with_an_outlier();
  const gate::Samples samples = samples_of(values, 1024);
  Observed directly;
  directly.look(values);
  directly.count(values);
  for (const Calibration method : {Calibration::min_max, Calibration::percentile, Calibration::entropy}) {
    const auto made = calibrated(wide.model(), samples, method);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->samples, 210U);
    const optimize::Range x = made->ranges.at("x");
    EXPECT_EQ(x.least, directly.range(method)->least);
    EXPECT_EQ(x.most, directly.range(method)->most);
    if (method == Calibration::min_max) EXPECT_EQ(x.most, 40);
    else EXPECT_LT(x.most, 20);
    EXPECT_GT(made->ranges.at("y").most, made->ranges.at("y").least);
  }
}

TEST_F(Calibrate, MoreValuesThanAreWatchedAtOnceAreAllMeasured) {
  TestModel chain;
  chain.input("x", {"n", "2"}).output("y70", {"n", "2"}).floats("w", {2, 2}, {0, -1, 1, 0});  // a quarter turn
  for (int i = 1; i <= 70; ++i) chain.node("MatMul", {i == 1 ? "x" : "y" + std::to_string(i - 1), "w"}, {"y" + std::to_string(i)});
  const auto made = calibrated(chain.model(), samples_of<float>({3, 0, 0, 0, 1, 0, 2, 0}, 2), Calibration::percentile);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->ranges.size(), 71U);
  for (int i = 1; i <= 70; ++i) {  // (3, 0) -> (0, -3) -> (-3, 0) -> (0, 3) -> (3, 0)
    const optimize::Range range = made->ranges.at("y" + std::to_string(i));
    const bool negative = i % 4 == 1 || i % 4 == 2;
    EXPECT_EQ(range.least, negative ? -3 : 0) << i;
    EXPECT_EQ(range.most, negative ? 0 : 3) << i;
  }
}

TEST_F(Calibrate, WhereTimeIsOverFourSamplesHaveToDo) {
  std::vector<float> values(200, 1);
  values[9] = -7, values[150] = 99;  // of the fifth sample, and of a later one
  for (const Calibration method : {Calibration::min_max, Calibration::entropy}) {
    const auto made = calibrate(test_engine(), sum_of_two(), samples_of(values, 2),
                                {.method = method, .scratch = scratch(), .time_max = Duration{}});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->samples, 4U);
    EXPECT_EQ(made->ranges.at("x").most, 1);
    EXPECT_GE(made->ranges.at("x").least, 0);
  }
}

TEST_F(Calibrate, OfSamplesOfSeveralSizesAllCount) {
  TestModel any;
  any.input("x", {"n", "m", "2"}).output("y", {"n", "m", "1"}).floats("w", {2, 1}, {1, 1});
  any.node("MatMul", {"x", "w"}, {"y"});
  std::vector<gate::Samples> sets;
  for (const std::vector<float>& values : {std::vector<float>{1, 2, 3, 4}, {9, -9, 0, 0, 5, 5}}) {
    sets.push_back(samples_of(values, static_cast<std::int64_t>(values.size())));
    sets.back().inputs[0].shape = {1, static_cast<std::int64_t>(values.size()) / 2, 2};
  }
  for (const Calibration method : {Calibration::min_max, Calibration::percentile}) {
    const auto made = calibrated(any.model(), gate::joined(sets), method);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->samples, 2U);
    EXPECT_EQ(made->ranges.at("x").least, -9);
    EXPECT_EQ(made->ranges.at("x").most, 9);
    EXPECT_EQ(made->ranges.at("y").most, 10);
  }
}

// Whole numbers that pick rows of a table of three.
optimize::Model picks() {
  TestModel made;
  made.input("x", {"n", "2"}, onnx::TensorProto::INT64).output("y", {"n", "2", "2"}).floats("t", {3, 2}).floats("w", {2, 2});
  made.node("Gather", {"t", "x"}, {"g"});
  made.node("MatMul", {"g", "w"}, {"y"});
  return made.model();
}

TEST_F(Calibrate, BadSamplesAreSaid) {
  const auto none = calibrated(sum_of_two(), {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::invalid_argument);
  EXPECT_NE(none.error().message.find("no samples to measure ranges on: give some with --data"), std::string::npos) << none.error().message;
  const auto wide = calibrated(sum_of_two(), samples_of<float>({1, 2, 3}, 3));
  ASSERT_FALSE(wide);
  EXPECT_NE(wide.error().message.find("sample 0 does not run: "), std::string::npos) << wide.error().message;
  EXPECT_NE(wide.error().message.find("x"), std::string::npos) << wide.error().message;
  const auto outside = calibrated(picks(), samples_of<std::int64_t>({0, 1, 2, 0, 1, 7}, 2, Datatype::int64));
  ASSERT_FALSE(outside);
  EXPECT_NE(outside.error().message.find("sample 2 does not run: "), std::string::npos) << outside.error().message;
}

TEST_F(Calibrate, WhatIsNoFiniteNumberGivesNoRange) {
  const float nan = std::nanf("");
  const auto made = calibrated(sum_of_two(), samples_of<float>({nan, nan, nan, nan}, 2));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_FALSE(made->ranges.contains("x"));
  const auto some = calibrated(sum_of_two(), samples_of<float>({1, INFINITY, 2, 1}, 2));
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(some->ranges.at("x").most, 2);
}

// x [batch, seq, 4] and a position's row of a table each, whose length only the model computes; through a product, added and normalised.
optimize::Model with_positions(std::int64_t table = 16) {
  TestModel made;
  made.input("x", {"batch", "seq", "4"}).output("y", {"batch", "seq", "4"});
  made.floats("table", {1, table, 4}).floats("w", {4, 4}).floats("scale", {4}).floats("bias", {4});
  made.wholes("one", {1}, {1}).wholes("zero", {1}, {0});
  made.node("Shape", {"x"}, {"shape"});
  made.node("Gather", {"shape", "one"}, {"length"});
  made.node("Slice", {"table", "zero", "length", "one"}, {"positions"});
  made.node("Add", {"x", "positions"}, {"placed"});
  made.node("MatMul", {"placed", "w"}, {"m"});
  made.node("Add", {"m", "placed"}, {"sum"});
  made.node("LayerNormalization", {"sum", "scale", "bias"}, {"y"});
  return made.model();
}

using Observe = Calibrate;

// Whether the flat file that `write` makes of the model at `path` has the engine's node for both.
using Write = Result<void> (*)(const ModelData&, const std::string&);
bool joined_by(Write write, const optimize::Model& model, const std::string& path) {
  const std::string flat = path + ".ort";
  EXPECT_TRUE(model.write(path));
  const auto data = map_model(path);
  EXPECT_TRUE(data && write(*data, flat));
  std::ifstream file(flat);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path), std::filesystem::remove(flat);
  return bytes.contains("SkipLayerNormalization");
}

Result<void> by_the_engine(const ModelData& data, const std::string& flat) {
  return write_flat(test_engine(), data, flat, StoredWeights::stay);
}
Result<void> by_compile(const ModelData& data, const std::string& flat) { return save_compiled(test_engine(), data, flat); }

TEST_F(Observe, ShapesOfSummandsLetTheEngineJoinTheirSumAndNormalisation) {
  optimize::Model model = with_positions();
  EXPECT_FALSE(joined_by(by_the_engine, model, scratch())) << "the engine finds the shapes by itself now: no need to state them";
  const auto runs = observe_shapes(test_engine(), model, scratch());
  ASSERT_TRUE(runs) << runs.error().message;
  ASSERT_EQ(runs->size(), 3U);
  EXPECT_EQ((*runs)[1].shapes.at("m"), (std::vector<std::int64_t>{3, 8, 4}));
  EXPECT_EQ((*runs)[2].shapes.at("placed"), (std::vector<std::int64_t>{2, 9, 4}));
  EXPECT_EQ(optimize::state_shapes(model, *runs), 2);
  EXPECT_TRUE(joined_by(by_the_engine, model, scratch()));
}

TEST_F(Observe, ACompileStatesThemByItself) {
  EXPECT_TRUE(joined_by(by_compile, with_positions(), scratch()));
  EXPECT_FALSE(joined_by(by_compile, with_positions(8), scratch())) << "a model that does not run so is compiled as it is";
}

TEST_F(Observe, ModelsWithoutSuchSumsAreNotRunAndThoseThatDoNotRunSaySo) {
  const auto none = observe_shapes(test_engine(), sum_of_two(), scratch());
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_TRUE(none->empty());
  const auto large = observe_shapes(test_engine(), with_positions(), scratch(), with_positions().size() - 1);
  ASSERT_TRUE(large) << large.error().message;
  EXPECT_TRUE(large->empty()) << "one byte more than may be";
  const auto short_table = observe_shapes(test_engine(), with_positions(8), scratch());  // it runs with 8, and not with 9
  ASSERT_FALSE(short_table);
  EXPECT_FALSE(short_table.error().message.empty());
}

// Two layers of 16 by 16. The second has a large weight in each column, that only meets zeros: in 8 bits the others are lost. The first
// has one weight a column: processors without VNNI add two products in 16 bits, and would lose some of more.
class Sensitive : public Calibrate {
 protected:
  Sensitive() {
    std::vector<float> good(256, 0), bad = TestModel::pattern(256);
    for (std::size_t i = 0; i < 16; ++i) good[i * 17] = i == 0 ? 0.0f : 1.5f, bad[i] = 1000;
    TestModel made;
    made.input("x", {"n", "16"}).output("y", {"n", "16"}).floats("good", {16, 16}, good).floats("bad", {16, 16}, bad);
    made.node("MatMul", {"x", "good"}, {"h"});
    made.node("MatMul", {"h", "bad"}, {"y"});
    model_.emplace(made.model());
    samples_ = samples_of(TestModel::pattern(16 * 12), 16);
    auto ranges = calibrated(*model_, samples_);
    EXPECT_TRUE(ranges) << ranges.error().message;
    ranges_ = ranges->ranges;
  }
  Result<optimize::Model> quantised(const std::set<std::string>& keep) const {
    auto applied = optimize::quantise_static(*model_, ranges_, keep);
    if (!applied) return fail(applied.error());
    return std::move(applied->model);
  }
  Result<std::vector<Sensitivity>> found(SensitivityOptions options) {
    options.scratch = scratch();
    return sensitivity_of(test_engine(), *model_, layers_, [this](const auto& keep) { return quantised(keep); }, samples_, options);
  }
  std::optional<optimize::Model> model_;
  gate::Samples samples_;
  optimize::Ranges ranges_;
  const std::vector<std::string> layers_ = {"h_node", "y_node"};
};

TEST_F(Sensitive, TheLayerThatHurtsComesFirst) {
  const auto layers = found({});
  ASSERT_TRUE(layers) << layers.error().message;
  ASSERT_EQ(layers->size(), 2U);
  EXPECT_EQ((*layers)[0].layers, (std::vector<std::string>{"y_node"}));
  EXPECT_GT((*layers)[0].distance, 0.5);
  EXPECT_EQ((*layers)[1].layers, (std::vector<std::string>{"h_node"}));
  EXPECT_LT((*layers)[1].distance, 0.05);
  EXPECT_GT((*layers)[1].distance, 0);
}

TEST_F(Sensitive, FewerTriesTakeNeighboursTogetherAndNoTimeTakesNone) {
  const auto one = found({.tries_max = 1});
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_EQ(one->size(), 1U);
  EXPECT_EQ((*one)[0].layers, layers_);
  const auto none = found({.time_max = Duration{}});
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_TRUE(none->empty());
}

TEST_F(Sensitive, OnlySoManySamplesAreAnswered) {
  const auto bad = [](const gate::Samples& samples, std::uint64_t most) {
    return sensitivity_of(test_engine(), picks(), {"y_node"}, [](const auto&) -> Result<optimize::Model> { return picks(); }, samples,
                          {.scratch = ::testing::TempDir() + "mayfly-picks.onnx", .samples_max = most});
  };
  const auto samples = samples_of<std::int64_t>({0, 1, 2, 0, 1, 7}, 2, Datatype::int64);  // the third picks a row that is not there
  const auto two = bad(samples, 2);
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(two->at(0).distance, 0);
  const auto three = bad(samples, 3);
  ASSERT_FALSE(three);
  EXPECT_NE(three.error().message.find("sample 2 does not run: "), std::string::npos) << three.error().message;
}

TEST_F(Sensitive, ACandidateThatCannotBeMadeOrAnswersOtherwiseIsSaid) {
  const auto failed = sensitivity_of(test_engine(), *model_, layers_, [](const auto&) -> Result<optimize::Model> {
    return fail(Code::unimplemented, "not this one");
  }, samples_, {.scratch = scratch()});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "not this one");
  // Answers of another size are as far from right as can be.
  const auto other = sensitivity_of(test_engine(), *model_, {"y_node"}, [](const auto&) -> Result<optimize::Model> {
    TestModel narrow;
    narrow.input("x", {"n", "16"}).output("y", {"n", "1"}).floats("w", {16, 1});
    narrow.node("MatMul", {"x", "w"}, {"y"});
    return narrow.model();
  }, samples_, {.scratch = scratch()});
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_TRUE(std::isinf(other->at(0).distance));
}

}  // namespace
}  // namespace mayfly::worker
