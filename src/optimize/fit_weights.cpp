#include "optimize/fit_weights.h"

#include <algorithm>
#include <cmath>

#include "optimize/detail/fit.h"
#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;

namespace {

constexpr std::uint64_t kRowsLeast = 32;  // places seen; of fewer the products say too little

std::optional<std::vector<std::int64_t>> sizes_of(const NodeProto& node, std::string_view name, std::size_t count, std::int64_t least,
                                                  std::int64_t otherwise) {
  const AttributeProto* found = attribute(node, name);
  if (!found) return std::vector<std::int64_t>(count, otherwise);
  const std::vector<std::int64_t> sizes(found->ints().begin(), found->ints().end());
  constexpr std::int64_t kMost = 1 << 20;
  const bool fit = sizes.size() == count && std::ranges::all_of(sizes, [&](std::int64_t size) { return size >= least && size <= kMost; });
  return fit ? std::optional(sizes) : std::nullopt;
}

std::optional<Patches> patches_of_conv(const NodeProto& node, const TensorProto& weights) {
  const AttributeProto* automatic = attribute(node, "auto_pad");
  if (automatic && !automatic->s().empty() && automatic->s() != "NOTSET") return std::nullopt;
  const Shape shape = shape_of(weights);
  const std::int64_t groups = int_of(node, "group", 1);
  if (shape.size() < 3 || groups < 1 || shape[0] % groups != 0) return std::nullopt;
  Patches out{.groups = static_cast<std::size_t>(groups),
              .size = static_cast<std::size_t>(elements(weights)) / static_cast<std::size_t>(shape[0]),
              .kernel = {shape.begin() + 2, shape.end()}};
  const std::size_t depth = out.kernel.size();
  auto strides = sizes_of(node, "strides", depth, 1, 1), dilations = sizes_of(node, "dilations", depth, 1, 1),
       pads = sizes_of(node, "pads", 2 * depth, 0, 0);
  if (!strides || !dilations || !pads) return std::nullopt;
  out.strides = *std::move(strides), out.dilations = *std::move(dilations), out.pads = *std::move(pads);
  return out;
}

bool is_turned(const NodeProto& node) { return is_onnx(node, "Conv") || (is_onnx(node, "Gemm") && int_of(node, "transB", 0) != 0); }

// Whether an error in the mean can be taken off: the layer adds a constant for each of its results, or nothing yet.
bool has_bias(const Graph& graph, const NodeProto& node, std::size_t rows) {
  if (is_onnx(node, "MatMul")) return false;
  if (is_onnx(node, "Gemm") && (float_of(node, "alpha", 1) != 1 || float_of(node, "beta", 1) != 1)) return false;
  if (node.input_size() < 3 || node.input(2).empty()) return true;
  const TensorProto* bias = graph.constant(node.input(2));
  return bias && is_float(*bias) && bias->dims_size() == 1 && elements(*bias) == rows;
}

float shift_of(std::span<const float> numbers, std::span<const std::int8_t> whole, float scale, const std::vector<double>& mean) {
  double sum = 0;
  for (std::size_t i = 0; i < mean.size(); ++i)
    sum += (static_cast<double>(numbers[i]) - static_cast<double>(whole[i]) * static_cast<double>(scale)) * mean[i];
  return static_cast<float>(sum);
}

}  // namespace

bool Fit::take(const NodeProto& node) {
  const auto patches = patches_of(graph_, node, options_.layers);
  if (!patches || graph_.uses(node.input(1)) != 1) return false;
  const auto found = moments_.find(key_of(node.input(0), *patches));
  if (found == moments_.end() || found->second.rows() < kRowsLeast || found->second.patches() != *patches) return false;
  const TensorProto& weights = *graph_.constant(node.input(1));
  const std::size_t size = patches->size, rows = elements(weights) / size, each = rows / patches->groups;
  const auto most = static_cast<float>(options_.most);
  std::vector<float> numbers = values<float>(weights);
  if (!is_turned(node)) numbers = transposed(numbers, size, rows);
  std::vector<float> scales(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = 0; i < size; ++i) scales[r] = std::max(scales[r], std::abs(numbers[r * size + i]));
    scales[r] = std::max(scales[r] / most, 1e-12f);
  }
  const bool centred = has_bias(graph_, node, rows);
  std::vector<std::int8_t> whole;
  std::vector<float> shift(rows);
  for (std::size_t g = 0; g < patches->groups; ++g) {
    const auto part = std::span(numbers).subspan(g * each * size, each * size);
    const std::vector<double> products = found->second.products(g, centred), mean = found->second.means(g);
    const auto rounded =
        round_with_feedback({.weights = part, .scales = std::span(scales).subspan(g * each, each), .products = products, .most = most});
    // Nothing ever came in there, or always the same: the nearest numbers will do, the bias takes their error.
    for (std::size_t i = 0; i < part.size(); ++i)
      whole.push_back(rounded ? (*rounded)[i] : static_cast<std::int8_t>(std::nearbyint(part[i] / scales[g * each + i / size])));
    for (std::size_t r = g * each; centred && r < (g + 1) * each; ++r)
      shift[r] = shift_of(std::span(numbers).subspan(r * size, size), std::span(whole).subspan(r * size, size), scales[r], mean);
  }
  const auto high = static_cast<std::int64_t>(rows), wide = static_cast<std::int64_t>(size);
  if (!is_turned(node)) whole = transposed(whole, rows, size);
  if (centred) shifts_[node.output(0)] = std::move(shift);
  fitted_[weights.name()] = {
      make_tensor(weights.name() + "_int8", TensorProto::INT8, is_turned(node) ? Shape{high, wide} : Shape{wide, high}, whole),
      make_tensor(weights.name() + "_int8_scale", TensorProto::FLOAT, {high}, scales)};
  return true;
}

