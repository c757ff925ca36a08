#include "optimize/static_int8.h"

#include <algorithm>
#include <cmath>

#include "optimize/detail/fit.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr int kSafeMost = 63;  // twice that times 255 is within 16 bits

bool is_layer(const NodeProto& node) { return is_onnx(node, "Conv") || is_onnx(node, "MatMul") || is_onnx(node, "Gemm"); }
// Without weights, but with 8-bit kernels of their own: between layers they spare the way to 32 bits and back.
bool is_between(const NodeProto& node) {
  return is_onnx(node, "Add") || is_onnx(node, "Mul") || is_onnx(node, "GlobalAveragePool") || is_onnx(node, "AveragePool");
}

// The axis of a layer's weights that has a scale for each slice.
int scale_axis(const NodeProto& node) { return is_onnx(node, "Conv") || (is_onnx(node, "Gemm") && int_of(node, "transB", 0) != 0) ? 0 : 1; }

std::optional<std::string> unfit(const Graph& graph, const NodeProto& node) {
  if (node.input_size() < 2 || node.output_size() != 1) return "it has not the inputs that its kind needs";
  const TensorProto* weights = graph.constant(node.input(1));
  if (!weights) return "its weights are no constant";
  if (!is_float(*weights)) return "its weights are " + type_name(weights->data_type()) + ", not 32-bit floats";
  const bool conv = is_onnx(node, "Conv");
  if (conv ? weights->dims_size() < 3 : weights->dims_size() != 2)
    return "its weights have " + std::to_string(weights->dims_size()) + " dimensions";
  if (elements(*weights) == 0 || !all_finite(*weights)) return "its weights have values that are no finite numbers";
  if (graph.constant(node.input(0))) return "all of its inputs are constants: the step 'fold' goes first";
  if (is_onnx(node, "Gemm") && (int_of(node, "transA", 0) != 0 || float_of(node, "alpha", 1) != 1 || float_of(node, "beta", 1) != 1))
    return "it is a Gemm with a factor or a transposed input";
  return std::nullopt;
}

// Where a layer's result is measured: behind the Relu or Clip that alone uses it, which the range then does the work of.
std::string result_of(const Graph& graph, const NodeProto& node) {
  const int next = graph.only_consumer(node.output(0));
  if (next < 0) return node.output(0);
  const NodeProto& follower = graph.node(next);
  const bool cuts = is_onnx(follower, "Relu") || is_onnx(follower, "Clip");
  return cuts && follower.output_size() == 1 && follower.input(0) == node.output(0) ? follower.output(0) : node.output(0);
}

std::vector<std::string> values_of(const Graph& graph, const NodeProto& node) {
  std::vector<std::string> out;
  for (int i = 0; i < (is_layer(node) ? 1 : node.input_size()); ++i) out.push_back(node.input(i));
  out.push_back(result_of(graph, node));
  return out;
}

bool fits(const Graph& graph, const NodeProto& node) {
  if (is_layer(node)) return !unfit(graph, node);
  if (!is_between(node) || node.output_size() != 1 || node.input_size() < 1) return false;
  return std::ranges::none_of(node.input(), [&](const std::string& input) {  // only between computed values of 32-bit floats
    const int type = graph.type_of(input);
    return input.empty() || graph.constant(input) || graph.producer(input) < 0 || (type != 0 && type != TensorProto::FLOAT);
  });
}

class Static {
 public:
  Static(Work& work, const Ranges& ranges, const AllMoments* moments) : work_(work), graph_(work.graph), ranges_(ranges) {
    if (moments) fit_.emplace(graph_, *moments, Fit::Options{.layers = FitLayers::all, .most = kSafeMost});
  }

