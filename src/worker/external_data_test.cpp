#include "worker/external_data.h"

#include <sys/mman.h>

#include "optimize/test_models.h"
#include "worker/inspect.h"
#include "worker/test_models.h"

namespace mayfly::worker {
namespace {

using optimize::TestModel;

void lies_in(onnx::TensorProto& tensor, const std::string& file, std::uint64_t offset, std::optional<std::uint64_t> length = {}) {
  tensor.clear_raw_data();
  tensor.set_data_location(onnx::TensorProto::EXTERNAL);
  const auto say = [&](const std::string& key, const std::string& value) {
    auto* entry = tensor.add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  };
  say("location", file);
  say("offset", std::to_string(offset));
  if (length) say("length", std::to_string(*length));
}

// x [n,2] -> two products; the weights of both lie in a file, those of the second before those of the first.
TestModel two_products() {
  TestModel made;
  made.input("x", {"n", "2"}).output("y", {"n", "2"}).floats("w", {2, 2}, {0, 0, 0, 0}).floats("v", {2, 2}, {0, 0, 0, 0});
  made.node("MatMul", {"x", "w"}, {"h"});
  made.node("MatMul", {"h", "v"}, {"y"});
  lies_in(*made.proto().mutable_graph()->mutable_initializer(0), "nets/weights.bin", 16, 16);
  lies_in(*made.proto().mutable_graph()->mutable_initializer(1), "nets/weights.bin", 0);
  return made;
}

os::Mapping memory_of(std::string_view bytes) {
  void* const at = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  std::memcpy(at, bytes.data(), bytes.size());
  return {at, bytes.size()};
}

ModelData data_of(TestModel& made, const std::vector<float>& weights) {
  ModelData data;
  data.files.push_back({"model.onnx", memory_of(made.proto().SerializeAsString())});
  data.files.push_back({"nets/weights.bin", memory_of({reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float)})});
  return data;
}

Result<InPlace> in_place(TestModel& made) {
  const std::string bytes = made.proto().SerializeAsString();
  const auto seen = inspect_model(bytes);
  if (!seen) return fail(seen.error());
  return weights_in_place(bytes, seen->external_tensors);
}

std::vector<float> answer(Model& model) {
  const std::vector<float> x = {1, 10};
  const std::vector<TensorView> inputs{tensor_of(x, {1, 2})};
  const auto outputs = model.run(inputs);
  EXPECT_TRUE(outputs) << outputs.error().message;
  return outputs ? values_of<float>((*outputs)[0]) : std::vector<float>();
}

TEST(ExternalData, WeightsAreFoundWhereTheyLieAndTheModelNamesTheFolder) {
  TestModel made = two_products();
  const auto found = in_place(made);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->tensors.size(), 2U);
  EXPECT_EQ(found->tensors[0].name, "w");
  EXPECT_EQ(found->tensors[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(found->tensors[0].location, "nets/weights.bin");
  EXPECT_EQ(found->tensors[0].offset, 16U);
  EXPECT_FALSE(found->tensors[0].looked_up);
  EXPECT_EQ(found->tensors[1].offset, 0U);
  EXPECT_EQ(found->tensors[1].size, 16U);
  onnx::ModelProto changed;
  ASSERT_TRUE(changed.ParseFromString(found->model));
  for (auto& tensor : *changed.mutable_graph()->mutable_initializer()) {
    ASSERT_EQ(tensor.external_data_size(), 1);
    EXPECT_EQ(tensor.external_data(0).value(), ".");
    tensor.clear_external_data();
  }
  for (auto& tensor : *made.proto().mutable_graph()->mutable_initializer()) tensor.clear_external_data();
  EXPECT_EQ(changed.SerializeAsString(), made.proto().SerializeAsString());  // all else is as it was
}

TEST(ExternalData, TheEngineUsesThemInPlace) {
  TestModel made = two_products();
  ModelData data = data_of(made, {2, 0, 0, 3, 1, 1, 0, 1});  // v, then w
  std::byte* const weights = data.files[1].bytes.data();
  const auto model = Model::load(test_engine(), std::move(data), {.pack_weights = false, .map_weights = true});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->copied_because(), "");
  EXPECT_EQ(answer(**model), (std::vector<float>{2, 33}));  // (1, 10) -> (1, 11) -> (2, 33)
  const float four = 4;
  std::memcpy(weights, &four, sizeof four);                 // no copy was made: this is what it computes with
  EXPECT_EQ(answer(**model), (std::vector<float>{4, 33}));
  ModelData again = data_of(made, {2, 0, 0, 3, 1, 1, 0, 1});
  std::byte* const copied = again.files[1].bytes.data();
  const auto other = Model::load(test_engine(), std::move(again), {});
  ASSERT_TRUE(other) << other.error().message;
  std::memcpy(copied, &four, sizeof four);
  EXPECT_EQ(answer(**other), (std::vector<float>{2, 33}));
}

TEST(ExternalData, OneThatIsTooLargeToCopyIsUsedInPlaceWhoeverAsks) {
  constexpr std::int64_t kRows = (1LL << 21) + 1, kWidth = 256;  // 2 GiB and a row
  const std::size_t size = static_cast<std::size_t>(kRows * kWidth) * sizeof(float);
  TestModel made;
  made.input("i", {"n"}, onnx::TensorProto::INT64).output("y", {"n", "256"}).floats("t", {1}, {0});
  made.node("Gather", {"t", "i"}, {"y"});
  auto& table = *made.proto().mutable_graph()->mutable_initializer(0);
  table.clear_dims();
  table.add_dims(kRows), table.add_dims(kWidth);
  lies_in(table, "table.bin", 0);
  ModelData data;
  data.files.push_back({"model.onnx", memory_of(made.proto().SerializeAsString())});
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  static_cast<float*>(at)[size / sizeof(float) - 1] = 7;
  data.files.push_back({"table.bin", os::Mapping(at, size)});
  const auto model = Model::load(test_engine(), std::move(data), {});
  ASSERT_TRUE(model) << model.error().message;
  const std::vector<std::int64_t> last = {kRows - 1};
  const std::vector<TensorView> inputs{tensor_of(last, {1})};
  const auto outputs = (*model)->run(inputs);
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_EQ(values_of<float>((*outputs)[0]).back(), 7);
}

TEST(ExternalData, OneThatCannotBeUsedInPlaceIsCopiedAndSaid) {
  TestModel made = two_products();
  made.input("w", {"2", "2"});  // which a caller might give instead
  ModelData data = data_of(made, {2, 0, 0, 3, 1, 1, 0, 1});
  const auto model = Model::load(test_engine(), std::move(data), {.map_weights = true});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->copied_because(), "weights 'w' are an input, too");
}