void Fit::correct_bias(NodeProto& node) {
  const auto found = node.output_size() > 0 ? shifts_.find(node.output(0)) : shifts_.end();
  if (found == shifts_.end()) return;
  std::vector<float> bias = found->second;
  const std::string before = node.input_size() > 2 ? node.input(2) : std::string();
  if (!before.empty()) {
    const std::vector<float> old = values<float>(*graph_.constant(before));
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] += old[i];
  }
  const std::string name = graph_.add(make_tensor((before.empty() ? node.output(0) + "_bias" : before + "_fitted"), TensorProto::FLOAT,
                                                  {static_cast<std::int64_t>(bias.size())}, bias));
  if (node.input_size() > 2) node.set_input(2, name);
  else node.add_input(name);
}

std::optional<Patches> patches_of(const Graph& graph, const NodeProto& node, FitLayers layers) {
  const bool conv = is_onnx(node, "Conv"), gemm = is_onnx(node, "Gemm");
  if ((!conv && !gemm && !is_onnx(node, "MatMul")) || node.input_size() < 2 || node.output_size() != 1) return std::nullopt;
  const TensorProto* weights = graph.constant(node.input(1));
  if (!weights || !is_float(*weights) || elements(*weights) == 0 || !all_finite(*weights)) return std::nullopt;
  if (layers == FitLayers::worth_storing && elements(*weights) < kQuantisedLeast) return std::nullopt;
  if (graph.constant(node.input(0)) || (gemm && int_of(node, "transA", 0) != 0)) return std::nullopt;
  if (!conv && weights->dims_size() != 2) return std::nullopt;
  const auto patches = conv ? patches_of_conv(node, *weights)
                            : Patches{.size = static_cast<std::size_t>(weights->dims(gemm && int_of(node, "transB", 0) != 0 ? 1 : 0))};
  return patches && patches->size <= kPatchMax ? patches : std::nullopt;
}

std::string key_of(const std::string& value, const Patches& patches) {
  std::string key = value + " by " + std::to_string(patches.groups) + " of " + std::to_string(patches.size);
  for (const auto* sizes : {&patches.kernel, &patches.strides, &patches.dilations, &patches.pads}) {
    key += ";";
    for (const std::int64_t size : *sizes) key += " " + std::to_string(size);
  }
  return key;
}

Result<Applied> fit_weights(const Model& model, const AllMoments& moments, const std::set<std::string>& keep) {
  Model made = model.copy();
  Work work{.graph = Graph(made.impl().proto), .keep = keep};
  Fit fit(work.graph, moments, {});
  for (int i = 0; i < work.graph.nodes(); ++i)
    if (!keep.contains(name_of(work.graph.node(i)))) fit.take(work.graph.node(i));
  TRY_VOID(int8_weights(work, fit.fitted()));
  for (NodeProto& node : *work.graph.proto().mutable_node()) fit.correct_bias(node);
  work.graph.refresh();
  work.graph.remove_unused_constants();
  work.notes.push_back(std::to_string(fit.fitted().size()) + " of " + std::to_string(work.done.size()) +
                       " layers have weights that fit the samples, the others the nearest numbers");
  return Applied{.model = std::move(made), .changed = work.changed, .done = std::move(work.done), .left = std::move(work.left),
                 .notes = std::move(work.notes)};
}

}  // namespace mayfly::optimize