  void run() {
    std::set<int> chosen;
    std::set<std::string> values;
    for (int i = 0; i < graph_.nodes(); ++i)
      if (choose(graph_.node(i))) chosen.insert(i);
    for (const int i : chosen)
      for (const std::string& name : values_of(graph_, graph_.node(i))) values.insert(name);
    const auto layers = std::ranges::count_if(chosen, [&](int i) { return is_layer(graph_.node(i)); });
    for (const int i : chosen)
      if (fit_ && is_layer(graph_.node(i))) fit_->take(graph_.node(i));
    std::map<std::string, std::string> back;  // a value, and what it is called when it has been to 8 bits
    for (const auto& input : graph_.proto().input())
      if (values.contains(input.name())) back[input.name()] = round_trip(input.name(), input.name(), graph_.unique(input.name() + "_qdq"));
    for (int i = 0; i < graph_.nodes(); ++i) {
      NodeProto node = graph_.node(i);
      for (std::string& input : *node.mutable_input())
        if (const auto found = back.find(input); found != back.end())
          input = stays_exact(node) && !chosen.contains(i) ? raw_of(input) : found->second;
      if (chosen.contains(i)) {
        if (fit_) fit_->correct_bias(node);
        if (is_layer(node)) weights(node, graph_.node(i));
        work_.did(graph_.node(i));
      }
      const std::vector<std::string> outputs(node.output().begin(), node.output().end());
      const std::size_t place = out_.size();
      out_.push_back(std::move(node));
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        if (!values.contains(outputs[k])) continue;
        if (graph_.is_output(outputs[k])) {  // the output keeps its name: what makes it is called otherwise
          const std::string raw = graph_.unique(outputs[k] + "_raw");
          out_[place].set_output(static_cast<int>(k), raw);
          raw_[outputs[k]] = raw;
          back[outputs[k]] = round_trip(outputs[k], raw, outputs[k]);
        } else {
          back[outputs[k]] = round_trip(outputs[k], outputs[k], graph_.unique(outputs[k] + "_qdq"));
        }
      }
    }
    graph_.replace_nodes(std::move(out_));
    graph_.remove_unused_constants();
    if (fit_)
      work_.notes.push_back(std::to_string(fit_->fitted().size()) + " of " + std::to_string(layers) +
                            " layers have weights that fit the samples, in 7 bits");
  }

 private:
  bool choose(const NodeProto& node) {
    if (!is_layer(node) && !fits(graph_, node)) return false;
    if (is_layer(node)) {
      if (const auto why = unfit(graph_, node)) return work_.leave(node, *why), false;
    }
    for (const std::string& name : values_of(graph_, node))
      if (!ranges_.contains(name)) {
        if (is_layer(node)) work_.leave(node, "no range of '" + name + "' was measured");
        return false;
      }
    return !work_.kept(node);
  }

  // A layer in 32 bits behind a value that comes back from 8 bits: the engine would put its weights into 8 bits by itself, with one scale
  // for all of them (its WeightBiasQuantization). So it takes the value as it was before.
  static bool stays_exact(const NodeProto& node) {
    return is_onnx(node, "Conv") || is_onnx(node, "ConvTranspose") || is_onnx(node, "Gemm");
  }
  std::string raw_of(const std::string& name) const {
    const auto found = raw_.find(name);
    return found == raw_.end() ? name : found->second;
  }

  // `from` through 8 bits, as `to`.
  std::string round_trip(const std::string& name, const std::string& from, const std::string& to) {
    const Range& range = ranges_.at(name);
    const float least = std::min(range.least, 0.0f), most = std::max(range.most, 0.0f);
    const float scale = std::max(most / 255 - least / 255, 1e-12f);
    const auto zero = static_cast<std::uint8_t>(std::clamp(std::nearbyint(-least / scale), 0.0f, 255.0f));
    scales_[to] = scale;
    const std::string step = graph_.add(make_tensor<float>(name + "_scale", TensorProto::FLOAT, {}, {scale}));
    const std::string middle = graph_.add(make_tensor<std::uint8_t>(name + "_zero", TensorProto::UINT8, {}, {zero}));
    const std::string numbers = graph_.unique(name + "_uint8");
    out_.push_back(make_node("QuantizeLinear", {from, step, middle}, {numbers}));
    out_.push_back(make_node("DequantizeLinear", {numbers, step, middle}, {to}));
    return to;
  }

  void weights(NodeProto& node, const NodeProto& original) {
    const int axis = scale_axis(original);
    const auto [place, is_new] = made_.try_emplace({original.input(1), axis});
    if (is_new) {
      TensorProto matrix = *graph_.constant(original.input(1));
      const Shape shape = shape_of(matrix);
      const auto rest = static_cast<std::int64_t>(elements(matrix)) / shape[0];
      matrix.clear_dims(), matrix.add_dims(shape[0]), matrix.add_dims(rest);
      const bool known = fit_ && fit_->fitted().contains(original.input(1));
      auto [numbers, scale] = known ? fit_->fitted().at(original.input(1)) : to_int8(matrix, axis == 0 ? Layout::rows : Layout::columns);
      numbers.clear_dims();
      for (const std::int64_t size : shape) numbers.add_dims(size);
      const auto count = static_cast<std::int64_t>(elements(scale));
      scale.clear_dims(), scale.add_dims(count);
      Weights& made = place->second;
      made.scales = values<float>(scale);
      made.scale = graph_.add(std::move(scale)), made.numbers = graph_.add(std::move(numbers));
      // All zero, but the engine's 8-bit Gemm wants one for each scale.
      made.zero = graph_.add(
          make_tensor(original.input(1) + "_int8_zero", TensorProto::INT8, {count}, std::vector<std::int8_t>(made.scales.size(), 0)));
      made.real = graph_.unique(original.input(1) + "_qdq");
      NodeProto real = make_node("DequantizeLinear", {made.numbers, made.scale, made.zero}, {made.real});
      set_int(real, "axis", axis);
      out_.push_back(std::move(real));
    }
    node.set_input(1, place->second.real);
    if (node.input_size() > 2 && !node.input(2).empty()) bias(node, place->second.scales);
  }

  // As int32 with the product's scale, which is how 8-bit kernels add it. One of another shape stays as it is.
  void bias(NodeProto& node, const std::vector<float>& scales) {
    const TensorProto* found = graph_.constant(node.input(2));
    const auto input = scales_.find(node.input(0));
    if (!found || !is_float(*found) || found->dims_size() != 1 || elements(*found) != scales.size() || input == scales_.end()) return;
    const std::vector<float> real = values<float>(*found);
    std::vector<std::int32_t> whole;
    std::vector<float> steps;
    for (std::size_t i = 0; i < real.size(); ++i) {
      steps.push_back(input->second * scales[i]);
      const double exact = std::nearbyint(static_cast<double>(real[i]) / static_cast<double>(steps[i]));
      if (!(std::abs(exact) < 2147483647.0)) return;
      whole.push_back(static_cast<std::int32_t>(exact));
    }
    const std::string name = node.input(2);
    const std::string numbers =
        graph_.add(make_tensor(name + "_int32", TensorProto::INT32, {static_cast<std::int64_t>(whole.size())}, whole));
    const std::string scale =
        graph_.add(make_tensor(name + "_int32_scale", TensorProto::FLOAT, {static_cast<std::int64_t>(steps.size())}, steps));
    const std::string back = graph_.unique(name + "_qdq");
    NodeProto dequantise = make_node("DequantizeLinear", {numbers, scale}, {back});
    set_int(dequantise, "axis", 0);
    out_.push_back(std::move(dequantise));
    node.set_input(2, back);
  }

  struct Weights {
    std::string numbers, scale, zero, real;
    std::vector<float> scales;
  };
  Work& work_;
  Graph& graph_;
  const Ranges& ranges_;
  std::optional<Fit> fit_;
  std::vector<NodeProto> out_;
  std::map<std::string, std::string> raw_;  // outputs of the model, and what they are called before they go to 8 bits
  std::map<std::string, float> scales_;  // of values that have been to 8 bits, by the name that they have then
  std::map<std::pair<std::string, int>, Weights> made_;
};

}  // namespace