TEST(ExternalData, ATableOfWhichRowsAreTakenIsKnown) {
  TestModel made = two_products();
  made.input("i", {"k"}, onnx::TensorProto::INT64).output("rows", {"k", "2"});
  made.node("Gather", {"v", "i"}, {"rows"});
  const auto found = in_place(made);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->tensors[0].looked_up);
  EXPECT_TRUE(found->tensors[1].looked_up);
}

TEST(ExternalData, WhatCannotBeUsedInPlaceIsSaid) {
  const auto says = [](const auto& change, const std::string& what) {
    TestModel made = two_products();
    change(made, *made.proto().mutable_graph()->mutable_initializer(0));
    const auto found = in_place(made);
    ASSERT_FALSE(found) << what;
    EXPECT_NE(found.error().message.find(what), std::string::npos) << found.error().message;
  };
  says([](TestModel&, auto& tensor) { tensor.set_data_type(onnx::TensorProto::INT4); }, "of type 22 of ONNX, which has no whole bytes");
  says([](TestModel&, auto& tensor) { tensor.set_data_type(onnx::TensorProto::STRING); }, "no whole bytes");
  says([](TestModel&, auto& tensor) { tensor.mutable_external_data(1)->set_value("14"); }, "begin at byte 14");
  says([](TestModel&, auto& tensor) { tensor.mutable_external_data(1)->set_value("-4"); }, "no name, no file or not the length");
  says([](TestModel&, auto& tensor) { tensor.mutable_external_data(2)->set_value("12"); }, "not the length of their shape");
  says([](TestModel&, auto& tensor) { tensor.set_dims(0, -2); }, "have a dimension of -2");
  says([](TestModel&, auto& tensor) { tensor.set_dims(0, std::int64_t{1} << 62); }, "have a dimension of 46");
  says([](TestModel&, auto& tensor) { tensor.set_name("v"); }, "two weights are named 'v'");
  says([](TestModel& made, auto&) {
    auto* attribute = made.node("Constant", {}, {"c"}).add_attribute();
    attribute->set_name("value");
    attribute->set_type(onnx::AttributeProto::TENSOR);
    *attribute->mutable_t() = made.proto().graph().initializer(1);
  }, "branches, attributes or sparse");
}

TEST(ExternalData, AFileThatEndsTooEarlyIsSaid) {
  TestModel made = two_products();
  const auto model = Model::load(test_engine(), data_of(made, {2, 0, 0, 3, 1, 1}), {.pack_weights = false, .map_weights = true});
  ASSERT_FALSE(model);
  EXPECT_FALSE(model.error().message.empty());
}

}  // namespace
}  // namespace mayfly::worker
