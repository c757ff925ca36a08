// prune-neurons and prune-channels: whole units between layers leave, with all weights that belong to them, so the model is smaller
// and faster as it is. A unit is a column of one product and a row of the next, or a filter of one convolution and a slice of the next.
//
// From a layer's output the region grows over everything that works on each unit for itself (activations, sums and products with
// others of the same units, normalisation), forwards and backwards, until it is bounded by layers that make the units (sources) and layers
// that take them (sinks). Where it meets anything else, nothing is cut. That takes in gates (SwiGLU), residual sums and squeeze-excite.
// A unit's worth is the norm of its weights coming in times that of those going out, which scaling a unit does not change.
#include <algorithm>
#include <cmath>

#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr std::int64_t kUnitsLeast = 8;

bool is_one_of(const NodeProto& node, std::initializer_list<std::string_view> kinds) {
  return std::ranges::find(kinds, node.op_type()) != kinds.end();
}

bool is_unary(const NodeProto& node) {
  if (node.domain() == "com.microsoft") return is_one_of(node, {"Gelu", "FastGelu", "QuickGelu"}) && node.input_size() == 1;
  return node.domain().empty() && is_one_of(node, {"Relu",       "Gelu", "Sigmoid",  "Tanh",           "Erf",       "Softplus",
                                                   "LeakyRelu",  "Elu",  "Selu",     "HardSigmoid",    "HardSwish", "Mish",
                                                   "Neg",        "Abs",  "Identity", "Clip",           "Sqrt",      "Exp",
                                                   "Reciprocal", "Celu", "Softsign", "ThresholdedRelu"});
}