std::vector<std::string> tensors_to_measure(const Model& model) {
  Model mine = model.copy();
  const Graph graph(mine.impl().proto);
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (int i = 0; i < graph.nodes(); ++i)
    if (fits(graph, graph.node(i)))
      for (std::string& name : values_of(graph, graph.node(i)))
        if (seen.insert(name).second) out.push_back(std::move(name));
  return out;
}

Result<Applied> quantise_static(const Model& model, const Ranges& ranges, const std::set<std::string>& keep, const AllMoments* moments) {
  for (const auto& [name, range] : ranges)
    if (!std::isfinite(range.least) || !std::isfinite(range.most) || range.least > range.most)
      return fail(Code::invalid_argument, "the range of '" + name.substr(0, 100) + "' is " + std::to_string(range.least) + " to " +
                                              std::to_string(range.most) + ": measure it with samples whose answers are finite numbers");
  Model made = model.copy();
  Work work{.graph = Graph(made.impl().proto), .keep = keep};
  TRY_VOID(needs_opset(work, 13, "static int8"));
  Static(work, ranges, moments).run();
  return Applied{.model = std::move(made), .changed = work.changed, .done = std::move(work.done), .left = std::move(work.left),
                 .notes = std::move(work.notes)};
}

Result<Model> with_outputs(const Model& model, const std::vector<std::string>& names) {
  Model made = model.copy();
  Graph graph(made.impl().proto);
  for (const std::string& name : names) {
    if (graph.is_output(name)) continue;
    if (graph.producer(name) < 0 && !graph.is_input(name))
      return fail(Code::invalid_argument, "no node of the model makes '" + name.substr(0, 100) + "'");
    if (graph.is_input(name)) continue;  // whoever measures has it already
    auto* output = graph.proto().add_output();
    output->set_name(name);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(TensorProto::FLOAT);
  }
  return made;
}

bool mostly_convolutions(const Model& model) {
  Model mine = model.copy();
  const Graph graph(mine.impl().proto);
  std::uint64_t convolutions = 0, products = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    if (!is_layer(node) || unfit(graph, node)) continue;
    (is_onnx(node, "Conv") ? convolutions : products) += elements(*graph.constant(node.input(1)));
  }
  return convolutions > products;
}

}  // namespace mayfly::optimize
