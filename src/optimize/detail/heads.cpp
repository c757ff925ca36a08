#include "optimize/detail/heads.h"

#include <algorithm>

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr int kDepthMax = 24;
using Kinds = std::initializer_list<std::string_view>;

bool is_any(const NodeProto& node, Kinds kinds) {
  return std::ranges::any_of(kinds, [&](std::string_view kind) { return is_onnx(node, kind); });
}

// What the model says of a value's shape: whether it has no more than one entry where the heads are.
bool said_to_be_one(const Graph& graph, const std::string& tensor) {
  const auto one = [&](const onnx::ValueInfoProto& info) {
    if (info.name() != tensor || !info.type().tensor_type().has_shape()) return false;
    const auto& shape = info.type().tensor_type().shape();
    return shape.dim_size() < 3 || shape.dim(shape.dim_size() - 3).dim_value() == 1;
  };
  return std::ranges::any_of(graph.inputs(), one) || std::ranges::any_of(graph.values(), one);
}

std::optional<std::vector<std::int64_t>> wholes(const Graph& graph, const std::string& name) {
  const TensorProto* found = graph.constant(name);
  if (!found || found->data_type() != TensorProto::INT64) return std::nullopt;
  return values<std::int64_t>(*found);
}

// A shape of whose fourth dimensions the second is 1: a constant, or parts of which that one is constant.
bool one_at_heads(const Graph& graph, const std::string& shape) {
  if (const auto known = wholes(graph, shape)) return known->size() < 3 || (*known)[known->size() - 3] == 1;
  const int producer = graph.producer(shape);
  if (producer < 0 || !is_onnx(graph.node(producer), "Concat")) return false;
  const NodeProto& node = graph.node(producer);
  if (node.input_size() != 4) return false;
  const auto second = wholes(graph, node.input(1));
  return second && second->size() == 1 && second->front() == 1;
}

bool same(const Graph& graph, const std::string& tensor, int depth) {
  if (const TensorProto* constant = graph.constant(tensor))
    return constant->dims_size() < 3 || constant->dims(constant->dims_size() - 3) == 1;
  if (said_to_be_one(graph, tensor)) return true;
  const int producer = graph.producer(tensor);
  if (producer < 0 || depth > kDepthMax) return false;
  const NodeProto& node = graph.node(producer);
  if (is_onnx(node, "ConstantOfShape")) return node.input_size() > 0 && one_at_heads(graph, node.input(0));
  if (is_any(node, {"Shape", "Size", "Range"})) return true;
  const auto through = [&](const std::string& input) { return input.empty() || same(graph, input, depth + 1); };
  if (joins_two(node) || keeps_heads(node) ||
      is_any(node, {"Where", "Not", "And", "Or", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Min", "Max"}))
    return std::ranges::all_of(node.input(), through);
  if (is_onnx(node, "Slice") && node.input_size() > 0) return through(node.input(0));
  if (is_onnx(node, "Expand") && node.input_size() == 2) return one_at_heads(graph, node.input(1)) && through(node.input(0));
  if (is_any(node, {"Gather", "Squeeze"}) && node.input_size() > 0) return behind(graph, node.input(0), "Shape") >= 0;
  if (!is_onnx(node, "Unsqueeze") || node.input_size() < 1) return false;
  std::vector<std::int64_t> axes;
  if (const auto* said = attribute(node, "axes")) axes.assign(said->ints().begin(), said->ints().end());
  else if (node.input_size() > 1) axes = wholes(graph, node.input(1)).value_or(axes);
  if (axes.empty()) return false;
  if (std::ranges::any_of(axes, [](std::int64_t axis) { return axis == 1 || axis == -3; })) return true;
  // What comes behind does not move it.
  return std::ranges::all_of(axes, [](std::int64_t axis) { return axis > 1; }) && through(node.input(0));
}

}  // namespace

bool is_fused_attention(const NodeProto& node) {
  return node.domain() == "com.microsoft" && (node.op_type() == "Attention" || node.op_type() == "MultiHeadAttention");
}

bool holds_projections(const NodeProto& node) { return is_fused_attention(node) && node.op_type() == "Attention"; }

bool keeps_heads(const NodeProto& node) {
  return node.input_size() > 0 && node.output_size() > 0 && is_any(node, {"Identity", "Dropout", "Sqrt", "Neg", "Cast"});
}

bool joins_two(const NodeProto& node) {
  return node.input_size() == 2 && node.output_size() == 1 && is_any(node, {"Add", "Sub", "Mul", "Div"});
}

const TensorProto* matrix_of(const Graph& graph, const NodeProto& node) {
  const TensorProto* found = node.input_size() > 1 && node.output_size() > 0 ? graph.constant(node.input(1)) : nullptr;
  return found && is_float(*found) && found->dims_size() == 2 && elements(*found) > 0 ? found : nullptr;
}

std::int64_t columns_of(const Graph& graph, std::string tensor) {
  std::int64_t parts = 1;
  for (int steps = 0; steps < kDepthMax; ++steps) {
    const int producer = graph.producer(tensor);
    if (producer < 0) return 0;
    const NodeProto& node = graph.node(producer);
    if (is_any(node, {"MatMul", "Gemm"})) {
      const TensorProto* weights = matrix_of(graph, node);
      const std::int64_t columns = weights ? weights->dims(is_onnx(node, "Gemm") && int_of(node, "transB", 0) != 0 ? 0 : 1) : 0;
      return columns % parts == 0 ? columns / parts : 0;
    }
    if (is_onnx(node, "Split") && node.input_size() > 0) parts *= node.output_size();
    else if (!joins_two(node) && !keeps_heads(node)) return 0;
    if (parts > 64) return 0;
    tensor = node.input(joins_two(node) && graph.constant(node.input(0)) ? 1 : 0);
  }
  return 0;
}

int behind(const Graph& graph, std::string tensor, std::string_view kind) {
  for (int steps = 0; steps < kDepthMax; ++steps) {
    const int producer = graph.producer(tensor);
    if (producer < 0) return -1;
    const NodeProto& node = graph.node(producer);
    if (is_onnx(node, kind)) return producer;
    if (is_onnx(node, "Where") && node.input_size() == 3) {  // a mask: one side is a constant
      tensor = node.input(graph.constant(node.input(2)) ? 1 : 2);
      continue;
    }
    if (!joins_two(node) && !keeps_heads(node) && !is_onnx(node, "Slice")) return -1;
    const bool second = joins_two(node) && (graph.constant(node.input(0)) != nullptr);
    tensor = node.input(second ? 1 : 0);
  }
  return -1;
}

bool same_for_all_heads(const Graph& graph, const std::string& tensor) { return same(graph, tensor, 0); }

}  // namespace mayfly::optimize
