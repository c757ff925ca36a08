// fp16, bf16, int8-weights, int4-weights: weights in fewer bits, computed with in 32. They make the file smaller; the engine turns
// them back, once at load (fp16, bf16, int8-weights: a constant is folded) or block by block while it multiplies (int4-weights).
#include <algorithm>
#include <cmath>

#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr std::uint64_t kHalfLeast = 256;
constexpr float kHalfMost = 65504;

// Nodes of the branches and what they use stay: a constant that one of them uses may be changed, its name must stay.
void put_before(Graph& graph, std::vector<NodeProto> first) {
  for (const NodeProto& node : graph.proto().node()) first.push_back(node);
  graph.replace_nodes(std::move(first));
}

// Where a constant is used it must be named as before: the stored one gets another name, a node makes the old one of it.
std::string take_name(Graph& graph, TensorProto& tensor, const std::string& ending) {
  const std::string name = tensor.name();
  tensor.set_name(graph.unique(name + ending));
  return name;
}

std::string constant_node(const std::string& name) { return "constant '" + name + "'"; }

float largest(const TensorProto& tensor) {
  float most = 0;
  for (const float number : values<float>(tensor)) most = std::max(most, std::isnan(number) ? INFINITY : std::abs(number));
  return most;
}

bool is_kept(Work& work, const std::string& name) {
  if (work.keep.contains(constant_node(name))) return true;
  const auto& users = work.graph.consumers(name);
  return std::ranges::any_of(users, [&](int user) { return work.keep.contains(name_of(work.graph.node(user))); });
}

// Inputs that the engine must know when it loads, and so stays as a plain constant: pads, scales of Resize and the like are small.
bool is_weight(const TensorProto& tensor) { return is_float(tensor) && tensor.dims_size() > 0; }

}  // namespace

Result<void> half_weights(Work& work, int data_type) {
  Graph& graph = work.graph;
  const bool half = data_type == TensorProto::FLOAT16;
  TRY_VOID(needs_opset(work, half ? 7 : 13, half ? "fp16" : "bf16"));
  std::vector<NodeProto> casts;
  for (TensorProto& tensor : *graph.proto().mutable_initializer()) {
    if (!is_weight(tensor) || !graph.constant(tensor.name())) continue;
    const std::string what = constant_node(tensor.name());
    if (elements(tensor) < kHalfLeast) continue;  // nothing to gain, and nothing to report: these are many
    if (graph.is_output(tensor.name())) { work.left.push_back({what, "it is an output of the model"}); continue; }
    if (is_kept(work, tensor.name())) { work.left.push_back({what, "it is to stay as it is"}); continue; }
    const float most = largest(tensor);
    if (half ? most > kHalfMost : !std::isfinite(most)) {
      work.left.push_back({what, "it holds values beyond what " + std::string(half ? "16-bit floats reach (65504)" : "numbers are")});
      continue;
    }
    std::vector<std::uint16_t> to;
    for (const float number : values<float>(tensor)) to.push_back(half ? to_half(number) : to_bfloat16(number));
    const std::string name = take_name(graph, tensor, half ? "_fp16" : "_bf16");
    set_values<std::uint16_t>(tensor, to);
    tensor.set_data_type(data_type);
    NodeProto cast = make_node("Cast", {tensor.name()}, {name});
    set_int(cast, "to", TensorProto::FLOAT);
    casts.push_back(std::move(cast));
    ++work.changed, work.done.push_back(what);
  }
  put_before(graph, std::move(casts));
  graph.remove_unused_constants();
  work.notes.push_back("the weights are stored in 16 bits and computed with in 32: the file is half as large, the answers take as long as before");
  return {};
}

Result<void> int8_weights(Work& work) {
  Graph& graph = work.graph;
  TRY_VOID(needs_opset(work, 13, "int8-weights"));
  std::map<std::string, int> axes;  // by which axis a weight gets its scales; by its first use
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    const bool product = is_onnx(node, "MatMul") || is_onnx(node, "Gemm"), conv = is_onnx(node, "Conv"), table = is_onnx(node, "Gather");
    if (!product && !conv && !table) continue;
    const int at = table ? 0 : 1;
    const TensorProto* weights = node.input_size() > 1 ? graph.constant(node.input(at)) : nullptr;
    if (!weights || !is_float(*weights) || (table && elements(*weights) < kQuantisedLeast)) continue;
    if (elements(*weights) < kQuantisedLeast) {
      work.leave(node, "its weights are " + with_commas(elements(*weights)) + " values, fewer than the 4,096 that are worth it");
    } else if (weights->dims_size() < 2 || (product && weights->dims_size() != 2) || (table && int_of(node, "axis", 0) != 0)) {
      work.leave(node, "its weights have a shape that is not split by columns or rows");
    } else if (!all_finite(*weights)) {
      work.leave(node, "its weights have values that are no finite numbers");
    } else if (graph.is_output(weights->name())) {
      work.leave(node, "its weights are an output of the model");
    } else if (is_kept(work, weights->name())) {
      work.leave(node, "it is to stay as it is");
    } else {
      const bool turned = product && int_of(node, "transB", 0) != 0;
      axes.emplace(weights->name(), product && !turned ? 1 : 0);
      work.did(node);
    }
  }
  std::vector<NodeProto> back;
  for (const auto& [name, axis] : axes) {
    TensorProto matrix = *graph.constant(name);
    const Shape shape = shape_of(matrix);
    const auto first = static_cast<std::int64_t>(shape[0]);
    const auto rest = first == 0 ? 0 : static_cast<std::int64_t>(elements(matrix)) / first;
    matrix.clear_dims(), matrix.add_dims(first), matrix.add_dims(rest);  // a filter's slices as rows
    auto [numbers, scale] = to_int8(matrix, axis == 0 ? Layout::rows : Layout::columns);
    numbers.clear_dims();
    for (const std::int64_t size : shape) numbers.add_dims(size);
    const auto scales = static_cast<std::int64_t>(elements(scale));
    scale.clear_dims(), scale.add_dims(scales);
    TensorProto* stored = graph.mutable_constant(name);
    numbers.set_name(graph.unique(name + "_int8"));
    NodeProto node = make_node("DequantizeLinear", {numbers.name(), graph.add(std::move(scale))}, {name});
    stored = graph.mutable_constant(name);  // adding may have moved it
    *stored = std::move(numbers);
    set_int(node, "axis", axis);
    back.push_back(std::move(node));
  }
  put_before(graph, std::move(back));
  graph.remove_unused_constants();
  work.notes.push_back("the weights are stored in 8 bits and computed with in 32");
  return {};
}

