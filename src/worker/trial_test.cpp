#include "worker/trial.h"

#include <signal.h>

#include "gate/sizes.h"
#include "optimize/test_models.h"
#include "worker/detail/trial_wire.h"
#include "worker/test_models.h"

namespace mayfly::worker {
namespace {

using namespace std::chrono_literals;

TEST(ChildWork, ItsResultOrItsErrorComesBack) {
  EXPECT_EQ(in_a_process([] { return Result<std::string>(std::string("a\0b", 3)); }, {}).value(), std::string("a\0b", 3));
  EXPECT_EQ(in_a_process([] { return Result<std::string>(""); }, {}).value(), "");
  const auto failed = in_a_process([]() -> Result<std::string> { return fail(Code::not_found, "no such thing"); }, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::not_found);
  EXPECT_EQ(failed.error().message, "no such thing");
}

TEST(ChildWork, WhatItDiesOfIsAnError) {
  const auto killed = in_a_process([]() -> Result<std::string> {
    ::raise(SIGKILL);
    return "";
  }, {});
  ASSERT_FALSE(killed);
  EXPECT_NE(killed.error().message.find("out of memory"), std::string::npos) << killed.error().message;
  const auto thrown = in_a_process([]() -> Result<std::string> { throw std::bad_alloc(); }, {});
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error().code, Code::exhausted);
}

TEST(ChildWork, ItEndsAtItsTimeAndWhenItIsToldTo) {
  const auto without_end = []() -> Result<std::string> {
    while (true) ::pause();
  };
  EXPECT_EQ(in_a_process(without_end, {.time_max = 50ms}).error().code, Code::deadline_exceeded);
  int asked = 0;
  EXPECT_EQ(in_a_process(without_end, {.stops = [&] { return ++asked == 2; }}).error().code, Code::cancelled);
}

TEST(TrialWire, ATrialReadsBackAndAnythingShorterIsRefused) {
  Trial trial;
  trial.one = {.rows = 1, .runs = 7, .p50 = 3ms, .p99 = 4ms, .per_second = 333.25};
  trial.memory = 12345;
  trial.outputs.specs = {{"y", domain::Datatype::fp32, {-1, 2}}, {"t", domain::Datatype::bytes, {-1}}};
  gate::Array numbers{.datatype = domain::Datatype::fp32, .shape = {1, 2}, .data = std::vector<std::byte>(8)};
  gate::put_number(numbers, 1, 2.5);
  trial.outputs.samples = {{numbers, {.datatype = domain::Datatype::bytes, .shape = {1}, .strings = {"cat"}}}};
  const std::string bytes = wire::packed(trial);
  const auto back = wire::trial_of(bytes);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(wire::packed(*back), bytes);
  EXPECT_EQ(back->outputs.samples[0][1].strings[0], "cat");
  EXPECT_EQ(back->one.per_second, 333.25);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(wire::trial_of(std::string_view(bytes).substr(0, size))) << size;
}

TEST(TrialTest, AModelIsMeasuredAndItsAnswersComeBack) {
  SKIP_WITHOUT_MODELS();
  const std::string path = models_folder() + "add.onnx";
  const auto signature = signature_of(test_engine(), path, {});
  ASSERT_TRUE(signature) << signature.error().message;
  const auto samples = made_up_samples(test_engine(), path, *signature, 20, {});
  ASSERT_TRUE(samples) << samples.error().message;
  const auto plain = try_model(test_engine(), path, *samples, {});
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->outputs.samples.size(), 20U);
  EXPECT_GT(plain->load, Duration{});
  EXPECT_GT(plain->first, plain->load);
  EXPECT_LE(plain->one.p50, plain->one.p99);
  EXPECT_GT(plain->one.runs, 20U);
  const std::string compiled = ::testing::TempDir() + "mayfly-trial-" + std::to_string(::getpid()) + ".ort";
  const auto made = compile_to(test_engine(), path, compiled, {});
  ASSERT_TRUE(made) << made.error().message;
  const auto flat = try_model(test_engine(), compiled, *samples, {.compiled = true});
  ASSERT_TRUE(flat) << flat.error().message;
  EXPECT_EQ(gate::judge(plain->outputs, flat->outputs, {}, {.cosine_min = 0})->comparisons[0].value, 1);
  std::filesystem::remove(compiled);
}

TEST(TrialTest, EachSampleIsAnsweredInItsOwnSize) {
  optimize::TestModel any;
  any.input("x", {"n", "m"}).output("y", {"n", "m"});
  any.node("Relu", {"x"}, {"y"});
  const std::string path = ::testing::TempDir() + "mayfly-sizes-" + std::to_string(::getpid()) + ".onnx";
  ASSERT_TRUE(any.model().write(path));
  std::vector<gate::Samples> sets;
  for (const std::int64_t width : {3, 5}) {
    gate::Array x{.name = "x", .shape = {2, width}, .data = std::vector<std::byte>(static_cast<std::size_t>(2 * width) * 4)};
    for (std::uint64_t i = 0; i < gate::count_of(x.shape); ++i) gate::put_number(x, i, static_cast<double>(width));
    sets.push_back({.inputs = {x}, .count = 2});
  }
  const auto trial = try_model(test_engine(), path, gate::joined(sets), {});
  std::filesystem::remove(path);
  ASSERT_TRUE(trial) << trial.error().message;
  ASSERT_EQ(trial->outputs.samples.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const gate::Array& y = trial->outputs.samples[i][0];
    const std::int64_t width = i % 2 == 0 ? 3 : 5;
    EXPECT_EQ(y.shape, (std::vector<std::int64_t>{1, width}));
    EXPECT_EQ(gate::number_at(y, 0), static_cast<double>(width));
  }
  EXPECT_GT(trial->one.runs, 8U);
  EXPECT_GE(trial->best.rows, 1);
  EXPECT_EQ(gate::judge(trial->outputs, trial->outputs, {}, {.cosine_min = 0})->comparisons[0].rows, 4U);
}

TEST(TrialTest, WhatIsNoModelIsSaid) {
  SKIP_WITHOUT_MODELS();
  for (const std::string name : {"text", "truncated", "wrong_opset", "unknown_operator", "outside"}) {
    const auto refused = signature_of(test_engine(), models_folder() + name + ".onnx", {});
    ASSERT_FALSE(refused) << name;
    EXPECT_GT(refused.error().message.size(), 20U) << name;
  }
  EXPECT_FALSE(map_model(models_folder()));
  EXPECT_FALSE(map_model("/no/such/file.onnx"));
}

}  // namespace
}  // namespace mayfly::worker