bool is_binary(const NodeProto& node) {
  return node.domain().empty() && node.input_size() == 2 && is_one_of(node, {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"});
}

// One region, and the constants to cut with the axis on which their units are.
class Region {
 public:
  Region(Work& work, bool channels) : work_(work), graph_(work.graph), channels_(channels) {}

  // False: it can't be cut, why() says why.
  bool grow(int source) {
    if (!add_source(graph_.node(source))) return false;
    tensors_.insert(graph_.node(source).output(0)), queue_.push_back(graph_.node(source).output(0));
    while (!queue_.empty()) {
      const std::string tensor = queue_.back();
      queue_.pop_back();
      if (graph_.is_output(tensor)) return refuse("its units are an output of the model ('" + tensor + "')");
      const int producer = graph_.producer(tensor);
      if (producer < 0) return refuse("its units meet '" + tensor + "', which no layer makes");
      if (!made(graph_.node(producer))) return false;
      const std::vector<int>& consumers = graph_.consumers(tensor);
      if (graph_.uses(tensor) != static_cast<int>(consumers.size())) return refuse("its units are used in a branch");
      for (const int consumer : consumers)
        if (!taken(graph_.node(consumer), tensor)) return false;
    }
    if (sinks_.empty()) return refuse("no layer with constant weights takes its units");
    for (const Cut& cut : cuts_)
      if (graph_.uses(cut.tensor) != 1 || graph_.is_output(cut.tensor))
        return refuse("the constant '" + cut.tensor + "' is used elsewhere, too");
    for (const std::string& name : nodes_)
      if (work_.keep.contains(name)) return refuse("it is to stay as it is");
    return true;
  }

  const std::string& why() const { return why_; }
  std::int64_t units() const { return units_; }
  const std::set<std::string>& sources() const { return source_names_; }

  void cut(double share) {
    std::vector<double> in(static_cast<std::size_t>(units_), 0), out(in);
    for (const Cut& one : cuts_) {
      if (one.role == Role::beside) continue;
      std::vector<double>& sum = one.role == Role::source ? in : out;
      each(*graph_.constant(one.tensor), one.axis,
           [&](std::size_t unit, float number) { sum[unit] += static_cast<double>(number) * number; });
    }
    std::vector<std::size_t> order(in.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return in[a] * out[a] > in[b] * out[b]; });
    const auto lost = static_cast<std::size_t>(std::floor(share * static_cast<double>(units_)));
    order.resize(std::max<std::size_t>(1, order.size() - lost));
    std::ranges::sort(order);
    for (const Cut& one : cuts_) keep_only(*graph_.mutable_constant(one.tensor), one.axis, order);
    for (const std::string& name : grouped_)
      for (NodeProto& node : *graph_.proto().mutable_node())
        if (name_of(node) == name)
          for (onnx::AttributeProto& one : *node.mutable_attribute())
            if (one.name() == "group") one.set_i(static_cast<std::int64_t>(order.size()));
    for (const std::string& tensor : tensors_) graph_.forget_shape(tensor);
    removed_ = in.size() - order.size();
  }
  std::size_t removed() const { return removed_; }

 private:
  enum class Role { source, sink, beside };
  struct Cut {
    std::string tensor;
    int axis;
    Role role;
  };

  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  template <class Use>
  static void each(const TensorProto& tensor, int axis, const Use& use) {
    const Shape shape = shape_of(tensor);
    std::size_t inner = 1;
    for (std::size_t i = static_cast<std::size_t>(axis) + 1; i < shape.size(); ++i) inner *= static_cast<std::size_t>(shape[i]);
    const auto size = static_cast<std::size_t>(shape[static_cast<std::size_t>(axis)]);
    const std::vector<float> numbers = values<float>(tensor);
    for (std::size_t i = 0; i < numbers.size(); ++i) use(i / inner % size, numbers[i]);
  }

  // Where in the weights of a layer are the units that it makes (out) or takes; -1: it is no such layer.
  int axis_of(const NodeProto& node, bool out) const {
    if (channels_) return is_onnx(node, "Conv") && int_of(node, "group", 1) == 1 ? (out ? 0 : 1) : -1;
    if (is_onnx(node, "MatMul")) return out ? 1 : 0;
    if (!is_onnx(node, "Gemm") || (!out && int_of(node, "transA", 0) != 0)) return -1;
    return (int_of(node, "transB", 0) != 0) == out ? 0 : 1;
  }

  const TensorProto* weights_of(const NodeProto& node) const {
    const TensorProto* found = node.input_size() > 1 && node.output_size() > 0 ? graph_.constant(node.input(1)) : nullptr;
    const bool fits = found && is_float(*found) && (channels_ ? found->dims_size() > 2 : found->dims_size() == 2) && elements(*found) > 0;
    return fits ? found : nullptr;
  }

  bool add_cut(const std::string& tensor, int axis, Role role) {
    const TensorProto* found = graph_.constant(tensor);
    if (!found || !is_float(*found)) return refuse("'" + tensor + "' is no constant of 32-bit floats");
    if (axis >= found->dims_size() || found->dims(axis) != units_)
      return refuse("the constant '" + tensor + "' has not one value for each of the " + std::to_string(units_) + " units");
    const bool known = std::ranges::any_of(cuts_, [&](const Cut& cut) { return cut.tensor == tensor && cut.axis == axis; });
    if (!known) cuts_.push_back({tensor, axis, role});
    return true;
  }

  bool add_source(const NodeProto& node) {
    if (!source_names_.insert(name_of(node)).second) return true;
    const int axis = axis_of(node, true);
    const TensorProto* weights = weights_of(node);
    if (axis < 0 || !weights)
      return refuse("its units are made by '" + name_of(node) + "' as well, which has no constant weights of 32-bit floats");
    if (units_ == 0) units_ = weights->dims(axis);
    nodes_.insert(name_of(node));
    if (!add_cut(node.input(1), axis, Role::source)) return false;
    if (node.input_size() < 3 || node.input(2).empty()) return true;
    const TensorProto* bias = graph_.constant(node.input(2));
    if (!bias) return refuse("what '" + name_of(node) + "' adds is no constant");
    if (elements(*bias) == 1) return true;
    return add_cut(node.input(2), bias->dims_size() - 1, Role::beside);
  }

  void reach(const std::string& tensor) {
    if (tensors_.insert(tensor).second) queue_.push_back(tensor);
  }

  // A node that works on each unit for itself: all that it takes and gives has the same units.
  bool pointwise(const NodeProto& node) {
    nodes_.insert(name_of(node));
    if (is_unary(node)) {
      reach(node.input(0));
    } else if (is_binary(node)) {
      for (const std::string& input : node.input()) {
        const TensorProto* constant = graph_.constant(input);
        if (!constant) { reach(input); continue; }
        if (elements(*constant) == 1) continue;
        const int axis = channels_ ? constant->dims_size() - 3 : constant->dims_size() - 1;
        if (axis < 0 || elements(*constant) != static_cast<std::uint64_t>(units_))
          return refuse("'" + name_of(node) + "' joins the constant '" + input + "', which has not one value for each unit");
        if (!add_cut(input, axis, Role::beside)) return false;
      }
    } else if (channels_ && is_onnx(node, "BatchNormalization") && node.input_size() == 5 && node.output_size() == 1) {
      reach(node.input(0));
      for (int i = 1; i < 5; ++i)
        if (!add_cut(node.input(i), 0, Role::beside)) return false;
    } else if (channels_ && node.output_size() == 1 && node.domain().empty() &&
               is_one_of(node, {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})) {
      reach(node.input(0));
    } else if (channels_ && is_onnx(node, "Conv") && int_of(node, "group", 1) == units_ && units_ > 1 && weights_of(node)) {
      reach(node.input(0));  // each channel is filtered for itself
      if (!add_cut(node.input(1), 0, Role::beside)) return false;
      if (node.input_size() > 2 && !node.input(2).empty() && !add_cut(node.input(2), 0, Role::beside)) return false;
      grouped_.insert(name_of(node));
    } else {
      return refuse("'" + name_of(node) + "' (" + node.op_type() + ") works on its units together");
    }
    if (node.output_size() < 1) return refuse("'" + name_of(node) + "' makes nothing");
    reach(node.output(0));
    return true;
  }

  bool made(const NodeProto& node) { return axis_of(node, true) >= 0 ? add_source(node) : pointwise(node); }

  bool taken(const NodeProto& node, const std::string& tensor) {
    const int axis = axis_of(node, false);
    if (axis < 0) return pointwise(node);
    if (node.input(0) != tensor || std::ranges::count(node.input(), tensor) != 1 || !weights_of(node))
      return refuse("'" + name_of(node) + "', which takes its units, has no constant weights of 32-bit floats");
    nodes_.insert(name_of(node)), sinks_.insert(name_of(node));
    return add_cut(node.input(1), axis, Role::sink);
  }

  Work& work_;
  Graph& graph_;
  bool channels_;
  std::int64_t units_ = 0;
  std::set<std::string> tensors_, nodes_, sinks_, source_names_, grouped_;
  std::vector<std::string> queue_;
  std::vector<Cut> cuts_;
  std::string why_;
  std::size_t removed_ = 0;
};

Result<void> prune_units(Work& work, bool channels) {
  Graph& graph = work.graph;
  const std::uint64_t before = [&] {
    std::uint64_t count = 0;
    for (const auto& tensor : graph.proto().initializer()) count += elements(tensor);
    return count;
  }();
  std::set<std::string> met;
  std::size_t removed = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    const bool layer = channels ? is_onnx(node, "Conv") && int_of(node, "group", 1) == 1 : is_onnx(node, "MatMul") || is_onnx(node, "Gemm");
    const TensorProto* weights = layer && node.input_size() > 1 && node.output_size() > 0 ? graph.constant(node.input(1)) : nullptr;
    if (!weights || met.contains(name_of(node))) continue;
    if (!is_float(*weights)) {
      work.leave(node, "its weights are " + type_name(weights->data_type()) + ": pruning goes before steps that store them in fewer bits");
      continue;
    }
    if (weights->dims_size() < 2 || elements(*weights) == 0) continue;
    Region region(work, channels);
    const bool fits = region.grow(i);
    met.insert(region.sources().begin(), region.sources().end());
    if (!fits) work.leave(node, region.why());
    else if (region.units() < kUnitsLeast) work.leave(node, "it has only " + std::to_string(region.units()) + " units");
    else {
      region.cut(work.amount);
      removed += region.removed();
      for (const std::string& name : region.sources()) ++work.changed, work.done.push_back(name);
    }
  }
  graph.remove_unused_constants();
  std::uint64_t after = 0;
  for (const auto& tensor : graph.proto().initializer()) after += elements(tensor);
  work.notes.push_back(with_commas(removed) + (channels ? " channels" : " neurons") + " are gone; " + with_commas(before) +
                       " parameters became " + with_commas(after));
  return {};
}

}  // namespace

Result<void> prune_neurons(Work& work) { return prune_units(work, false); }
Result<void> prune_channels(Work& work) { return prune_units(work, true); }

}  // namespace mayfly::optimize
