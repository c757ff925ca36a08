// fp16, bf16, int8-weights, int4-weights: weights in fewer bits, computed with in 32. They make the file smaller; the engine turns
// them back: at load (fp16, bf16: a constant is folded), at each run or once (int8-weights: worker/compile takes what is quicker), or block
// by block while it multiplies (int4-weights).
#include <algorithm>
#include <cmath>

#include "optimize/detail/heads.h"
#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr std::uint64_t kHalfLeast = 256;
constexpr float kHalfMost = 65504;

void quantise_tables(Work& work) {
  Tables tables(work);
  std::vector<NodeProto> out;
  for (int i = 0; i < work.graph.nodes(); ++i) {
    const NodeProto& node = work.graph.node(i);
    if (is_onnx(node, "Gather") && tables.quantise(node, out)) work.did(node);
    else out.push_back(node);
  }
  work.graph.replace_nodes(std::move(out));
}

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
  work.notes.push_back(
      "the weights are stored in 16 bits and computed with in 32: the file is half as large, the answers take as long as before");
  return {};
}

Result<void> int8_weights(Work& work, const Fitted& fitted) {
  Graph& graph = work.graph;
  TRY_VOID(needs_opset(work, 13, "int8-weights"));
  quantise_tables(work);
  std::map<std::string, int> axes;  // by which axis a weight gets its scales; by its first use
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    const bool product = is_onnx(node, "MatMul") || is_onnx(node, "Gemm") || holds_projections(node), conv = is_onnx(node, "Conv");
    if (!product && !conv) continue;
    const TensorProto* weights = node.input_size() > 1 ? graph.constant(node.input(1)) : nullptr;
    if (!weights || !is_float(*weights)) continue;
    if (elements(*weights) < kQuantisedLeast) {
      work.leave(node, "its weights are " + with_commas(elements(*weights)) + " values, fewer than the 4,096 that are worth it");
    } else if (weights->dims_size() < 2 || (product && weights->dims_size() != 2)) {
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
    const auto known = fitted.find(name);
    auto [numbers, scale] = known != fitted.end() ? known->second : to_int8(matrix, axis == 0 ? Layout::rows : Layout::columns);
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
  work.notes.push_back(
      "the weights are stored in 8 bits and computed with in 32: turned back at each run, or once by 'compile' where that is quicker");
  return {};
}

namespace {

// MatMulNBits of com.microsoft: for each column blocks of `block` numbers without sign: in 4 bits two to a byte, low half first, with 8
// for zero; in 8 bits with 128.
struct Form {
  int bits;
  std::size_t block;
  float zero() const { return static_cast<float>(1 << (bits - 1)); }
  float most() const { return 2 * zero() - 1; }
  std::uint8_t nothing() const { return static_cast<std::uint8_t>(1 << (bits - 1)); }
};
struct Blocks {
  std::vector<std::uint8_t> numbers;
  std::vector<float> scales;
};

// The scale of a block: the number that is largest by size becomes the least, as the engine's own quantiser does it.
float block_scale(const float* numbers, std::size_t count, const Form& form) {
  float least = 0, most = 0;
  for (std::size_t i = 0; i < count; ++i) least = std::min(least, numbers[i]), most = std::max(most, numbers[i]);
  return (std::abs(most) > std::abs(least) ? most : least) / -form.zero();
}

float round_block(const float* numbers, std::size_t count, float scale, const Form& form, std::uint8_t* out) {
  float error = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float whole = scale == 0 ? form.zero() : std::clamp(std::nearbyint(numbers[i] / scale) + form.zero(), 0.0f, form.most());
    const float off = (whole - form.zero()) * scale - numbers[i];
    error += off * off;
    out[i] = static_cast<std::uint8_t>(whole);
  }
  return error;
}

// `turned`: the matrix is transposed before it is multiplied, as by a Gemm's transB.
Blocks to_blocks(const TensorProto& matrix, bool turned, const Form& form) {
  const auto rows = static_cast<std::size_t>(matrix.dims(turned ? 1 : 0)), columns = static_cast<std::size_t>(matrix.dims(turned ? 0 : 1));
  const std::vector<float> by_column = turned ? values<float>(matrix) : transposed(values<float>(matrix), rows, columns);
  const std::size_t blocks = (rows + form.block - 1) / form.block, bytes = form.block * static_cast<std::size_t>(form.bits) / 8;
  Blocks out{.numbers = std::vector<std::uint8_t>(columns * blocks * bytes), .scales = std::vector<float>(columns * blocks, 0)};
  std::vector<std::uint8_t> best(form.block), trial(form.block);
  for (std::size_t at = 0; at < columns * blocks; ++at) {
    const std::size_t column = at / blocks, from = at % blocks * form.block, count = std::min(form.block, rows - from);
    const float* numbers = by_column.data() + column * rows + from;
    const float whole = block_scale(numbers, count, form);
    std::ranges::fill(best, form.nothing());
    std::ranges::fill(trial, form.nothing());
    float least = round_block(numbers, count, out.scales[at] = whole, form, best.data());
    for (const float part : {0.95f, 0.9f, 0.85f, 0.8f}) {  // cutting the largest off often makes the rest finer than it costs
      const float error = round_block(numbers, count, whole * part, form, trial.data());
      if (error < least) least = error, out.scales[at] = whole * part, best = trial;
    }
    for (std::size_t i = 0; i < bytes; ++i)
      out.numbers[at * bytes + i] = form.bits == 8 ? best[i] : static_cast<std::uint8_t>(best[2 * i] | best[2 * i + 1] << 4);
  }
  return out;
}

std::optional<std::string> unfit_product(const Graph& graph, const NodeProto& node) {
  if (auto why = unfit_weights(graph, node, 1)) return why;
  if (is_onnx(node, "MatMul")) return std::nullopt;
  if (int_of(node, "transA", 0) != 0) return "its first input is transposed";
  if (float_of(node, "alpha", 1) != 1 || (node.input_size() > 2 && !node.input(2).empty() && float_of(node, "beta", 1) != 1))
    return "its alpha or beta is not 1";
  return std::nullopt;
}

// MatMul and Gemm with weights in blocks, and tables in 8 bits.
void block_weights(Work& work, const Form& form) {
  Graph& graph = work.graph;
  const std::string ending = "_int" + std::to_string(form.bits);
  const auto block = static_cast<std::int64_t>(form.block);
  quantise_tables(work);
  std::map<std::string, std::pair<std::string, std::string>> made;
  std::vector<NodeProto> out;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    const bool gemm = is_onnx(node, "Gemm"), product = gemm || is_onnx(node, "MatMul");
    const auto why = product ? unfit_product(graph, node) : std::nullopt;
    if (why) work.leave(node, *why);
    if (!product || why || work.kept(node)) {
      out.push_back(node);
      continue;
    }
    const TensorProto& weights = *graph.constant(node.input(1));
    const bool turned = gemm && int_of(node, "transB", 0) != 0;
    const std::int64_t rows = weights.dims(turned ? 1 : 0), columns = weights.dims(turned ? 0 : 1), blocks = (rows + block - 1) / block;
    const auto [place, is_new] = made.try_emplace(weights.name() + (turned ? "_turned" : ""));
    if (is_new) {
      const Blocks blocked = to_blocks(weights, turned, form);
      const std::string name = place->first + ending;  // adding moves the constants
      const std::string numbers =
          graph.add(make_tensor(name, TensorProto::UINT8, {columns, blocks, block * form.bits / 8}, blocked.numbers));
      place->second = {numbers, graph.add(make_tensor(name + "_scale", TensorProto::FLOAT, {columns * blocks}, blocked.scales))};
    }
    const bool adds = gemm && node.input_size() > 2 && !node.input(2).empty();
    const std::string whole = adds ? graph.unique(node.output(0) + "_product") : node.output(0);
    NodeProto fewer = make_node("MatMulNBits", {node.input(0), place->second.first, place->second.second}, {whole}, "com.microsoft");
    set_int(fewer, "K", rows), set_int(fewer, "N", columns), set_int(fewer, "bits", form.bits), set_int(fewer, "block_size", block);
    work.did(node);
    out.push_back(std::move(fewer));
    if (adds) out.push_back(make_node("Add", {whole, node.input(2)}, {node.output(0)}));
  }
  graph.replace_nodes(std::move(out));
  if (!made.empty()) graph.use_domain("com.microsoft", 1);
}

}  // namespace

Result<void> int4_weights(Work& work) {
  const auto block = static_cast<std::size_t>(work.amount);
  if ((block & (block - 1)) != 0)
    return fail(Code::invalid_argument, "int4-weights:" + std::to_string(block) + ": blocks are of 16, 32, 64, 128 or 256 numbers");
  block_weights(work, {.bits = 4, .block = block});
  work.graph.remove_unused_constants();
  return {};
}

}  // namespace mayfly::optimize
