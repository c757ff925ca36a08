// A stranger's model, damaged in any way: it is read or refused with a message, and each step then makes a model or a message of
// it, never a crash. What a step made can be written and read again.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "optimize/fit_weights.h"
#include "optimize/recipe.h"
#include "optimize/static_int8.h"
#include "optimize/summands.h"
#include "optimize/test_models.h"

namespace {

using namespace mayfly::optimize;

TestModel products() {
  TestModel made;
  made.input("x", {"n", "64"}).output("y").floats("a", {64, 72}).floats("b", {72}).floats("c", {72, 64}).floats("d", {64, 64});
  made.wholes("shape", {2}, {-1, 64}).node("MatMul", {"x", "a"}, {"h"});
  made.node("Add", {"h", "b"}, {"i"});
  made.node("Relu", {"i"}, {"j"});
  made.node("MatMul", {"j", "c"}, {"k"});
  made.node("Transpose", {"d"}, {"t"});
  made.node("Reshape", {"k", "shape"}, {"l"});
  set_int(made.node("Gemm", {"l", "t", "b"}, {"y"}), "transB", 1);
  return made;
}

TestModel pictures() {
  TestModel made(13);
  made.input("x", {"n", "3", "8", "8"}).input("i", {"n"}, onnx::TensorProto::INT64).output("y").output("e");
  made.floats("c", {16, 3, 3, 3}).floats("g", {16}).floats("d", {16, 1, 3, 3}).floats("f", {8, 16, 1, 1}).floats("table", {600, 8});
  made.node("Conv", {"x", "c", "g"}, {"a"});
  made.node("BatchNormalization", {"a", "g", "g", "g", "g"}, {"n1"});
  set_int(made.node("Conv", {"n1", "d"}, {"p"}), "group", 16);
  made.node("Conv", {"p", "f"}, {"y"});
  made.node("Gather", {"table", "i"}, {"e"});
  return made;
}

TestModel normalised() {
  TestModel made;
  made.input("x", {"n", "t", "8"}).output("y").floats("a", {8, 8}).floats("b", {8});
  made.node("Relu", {"x"}, {"r"});
  made.node("MatMul", {"r", "a"}, {"m"});
  made.node("Add", {"m", "b"}, {"h"});
  made.node("Add", {"h", "r"}, {"s"});
  made.node("LayerNormalization", {"s", "b"}, {"z"});
  made.node("Add", {"z", "r"}, {"u"});
  made.node("ReduceMean", {"u"}, {"v"});
  made.node("Sub", {"u", "v"}, {"y"});
  return made;
}

// Seeds that begin with a letter stand for the models above, whose bytes hold zeros.
std::string bytes_of(std::string_view text) {
  const auto pick = [](const TestModel& made) { return const_cast<TestModel&>(made).proto().SerializeAsString(); };
  std::string bytes(text);
  if (!text.starts_with("model ") || text.size() < 7) return bytes;
  static const std::string kModels[] = {pick(products()), pick(pictures()), pick(normalised())};
  bytes = kModels[static_cast<unsigned char>(text[6]) % std::size(kModels)];
  for (std::size_t i = 7; i + 3 <= text.size(); i += 3) {  // each three bytes that follow change one of the model's: a place and a value
    const auto place = static_cast<std::size_t>(static_cast<unsigned char>(text[i]) << 8 | static_cast<unsigned char>(text[i + 1]));
    const std::size_t weights = bytes.size() > 4000 && place % 4 ? place % 1000 : place;  // most damage where the graph is
    bytes[weights % bytes.size()] = text[i + 2];
  }
  return bytes;
}

// Of values of some shape that the layers may take.
AllMoments moments_of(const Model& model, FitLayers layers) {
  AllMoments out;
  for (const FitInput& input : inputs_to_fit(model, layers)) {
    Moments& made = out.try_emplace(input.key, input.patches).first->second;
    std::int64_t under = 1;
    for (const std::int64_t size : input.patches.kernel) under *= size;
    const auto size = static_cast<std::int64_t>(input.patches.size);
    std::vector<std::int64_t> shape{64, size};
    if (!input.patches.kernel.empty()) {
      shape = {1, static_cast<std::int64_t>(input.patches.groups) * (size / under)};
      shape.resize(input.patches.kernel.size() + 2, 8);
    }
    std::uint64_t count = 1;
    for (const std::int64_t each : shape) count = std::min<std::uint64_t>(count * static_cast<std::uint64_t>(each), 1 << 20);
    made.look(TestModel::pattern(count), shape);
  }
  return out;
}

void check(const Model& model) {
  for (const StepInfo& info : all_steps()) {
    Step step{info.name, {}};
    if (info.name == "shape:NAME") step.name = "shape:n";
    if (!info.amount.empty()) step.amount = info.name == "int4-weights" ? 32 : info.least < 1 ? 0.5 : info.least;
    const auto made = apply(model, step);
    if (!made) {
      ASSERT(!made.error().message.empty(), "an error has a message");
      continue;
    }
    const auto again = Model::parse(made->model.impl().proto.SerializeAsString());
    ASSERT(again.has_value() || made->model.nodes() == 0, "what a step makes can be read");
  }
  ShapesSeen seen{2, 8, {}};
  for (const std::string& name : summands_to_observe(model)) seen.shapes[name] = {2, 8, 4};
  Model stated = model.copy();
  const int count = state_shapes(stated, {seen, {3, 8, seen.shapes}, {2, 9, seen.shapes}});
  ASSERT(count <= static_cast<int>(seen.shapes.size()), "what was seen is stated, or not");
  Ranges ranges;
  for (const std::string& name : tensors_to_measure(model)) ranges[name] = {-1, 2};
  static_cast<void>(quantise_static(model, ranges));
  for (const FitLayers layers : {FitLayers::worth_storing, FitLayers::all}) {
    const AllMoments moments = moments_of(model, layers);
    const auto made = layers == FitLayers::all ? quantise_static(model, ranges, {}, &moments) : fit_weights(model, moments);
    ASSERT(made.has_value() || !made.error().message.empty(), "an error has a message");
  }
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {"model 0", "model 1", "model 2", "model 0abcdefghi", "model 1ABCDEFGHIJKL",
                                           "model 2abcdef", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto model = Model::parse(bytes_of({reinterpret_cast<const char*>(data), size}));
  if (model) check(*model);
  else ASSERT(!model.error().message.empty(), "an error has a message");
  return 0;
}
