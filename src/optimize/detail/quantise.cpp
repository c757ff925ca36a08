#include "optimize/detail/quantise.h"

#include <algorithm>
#include <cmath>

namespace mayfly::optimize {

using onnx::TensorProto;

std::pair<TensorProto, TensorProto> to_int8(const TensorProto& matrix, Layout layout) {
  auto rows = static_cast<std::size_t>(matrix.dims(0)), columns = static_cast<std::size_t>(matrix.dims(1));
  std::vector<float> from = values<float>(matrix);
  if (layout == Layout::rows_turned) from = transposed(from, rows, columns), std::swap(rows, columns);
  const bool by_row = layout == Layout::rows;
  std::vector<float> scale(by_row ? rows : columns, 0);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      float& most = scale[by_row ? r : c];
      most = std::max(most, std::abs(from[r * columns + c]));
    }
  for (float& one : scale) one = std::max(one / 127, 1e-12f);
  std::vector<std::int8_t> to(from.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const float whole = std::nearbyint(from[r * columns + c] / scale[by_row ? r : c]);
      to[r * columns + c] = static_cast<std::int8_t>(std::clamp(whole, -127.0f, 127.0f));
    }
  const Shape scales = by_row ? Shape{static_cast<std::int64_t>(rows), 1} : Shape{static_cast<std::int64_t>(columns)};
  return {
      make_tensor(matrix.name() + "_int8", TensorProto::INT8, {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)}, to),
      make_tensor(matrix.name() + "_int8_scale", TensorProto::FLOAT, scales, scale)};
}

bool all_finite(const TensorProto& tensor) {
  return std::ranges::all_of(values<float>(tensor), [](float number) { return std::isfinite(number); });
}

std::string with_commas(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::optional<std::string> unfit_weights(const Graph& graph, const onnx::NodeProto& node, int at, std::uint64_t least) {
  if (node.input_size() <= at || node.input_size() < 2 || node.output_size() < 1) return "it has not the inputs that its kind needs";
  const TensorProto* weights = graph.constant(node.input(at));
  if (!weights) {
    const TensorProto* first = graph.constant(node.input(0));
    return first ? "its constant is on the left side" : "both of its sides are computed: it has no weights";
  }
  if (graph.constant(node.input(1 - at))) return "both of its sides are constants: the step 'fold' goes first";
  if (!is_float(*weights)) return "its weights are " + type_name(weights->data_type()) + ", not 32-bit floats";
  if (weights->dims_size() != 2) return "its weights have " + std::to_string(weights->dims_size()) + " dimensions, not 2";
  if (elements(*weights) < std::max<std::uint64_t>(least, 1))
    return "its weights are " + with_commas(elements(*weights)) + " values, fewer than the " + with_commas(least) + " that are worth it";
  if (!all_finite(*weights)) return "its weights have values that are no finite numbers";
  const int type = graph.type_of(node.input(1 - at));
  if (type != 0 && type != TensorProto::FLOAT) return "what it multiplies is " + type_name(type) + ", not 32-bit floats";
  return std::nullopt;
}

bool Tables::quantise(const onnx::NodeProto& node, std::vector<onnx::NodeProto>& out) {
  Graph& graph = work_.graph;
  const TensorProto* rows = node.input_size() > 1 && node.output_size() > 0 ? graph.constant(node.input(0)) : nullptr;
  if (!rows || !is_float(*rows) || elements(*rows) < kQuantisedLeast) return false;  // computed values, shapes: nothing to report
  std::string why;
  if (rows->dims_size() != 2) why = "its table has " + std::to_string(rows->dims_size()) + " dimensions, not 2";
  else if (int_of(node, "axis", 0) != 0) why = "it picks columns of its table, not rows";
  else if (!all_finite(*rows)) why = "its table has values that are no finite numbers";
  if (!why.empty()) work_.leave(node, why);
  if (!why.empty() || work_.kept(node)) return false;
  const auto [place, is_new] = made_.try_emplace(node.input(0));
  if (is_new) {
    auto [numbers, scale] = to_int8(*rows, Layout::rows);
    place->second = {graph.add(std::move(numbers)), graph.add(std::move(scale))};
  }
  const std::string& output = node.output(0);
  const std::string numbers = graph.unique(output + "_int8"), scale = graph.unique(output + "_scale"),
                    real = graph.unique(output + "_float");
  out.push_back(make_node("Gather", {place->second.first, node.input(1)}, {numbers}));
  out.push_back(make_node("Gather", {place->second.second, node.input(1)}, {scale}));
  out.push_back(make_node("Cast", {numbers}, {real}));
  set_int(out.back(), "to", TensorProto::FLOAT);
  out.push_back(make_node("Mul", {real, scale}, {output}));
  return true;
}

Result<void> needs_opset(const Work& work, std::int64_t least, std::string_view step) {
  if (work.graph.opset() >= least) return {};
  return fail(Code::invalid_argument, "'" + std::string(step) + "' needs opset " + std::to_string(least) + ", the model has " +
                                          std::to_string(work.graph.opset()) + ": export it again with opset 17 or so");
}

}  // namespace mayfly::optimize
