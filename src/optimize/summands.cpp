#include "optimize/summands.h"

#include <algorithm>
#include <optional>
#include <set>

#include "optimize/detail/graph.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::ValueInfoProto;

constexpr std::size_t kDimensions = 3;  // what the engine joins

// The free dimensions of the inputs by their names; those without one are told apart by where they are.
struct Free {
  std::set<std::string> rows, others;
};

Free free_of(const Graph& graph) {
  Free found;
  for (const ValueInfoProto& input : graph.inputs()) {
    const auto& shape = input.type().tensor_type().shape();
    for (int i = 0; i < shape.dim_size(); ++i) {
      if (shape.dim(i).has_dim_value()) continue;
      const std::string& name = shape.dim(i).dim_param();
      (i == 0 ? found.rows : found.others).insert(name.empty() ? input.name() + '\n' + std::to_string(i) : name);
    }
  }
  return found;
}

bool few_runs_tell(const Graph& graph) {
  const auto ranked = [](const ValueInfoProto& input) { return input.type().tensor_type().has_shape(); };
  if (!std::ranges::all_of(graph.inputs(), ranked)) return false;
  const Free free = free_of(graph);
  if (free.rows.size() > 1 || free.others.size() > 1 || (!free.rows.empty() && free.rows == free.others)) return false;
  static const std::set<std::string_view> kDepend = {"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"};
  for (int i = 0; i < graph.nodes(); ++i) {
    if (kDepend.contains(graph.node(i).op_type())) return false;
    if (std::ranges::any_of(graph.node(i).attribute(), [](const auto& one) { return one.has_g() || one.graphs_size() > 0; })) return false;
  }
  return true;
}

bool is_sum(const NodeProto& node) { return is_onnx(node, "Add") && node.input_size() == 2 && node.output_size() == 1; }

// Only by what makes up a normalisation: one node, or the mean of the value and the value without it.
bool is_normalised(const Graph& graph, const std::string& sum) {
  if (graph.is_output(sum)) return false;
  const std::vector<int>& takers = graph.consumers(sum);
  const auto takes = [&](int node, std::string_view kind) { return is_onnx(graph.node(node), kind) && graph.node(node).input(0) == sum; };
  if (static_cast<int>(takers.size()) != graph.uses(sum) || takers.empty()) return false;
  if (takers.size() == 1) return takes(takers[0], "LayerNormalization");
  return std::ranges::all_of(takers, [&](int node) { return takes(node, "ReduceMean") || takes(node, "Sub"); }) &&
         std::ranges::any_of(takers, [&](int node) { return takes(node, "ReduceMean"); });
}

bool states_all(const ValueInfoProto& value) {
  const auto& shape = value.type().tensor_type().shape();
  return value.type().tensor_type().has_shape() &&
         std::ranges::all_of(shape.dim(), [](const auto& one) { return one.has_dim_value() || !one.dim_param().empty(); });
}

class Summands {
 public:
  explicit Summands(const Graph& graph) : graph_(graph) {
    for (const ValueInfoProto& value : graph.values())
      if (states_all(value)) known_.insert(value.name());
  }

  std::vector<std::string> find() {
    for (int i = 0; i < graph_.nodes(); ++i) {
      const NodeProto& node = graph_.node(i);
      if (is_sum(node) && is_normalised(graph_, node.output(0))) take(node);
    }
    return found_;
  }

 private:
  // Its summands, and those of a bias that was added to one of them: the engine takes that into the same node.
  void take(const NodeProto& sum) {
    for (const std::string& input : sum.input()) {
      const int maker = graph_.producer(input);
      if (maker < 0) continue;
      const NodeProto& before = graph_.node(maker);
      if (is_sum(before) && graph_.constant(before.input(1))) take_one(before.input(0));
      take_one(input);
    }
  }
  void take_one(const std::string& value) {
    if (graph_.producer(value) >= 0 && !graph_.is_output(value) && known_.insert(value).second) found_.push_back(value);
  }
  const Graph& graph_;
  std::set<std::string> known_;  // or found
  std::vector<std::string> found_;
};

enum class Dimension { fixed, rows, size };

// What dimension `at` of a value is in all runs; nullopt: something else.
std::optional<Dimension> dimension_of(const std::string& name, std::size_t at, const std::vector<ShapesSeen>& runs) {
  const auto is = [&](auto expected) {
    return std::ranges::all_of(runs, [&](const ShapesSeen& run) { return run.shapes.at(name)[at] == expected(run); });
  };
  if (is([&](const ShapesSeen&) { return runs[0].shapes.at(name)[at]; })) return Dimension::fixed;
  if (is([](const ShapesSeen& run) { return run.rows; })) return Dimension::rows;
  if (is([](const ShapesSeen& run) { return run.size; })) return Dimension::size;
  return std::nullopt;
}

std::optional<std::vector<Dimension>> dimensions_of(const std::string& name, const std::vector<ShapesSeen>& runs) {
  std::vector<Dimension> out;
  for (const ShapesSeen& run : runs)
    if (const auto seen = run.shapes.find(name); seen == run.shapes.end() || seen->second.size() != kDimensions) return std::nullopt;
  for (std::size_t i = 0; i < kDimensions; ++i) {
    const auto one = dimension_of(name, i, runs);
    if (!one) return std::nullopt;
    out.push_back(*one);
  }
  return out;
}

// As the model calls it, or a name of our own.
std::string name_of_free(const std::set<std::string>& names, const std::string& otherwise) {
  return names.empty() || names.begin()->contains('\n') ? otherwise : *names.begin();
}

}  // namespace

std::vector<std::string> summands_to_observe(const Model& model) {
  Model mine = model.copy();
  const Graph graph(mine.impl().proto);
  if (!few_runs_tell(graph)) return {};
  return Summands(graph).find();
}

int state_shapes(Model& model, const std::vector<ShapesSeen>& runs) {
  Graph graph(model.impl().proto);
  const Free free = free_of(graph);
  if (runs.size() < 1 + free.rows.size() + free.others.size()) return 0;
  const std::string rows = name_of_free(free.rows, "rows"), size = name_of_free(free.others, "size");
  int stated = 0;
  for (const auto& [name, shape] : runs[0].shapes) {
    const auto dimensions = dimensions_of(name, runs);
    if (!dimensions || graph.producer(name) < 0 || graph.is_output(name)) continue;
    auto* values = graph.proto().mutable_value_info();
    const auto there = std::ranges::find(*values, name, [](const ValueInfoProto& value) { return value.name(); });
    ValueInfoProto& value = there == values->end() ? *values->Add() : *there;
    value.set_name(name);
    auto* tensor = value.mutable_type()->mutable_tensor_type();
    if (tensor->elem_type() == 0) tensor->set_elem_type(onnx::TensorProto::FLOAT);
    tensor->clear_shape();
    for (std::size_t i = 0; i < kDimensions; ++i) {
      auto* dim = tensor->mutable_shape()->add_dim();
      if ((*dimensions)[i] == Dimension::fixed) dim->set_dim_value(shape[i]);
      else dim->set_dim_param((*dimensions)[i] == Dimension::rows ? rows : size);
    }
    ++stated;
  }
  return stated;
}

}  // namespace mayfly::optimize
