#include "worker/inspect.h"

#include "worker/test_models.h"

namespace mayfly::worker {
namespace {

Result<Inspection> inspect(const std::string& name) {
  const ModelData data = test_model(name);
  return inspect_model(data.files[0].bytes.text());
}

TEST(Inspect, reads_what_the_model_says) {
  SKIP_WITHOUT_MODELS();
  const auto seen = inspect("conv");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->ir_version, 8);
  EXPECT_EQ(seen->opset, 17);
  EXPECT_EQ(seen->nodes, 4U);
  EXPECT_FALSE(seen->draws_random);
  EXPECT_TRUE(seen->external_data.empty());
}

TEST(Inspect, finds_draws_in_branches_too) {
  SKIP_WITHOUT_MODELS();
  EXPECT_TRUE(inspect("random_normal").value().draws_random);
  EXPECT_TRUE(inspect("random_inside").value().draws_random);
}

TEST(Inspect, tells_weights_that_are_only_stored_in_8_bits) {
  SKIP_WITHOUT_MODELS();
  EXPECT_TRUE(inspect("stored").value().stores_bits);
  EXPECT_FALSE(inspect("rounded").value().stores_bits);
  EXPECT_FALSE(inspect("conv").value().stores_bits);
}

TEST(Inspect, tells_what_is_no_model) {
  SKIP_WITHOUT_MODELS();
  for (const auto& [name, word] : {std::pair("truncated", "truncated"), std::pair("not_a_model", "zip"),
                                   std::pair("text", "not an ONNX model"), std::pair("outside", "outside the function's folder")}) {
    const auto seen = inspect(name);
    ASSERT_FALSE(seen) << name;
    EXPECT_EQ(seen.error().code, Code::invalid_argument);
    EXPECT_NE(seen.error().message.find(word), std::string::npos) << seen.error().message;
  }
  EXPECT_FALSE(inspect_model(""));
}

TEST(Inspect, every_prefix_of_a_model_is_refused_or_whole) {
  SKIP_WITHOUT_MODELS();
  const std::string whole = read_test_file("several.onnx");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto seen = inspect_model(std::string_view(whole).substr(0, size));
    // A cut between two fields leaves a smaller model: it may not have what lies behind the cut.
    EXPECT_TRUE(!seen || seen->opset == 0) << size;
  }
  ASSERT_TRUE(inspect_model(whole));
}

TEST(Inspect, external_data_are_found_from_the_models_folder) {
  EXPECT_EQ(resolve_external("nets/model.onnx", "weights/./a.bin").value(), "nets/weights/a.bin");
  EXPECT_EQ(resolve_external("model.onnx", "a.bin").value(), "a.bin");
  for (const std::string& bad : {std::string(), std::string("/etc/passwd"), std::string("../a"), std::string("a/../../b"),
                                 std::string("a/.."), std::string("a\\b"), std::string("a\0b", 3)})
    EXPECT_FALSE(resolve_external("nets/model.onnx", bad)) << bad;
  EXPECT_FALSE(resolve_external("model.onnx", std::string(241, 'a')));
}

}  // namespace
}  // namespace mayfly::worker
