#include "worker/jobs.h"

#include <filesystem>

#include "domain/working_set.h"
#include "worker/made_up.h"
#include "worker/test_models.h"

namespace mayfly::worker {
namespace {

std::string compile_to(const std::string& name, const ModelData& data) {
  const std::string path = ::testing::TempDir() + "mayfly-test-" + name + "-" + std::to_string(::getpid()) + ".ort";
  const os::Fd output(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const auto compiled = compile_model(test_engine(), data, output.get(), 1 << 30);
  EXPECT_TRUE(compiled) << name << ": " << compiled.error().message;
  return path;
}

ModelData external() {
  ModelData data;
  data.files.push_back(test_file(models_folder() + "nets/external.onnx", "nets/external.onnx"));
  data.files.push_back(test_file(models_folder() + "nets/weights/part.bin", "nets/weights/part.bin"));
  return data;
}

TEST(Check, accepts_models_and_describes_them) {
  SKIP_WITHOUT_MODELS();
  for (const auto& [name, batches] :
       {std::pair("add", true), std::pair("matmul_fixed", false), std::pair("strings", true), std::pair("several", true),
        std::pair("mixes_rows", false), std::pair("conv", true), std::pair("forest", true), std::pair("forest_zipmap", true)}) {
    const auto checked = check_model(test_engine(), test_model(name));
    ASSERT_TRUE(checked) << name << ": " << checked.error().message;
    EXPECT_EQ(checked->signature.batches, batches) << name;
    EXPECT_TRUE(checked->template_allowed) << name;
    const auto again = domain::parse_check_result(domain::to_json(*checked));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->signature, checked->signature);
  }
}

TEST(Check, draws_forbid_a_template) {
  SKIP_WITHOUT_MODELS();
  for (const std::string name : {"random_normal", "random_inside"})
    EXPECT_FALSE(check_model(test_engine(), test_model(name)).value().template_allowed) << name;
}

TEST(Check, refuses_with_a_reason) {
  SKIP_WITHOUT_MODELS();
  for (const std::string name : {"truncated", "not_a_model", "text", "wrong_opset", "new_ir", "unknown_operator", "outside",
                                 "sequence_input", "sequence_output"}) {
    const auto checked = check_model(test_engine(), test_model(name));
    ASSERT_FALSE(checked) << name;
    EXPECT_TRUE(checked.error().code == Code::invalid_argument || checked.error().code == Code::unimplemented) << name;
    EXPECT_GT(checked.error().message.size(), 20U) << name;
  }
}

TEST(Check, external_data_must_be_there) {
  SKIP_WITHOUT_MODELS();
  const auto checked = check_model(test_engine(), external());
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_TRUE(checked->signature.batches);
  ModelData without = external();
  without.files.pop_back();
  const auto refused = check_model(test_engine(), std::move(without));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("nets/weights/part.bin"), std::string::npos) << refused.error().message;
}

TEST(Compile, the_flat_file_gives_the_same_answers) {
  SKIP_WITHOUT_MODELS();
  for (const std::string name : {"add", "several", "conv", "forest", "forest_zipmap", "strings", "external", "stored"}) {
    const auto data = [&] { return name == "external" ? external() : test_model(name); };
    const std::string path = compile_to(name, data());
    ModelData flat;
    flat.files.push_back(test_file(path, "model.onnx"));
    auto compiled = Model::load(test_engine(), std::move(flat), {.compiled = true, .pack_weights = false});
    auto original = Model::load(test_engine(), data(), {.optimise = Optimise::nothing});
    ASSERT_TRUE(compiled) << name << ": " << compiled.error().message;
    ASSERT_TRUE(original) << name << ": " << original.error().message;
    EXPECT_EQ((*compiled)->signature(), (*original)->signature()) << name;
    const auto input = MadeUpInput::make((*original)->signature(), 0, 2, 8);
    const auto a = (*compiled)->run(input->tensors()), b = (*original)->run(input->tensors());
    ASSERT_TRUE(a && b) << name;
    for (std::size_t i = 0; i < a->size(); ++i) {
      EXPECT_EQ((*a)[i].shape, (*b)[i].shape) << name;
      if ((*original)->signature().outputs[i].datatype != domain::Datatype::fp32) continue;
      const auto left = values_of<float>((*a)[i]), right = values_of<float>((*b)[i]);
      for (std::size_t k = 0; k < left.size(); ++k) EXPECT_NEAR(left[k], right[k], 1e-4) << name;
    }
    ::unlink(path.c_str());
  }
}

// Of a convolution of one place to turn its weights back takes several times what it computes, on any processor.
TEST(Compile, weights_that_are_only_stored_in_8_bits_become_floats_where_that_is_quicker) {
  SKIP_WITHOUT_MODELS();
  constexpr std::uint64_t kStored = 128 * 128 * 9, kRounded = 128 * 128;
  for (const auto& [name, least, most] : {std::tuple("stored", 4 * kStored, 5 * kStored), std::tuple("rounded", kRounded, 2 * kRounded)}) {
    const std::string path = compile_to(name, test_model(name));
    EXPECT_GE(std::filesystem::file_size(path), least) << name;
    EXPECT_LE(std::filesystem::file_size(path), most) << name;
    ::unlink(path.c_str());
  }
}

TEST(Compile, keeps_to_its_limit) {
  SKIP_WITHOUT_MODELS();
  const os::Fd output = os::make_memfd("compiled", 0).value();
  const auto compiled = compile_model(test_engine(), test_model("forest"), output.get(), 1000);
  ASSERT_FALSE(compiled);
  EXPECT_EQ(compiled.error().code, Code::exhausted);
}

TEST(Tune, measures_and_decides) {
  SKIP_WITHOUT_MODELS();
  for (const std::string name : {"forest", "random_normal", "random_inside"}) {
    const std::string path = compile_to(name, test_model(name));
    const auto load = [&]() -> Result<ModelData> {
      ModelData data;
      data.files.push_back(test_file(path, "model.onnx"));
      return data;
    };
    const auto tuning = tune_model(test_engine(), load, 1);
    ASSERT_TRUE(tuning) << tuning.error().message;
    EXPECT_GT(tuning->cold_first_ns, tuning->warm_run_ns);
    EXPECT_GT(tuning->warm_run_ns, 0U);
    EXPECT_GT(tuning->fork_first_ns, tuning->warm_run_ns);
    EXPECT_GT(tuning->private_bytes, 0U);
#ifndef __SANITIZE_ADDRESS__  // whose allocator does not tell
    EXPECT_GT(tuning->own_bytes, 0U);
    EXPECT_GT(tuning->own_packed_bytes, 0U);
#endif
    const auto touched = domain::parse_working_set(tuning->working_set);
    ASSERT_TRUE(touched) << touched.error().message;
    EXPECT_EQ(touched->file_size, std::filesystem::file_size(path));
    EXPECT_GT(domain::total_size(*touched), 0U) << "it can't have answered without its file";
    EXPECT_EQ(tuning->threads, 1);
    EXPECT_EQ(tuning->template_allowed, name == "forest");
    EXPECT_EQ(domain::parse_tuning_result(domain::to_json(*tuning)).value(), *tuning);
    ::unlink(path.c_str());
  }
}

TEST(Tune, a_file_that_does_not_load_is_an_error) {
  const auto tuning = tune_model(test_engine(), []() -> Result<ModelData> { return fail(Code::not_found, "gone"); }, 1);
  ASSERT_FALSE(tuning);
  EXPECT_EQ(tuning.error().message, "gone");
}

}  // namespace
}  // namespace mayfly::worker
