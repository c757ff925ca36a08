#include "worker/model.h"

#include "worker/made_up.h"
#include "worker/test_models.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;

std::unique_ptr<Model> load(const std::string& name, const LoadOptions& options = {}) {
  auto model = Model::load(test_engine(), test_model(name), options);
  EXPECT_TRUE(model) << name << ": " << model.error().message;
  return model ? std::move(*model) : nullptr;
}

std::vector<float> run(Model& model, const std::vector<float>& values, std::vector<std::int64_t> shape, std::size_t output = 0) {
  const std::vector<TensorView> inputs{tensor_of(values, std::move(shape))};
  const auto outputs = model.run(inputs);
  EXPECT_TRUE(outputs) << outputs.error().message;
  return outputs ? values_of<float>((*outputs)[output]) : std::vector<float>();
}

TEST(Model, signature_is_the_models_own) {
  SKIP_WITHOUT_MODELS();
  const auto add = load("add");
  const domain::Signature expected{
      .inputs = {{"x", Datatype::fp32, {-1, 3}}}, .outputs = {{"y", Datatype::fp32, {-1, 3}}}, .batches = true};
  EXPECT_EQ(add->signature(), expected);
  EXPECT_FALSE(load("matmul_fixed")->signature().batches);
  EXPECT_EQ(load("conv")->signature().inputs[0].shape, (std::vector<std::int64_t>{-1, 3, -1, -1}));
}

TEST(Model, runs_any_number_of_rows_in_any_order) {
  SKIP_WITHOUT_MODELS();
  const auto add = load("add");
  for (const std::int64_t rows : {1, 3, 1, 200, 0, 3, 5000, 1}) {
    const std::vector<float> values(static_cast<std::size_t>(rows) * 3, static_cast<float>(rows));
    const std::vector<float> got = run(*add, values, {rows, 3});
    ASSERT_EQ(got.size(), values.size());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], static_cast<float>(rows) + static_cast<float>(i % 3 + 1));
  }
}

TEST(Model, many_shapes_are_kept_within_bounds) {
  SKIP_WITHOUT_MODELS();
  const auto add = load("add");
  for (std::int64_t round = 0; round < 3; ++round)
    for (std::int64_t rows = 1; rows <= 300; ++rows) {
      const auto got = run(*add, std::vector<float>(static_cast<std::size_t>(rows) * 3, 1), {rows, 3});
      ASSERT_EQ(got.back(), 4);
    }
}

TEST(Model, misaligned_input_is_taken) {
  SKIP_WITHOUT_MODELS();
  const auto add = load("add");
  for (const std::size_t rows : {1UL, 4000UL}) {
    std::vector<std::byte> body(rows * 12 + 1);
    const std::vector<float> values(rows * 3, 2);
    std::memcpy(body.data() + 1, values.data(), rows * 12);
    const std::vector<TensorView> inputs{{.shape = {static_cast<std::int64_t>(rows), 3}, .data = std::span(body).subspan(1)}};
    const auto outputs = add->run(inputs);
    ASSERT_TRUE(outputs);
    EXPECT_EQ(values_of<float>((*outputs)[0])[2], 5);
  }
}

TEST(Model, several_inputs_and_outputs_in_their_order) {
  SKIP_WITHOUT_MODELS();
  const auto model = load("several");
  const std::vector<std::int64_t> a{1, 2}, b{30, 40};
  for (int round = 0; round < 2; ++round) {
    const std::vector<TensorView> inputs{tensor_of(a, {1, 2}), tensor_of(b, {1, 2})};
    const auto outputs = model->run(inputs);
    ASSERT_TRUE(outputs);
    EXPECT_EQ(values_of<std::int64_t>((*outputs)[0]), (std::vector<std::int64_t>{31, 42}));
    EXPECT_EQ(values_of<std::int64_t>((*outputs)[1]), (std::vector<std::int64_t>{30, 80}));
    EXPECT_EQ(values_of<float>((*outputs)[2]), (std::vector<float>{1, 2}));
  }
}

TEST(Model, strings_go_in_and_out_whole) {
  SKIP_WITHOUT_MODELS();
  const auto model = load("strings");
  const std::string zero("a\0b", 3), long_text(10000, 'x');
  const std::vector<std::string_view> texts{"", "héllo", zero, long_text};
  const std::vector<TensorView> inputs{{.shape = {4}, .strings = texts}};
  const auto outputs = model->run(inputs);
  ASSERT_TRUE(outputs);
  EXPECT_TRUE(std::ranges::equal((*outputs)[0].strings, texts));
  const std::vector<TensorView> none{{.shape = {0}}};
  EXPECT_TRUE(model->run(none).value()[0].strings.empty());
}

TEST(Model, outputs_whose_shape_depends_on_values) {
  SKIP_WITHOUT_MODELS();
  const auto model = load("nonzero");
  const auto found = [&](const std::vector<float>& values) {
    const std::vector<TensorView> inputs{tensor_of(values, {static_cast<std::int64_t>(values.size())})};
    return values_of<std::int64_t>(model->run(inputs).value()[0]);
  };
  using Indices = std::vector<std::int64_t>;
  EXPECT_EQ(found({1, 0, 1, 0}), (Indices{0, 2}));
  EXPECT_EQ(found({1, 1, 1, 0}), (Indices{0, 1, 2}));
  EXPECT_EQ(found({0, 0, 0, 0}), Indices());
  EXPECT_EQ(found({0, 0, 0, 1}), Indices{3});
}