namespace {

// MatMulNBits of com.microsoft: for each column blocks of `block` numbers, two to a byte, low half first, 8 in the middle.
struct Blocks {
  std::vector<std::uint8_t> numbers;
  std::vector<float> scales;
};

// The scale of a block: the number that is largest by size becomes -8, as the engine's own quantiser does it.
float block_scale(const float* numbers, std::size_t count) {
  float least = 0, most = 0;
  for (std::size_t i = 0; i < count; ++i) least = std::min(least, numbers[i]), most = std::max(most, numbers[i]);
  return (std::abs(most) > std::abs(least) ? most : least) / -8;
}

float round_block(const float* numbers, std::size_t count, float scale, std::uint8_t* out) {
  float error = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float whole = scale == 0 ? 8 : std::clamp(std::nearbyint(numbers[i] / scale) + 8, 0.0f, 15.0f);
    const float off = (whole - 8) * scale - numbers[i];
    error += off * off;
    out[i] = static_cast<std::uint8_t>(whole);
  }
  return error;
}

Blocks to_blocks(const TensorProto& matrix, std::size_t block) {
  const auto rows = static_cast<std::size_t>(matrix.dims(0)), columns = static_cast<std::size_t>(matrix.dims(1));
  const std::vector<float> by_column = transposed(values<float>(matrix), rows, columns);
  const std::size_t blocks = (rows + block - 1) / block;
  Blocks out{.numbers = std::vector<std::uint8_t>(columns * blocks * block / 2, 0x88), .scales = std::vector<float>(columns * blocks, 0)};
  std::vector<std::uint8_t> best(block), trial(block);
  for (std::size_t at = 0; at < columns * blocks; ++at) {
    const std::size_t column = at / blocks, from = at % blocks * block, count = std::min(block, rows - from);
    const float* numbers = by_column.data() + column * rows + from;
    const float whole = block_scale(numbers, count);
    std::ranges::fill(best, std::uint8_t{8});
    float least = round_block(numbers, count, out.scales[at] = whole, best.data());
    for (const float part : {0.95f, 0.9f, 0.85f, 0.8f}) {  // cutting the largest off often makes the rest finer than it costs
      std::ranges::fill(trial, std::uint8_t{8});
      const float error = round_block(numbers, count, whole * part, trial.data());
      if (error < least) least = error, out.scales[at] = whole * part, best = trial;
    }
    for (std::size_t i = 0; i < block; i += 2)
      out.numbers[(at * block + i) / 2] = static_cast<std::uint8_t>(best[i] | best[i + 1] << 4);
  }
  return out;
}

}  // namespace

Result<void> int4_weights(Work& work) {
  Graph& graph = work.graph;
  const auto block = static_cast<std::int64_t>(work.amount);
  if ((block & (block - 1)) != 0) return fail(Code::invalid_argument, "int4-weights:" + std::to_string(block) + ": blocks are of 16, 32, 64, 128 or 256 numbers");
  std::map<std::string, std::pair<std::string, std::string>> made;
  std::vector<NodeProto> out;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    if (!is_onnx(node, "MatMul")) {
      if (is_onnx(node, "Gemm") && !unfit_weights(graph, node, 1)) work.leave(node, "it is a Gemm: the engine multiplies with 4-bit weights only in MatMul");
      out.push_back(node);
      continue;
    }
    if (const auto why = unfit_weights(graph, node, 1)) {
      work.leave(node, *why);
      out.push_back(node);
      continue;
    }
    if (work.kept(node)) { out.push_back(node); continue; }
    const TensorProto& weights = *graph.constant(node.input(1));
    const std::int64_t rows = weights.dims(0), columns = weights.dims(1), blocks = (rows + block - 1) / block;
    const auto [place, is_new] = made.try_emplace(weights.name());
    if (is_new) {
      const Blocks blocked = to_blocks(weights, static_cast<std::size_t>(block));
      const std::string name = weights.name();  // adding moves the constants
      const std::string numbers = graph.add(make_tensor(name + "_int4", TensorProto::UINT8, {columns, blocks, block / 2}, blocked.numbers));
      place->second = {numbers, graph.add(make_tensor(name + "_int4_scale", TensorProto::FLOAT, {columns * blocks}, blocked.scales))};
    }
    NodeProto product = make_node("MatMulNBits", {node.input(0), place->second.first, place->second.second}, {node.output(0)}, "com.microsoft");
    set_int(product, "K", rows), set_int(product, "N", columns), set_int(product, "bits", 4), set_int(product, "block_size", block);
    work.did(node);
    out.push_back(std::move(product));
  }
  graph.replace_nodes(std::move(out));
  if (work.changed > 0) graph.use_domain("com.microsoft", 1);
  graph.remove_unused_constants();
  return {};
}

}  // namespace mayfly::optimize