TEST(Model, a_failed_run_spoils_nothing) {
  SKIP_WITHOUT_MODELS();
  const auto model = load("gather");
  const auto row = [&](std::int64_t index) {
    const std::vector<std::int64_t> values{index};
    const std::vector<TensorView> inputs{tensor_of(values, {1})};
    const auto outputs = model->run(inputs);
    return outputs ? values_of<float>((*outputs)[0])[0] : -1.0F;
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(row(1), 2);
    EXPECT_EQ(row(9), -1);
    EXPECT_EQ(row(3), 6);
  }
}

TEST(Model, trees_agree_with_scikit_learn_and_maps_with_tensors) {
  SKIP_WITHOUT_MODELS();
  const std::string rows = read_test_file("forest_rows.bin"), expected = read_test_file("forest_probabilities.bin");
  std::vector<float> values(rows.size() / 4), probabilities(expected.size() / 4);
  std::memcpy(values.data(), rows.data(), rows.size());
  std::memcpy(probabilities.data(), expected.data(), expected.size());
  for (const std::string name : {"forest", "forest_zipmap"}) {
    const auto model = load(name);
    EXPECT_EQ(model->notes().empty(), name == "forest");
    EXPECT_EQ(model->signature().outputs[1].datatype, Datatype::fp32);
    const auto got = run(*model, values, {64, 30}, 1);
    ASSERT_EQ(got.size(), probabilities.size()) << name;
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], probabilities[i], 1e-5);
  }
}

TEST(Model, a_request_for_all_memory_is_an_error) {
  SKIP_WITHOUT_MODELS();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer ends the process at such an allocation; tests/faults tries it with the release build";
#endif
  const auto model = load("allocates");
  const std::vector<std::int64_t> size{std::int64_t{1} << 48};
  const std::vector<TensorView> inputs{tensor_of(size, {1})};
  const auto outputs = model->run(inputs);
  ASSERT_FALSE(outputs);
  EXPECT_EQ(outputs.error().code, Code::exhausted) << outputs.error().message;
}

TEST(Model, refusals_name_what_is_wrong_and_what_to_do) {
  SKIP_WITHOUT_MODELS();
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"wrong_opset", {"opset 99 of ai.onnx", "this engine knows up to", "export"}},
      {"new_ir", {"IR version 99", "up to"}},
      {"unknown_operator", {"my.company:Sparkle", "standard ONNX operators"}},
      {"sequence_input", {"input 'parts'", "tensors only"}},
      {"sequence_output", {"output 'parts'", "tensors only"}},
      {"complex_output", {"complex64"}},
  };
  for (const auto& [name, words] : cases) {
    const auto model = Model::load(test_engine(), test_model(name), {.optimise = Optimise::nothing});
    ASSERT_FALSE(model) << name;
    EXPECT_NE(model.error().code, Code::internal) << name;
    for (const std::string& word : words)
      EXPECT_NE(model.error().message.find(word), std::string::npos) << name << ": " << model.error().message;
  }
}

TEST(MadeUp, a_row_is_the_same_alone_and_in_company) {
  const domain::Signature signature{
      .inputs = {{"a", Datatype::fp32, {-1, 4}}, {"b", Datatype::int64, {-1, -1}}, {"c", Datatype::bytes, {-1}}},
      .outputs = {},
      .batches = true};
  const auto three = MadeUpInput::make(signature, 0, 3, 5), last = MadeUpInput::make(signature, 2, 1, 5);
  ASSERT_TRUE(three && last);
  EXPECT_EQ(three->tensors()[1].shape, (std::vector<std::int64_t>{3, 5}));
  EXPECT_TRUE(std::ranges::equal(three->tensors()[0].data.subspan(32), last->tensors()[0].data));
  EXPECT_TRUE(std::ranges::equal(three->tensors()[1].data.subspan(80), last->tensors()[1].data));
  EXPECT_EQ(three->tensors()[2].strings[2], last->tensors()[2].strings[0]);
}

TEST(MadeUp, shapes_without_end_are_refused) {
  const auto refused = [](std::vector<std::int64_t> shape) {
    return !MadeUpInput::make({.inputs = {{"a", Datatype::fp32, std::move(shape)}}, .outputs = {}}, 0, 1, 8);
  };
  EXPECT_TRUE(refused({std::int64_t{1} << 40}));
  EXPECT_TRUE(refused({std::int64_t{1} << 33, std::int64_t{1} << 33}));
  EXPECT_TRUE(refused({std::int64_t{1} << 62, 8}));
  EXPECT_FALSE(refused({1024, 1024}));
}

TEST(MadeUp, tells_rows_that_depend_on_one_another) {
  SKIP_WITHOUT_MODELS();
  for (const auto& [name, independent] : {std::pair("add", true), std::pair("forest", true), std::pair("conv", true),
                                          std::pair("strings", true), std::pair("mixes_rows", false), std::pair("nonzero", false)}) {
    const auto model = load(name);
    const auto size = find_size(*model);
    ASSERT_TRUE(size) << name;
    EXPECT_EQ(rows_are_independent(*model, *size), independent) << name;
  }
}

}  // namespace
}  // namespace mayfly::worker
