// fold: what only depends on constants becomes one; what nobody uses, and what is there twice, leaves.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr std::uint64_t kFoldedMax = 256ull << 20;  // bytes of one result: more would make the file larger than it is worth

std::optional<TensorProto> constant_of(const NodeProto& node) {
  TensorProto out;
  if (const auto* value = attribute(node, "value")) out = value->t();
  else if (const auto* one = attribute(node, "value_float")) out = make_tensor<float>("", TensorProto::FLOAT, {}, {one->f()});
  else if (const auto* whole = attribute(node, "value_int")) out = make_tensor<std::int64_t>("", TensorProto::INT64, {}, {whole->i()});
  else if (const auto* many = attribute(node, "value_floats"))
    out = make_tensor<float>("", TensorProto::FLOAT, {many->floats_size()}, {many->floats().begin(), many->floats().end()});
  else if (const auto* wholes = attribute(node, "value_ints"))
    out = make_tensor<std::int64_t>("", TensorProto::INT64, {wholes->ints_size()}, {wholes->ints().begin(), wholes->ints().end()});
  else return std::nullopt;
  if (out.data_type() == TensorProto::UNDEFINED) return std::nullopt;
  return out;
}

// Axes from the second input (since opset 13) or the attribute.
std::optional<Shape> axes_of(const Graph& graph, const NodeProto& node) {
  if (const auto* given = attribute(node, "axes")) return Shape(given->ints().begin(), given->ints().end());
  const TensorProto* second = node.input_size() > 1 ? graph.constant(node.input(1)) : nullptr;
  if (!second || second->data_type() != TensorProto::INT64) return std::nullopt;
  return values<std::int64_t>(*second);
}

TensorProto with_shape(const TensorProto& tensor, const Shape& shape) {
  TensorProto out = tensor;
  out.clear_dims();
  for (const std::int64_t size : shape) out.add_dims(size);
  return out;
}

std::optional<TensorProto> unsqueeze(const Graph& graph, const NodeProto& node, const TensorProto& data) {
  auto axes = axes_of(graph, node);
  if (!axes) return std::nullopt;
  const auto rank = static_cast<std::int64_t>(axes->size()) + data.dims_size();
  for (std::int64_t& axis : *axes) {
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank) return std::nullopt;
  }
  std::ranges::sort(*axes);
  if (std::ranges::adjacent_find(*axes) != axes->end()) return std::nullopt;
  Shape shape = shape_of(data);
  for (const std::int64_t axis : *axes) shape.insert(shape.begin() + axis, 1);
  return with_shape(data, shape);
}

std::optional<TensorProto> squeeze(const Graph& graph, const NodeProto& node, const TensorProto& data) {
  const bool all = node.input_size() < 2 && !attribute(node, "axes");
  Shape axes, shape;
  if (!all) {
    const auto given = axes_of(graph, node);
    if (!given) return std::nullopt;
    axes = *given;
  }
  for (std::int64_t& axis : axes) {
    if (axis < 0) axis += data.dims_size();
    if (axis < 0 || axis >= data.dims_size() || data.dims(static_cast<int>(axis)) != 1) return std::nullopt;
  }
  for (int i = 0; i < data.dims_size(); ++i) {
    const bool leaves = all ? data.dims(i) == 1 : std::ranges::find(axes, i) != axes.end();
    if (!leaves) shape.push_back(data.dims(i));
  }
  return with_shape(data, shape);
}

std::optional<TensorProto> reshape(const Graph& graph, const NodeProto& node, const TensorProto& data) {
  const TensorProto* wanted = node.input_size() > 1 ? graph.constant(node.input(1)) : nullptr;
  if (!wanted || wanted->data_type() != TensorProto::INT64 || int_of(node, "allowzero", 0) != 0) return std::nullopt;
  Shape shape = values<std::int64_t>(*wanted);
  std::size_t free = shape.size();
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) {
      if (static_cast<int>(i) >= data.dims_size()) return std::nullopt;
      shape[i] = data.dims(static_cast<int>(i));
    } else if (shape[i] == -1) {
      if (free != shape.size()) return std::nullopt;
      free = i, shape[i] = 1;
    }
  }
  const auto known = count_of(shape);
  if (!known) return std::nullopt;
  if (free != shape.size()) {
    if (*known == 0 || elements(data) % *known != 0) return std::nullopt;
    shape[free] = static_cast<std::int64_t>(elements(data) / *known);
  }
  if (count_of(shape) != elements(data)) return std::nullopt;
  return with_shape(data, shape);
}

std::optional<TensorProto> transpose(const NodeProto& node, const TensorProto& data) {
  const auto width = bytes_of(data.data_type(), 2);
  const auto rank = static_cast<std::size_t>(data.dims_size());
  if (!width || *width < 2 || !data.has_raw_data()) return std::nullopt;  // two 4-bit numbers share a byte
  const std::size_t size = *width / 2;
  Shape order(rank), shape = shape_of(data), turned(rank);
  std::iota(order.rbegin(), order.rend(), 0);
  if (const auto* given = attribute(node, "perm")) order.assign(given->ints().begin(), given->ints().end());
  Shape sorted = order;
  std::ranges::sort(sorted);
  for (std::size_t i = 0; i < sorted.size(); ++i)
    if (order.size() != rank || sorted[i] != static_cast<std::int64_t>(i)) return std::nullopt;
  std::vector<std::size_t> stride(rank, 1), step(rank), at(rank, 0);
  for (std::size_t i = rank; i-- > 1;) stride[i - 1] = stride[i] * static_cast<std::size_t>(shape[i]);
  for (std::size_t i = 0; i < rank; ++i)
    turned[i] = shape[static_cast<std::size_t>(order[i])], step[i] = stride[static_cast<std::size_t>(order[i])];
  std::string bytes(data.raw_data().size(), '\0');
  const std::size_t count = bytes.size() / size;
  for (std::size_t to = 0, from = 0; to < count; ++to) {
    std::memcpy(bytes.data() + to * size, data.raw_data().data() + from * size, size);
    for (std::size_t i = rank; i-- > 0;) {  // the next index, as an odometer counts
      from += step[i];
      if (++at[i] < static_cast<std::size_t>(turned[i])) break;
      from -= step[i] * at[i], at[i] = 0;
    }
  }
  TensorProto out = with_shape(data, turned);
  out.set_raw_data(std::move(bytes));
  return out;
}

template <class To, class From>
TensorProto converted(const TensorProto& data, int type) {
  const std::vector<From> from = values<From>(data);
  std::vector<To> to(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<To>(from[i]);
  return make_tensor<To>("", type, shape_of(data), to);
}

std::optional<TensorProto> cast(const NodeProto& node, const TensorProto& data) {
  const auto to = static_cast<int>(int_of(node, "to", 0));
  if (to == data.data_type()) return data;
  switch (data.data_type()) {
    case TensorProto::INT64:
      if (to == TensorProto::FLOAT) return converted<float, std::int64_t>(data, to);
      if (to == TensorProto::INT32) return converted<std::int32_t, std::int64_t>(data, to);
      break;
    case TensorProto::INT32:
      if (to == TensorProto::FLOAT) return converted<float, std::int32_t>(data, to);
      if (to == TensorProto::INT64) return converted<std::int64_t, std::int32_t>(data, to);
      break;
    case TensorProto::DOUBLE:
      if (to == TensorProto::FLOAT) return converted<float, double>(data, to);
      break;
    case TensorProto::FLOAT: {  // to whole numbers only where no choice of rounding or overflow is left to the engine
      if (to == TensorProto::DOUBLE) return converted<double, float>(data, to);
      if (to != TensorProto::INT64 && to != TensorProto::INT32) break;
      const bool safe = std::ranges::all_of(values<float>(data), [](float x) { return std::abs(x) < 2e9f; });
      if (safe) return to == TensorProto::INT64 ? converted<std::int64_t, float>(data, to) : converted<std::int32_t, float>(data, to);
      break;
    }
    default: break;
  }
  return std::nullopt;
}

std::optional<TensorProto> result_of(const Graph& graph, const NodeProto& node) {
  if (node.output_size() != 1 || node.output(0).empty() || !(node.domain().empty() || node.domain() == "ai.onnx")) return std::nullopt;
  if (node.op_type() == "Constant") return constant_of(node);
  const TensorProto* data = node.input_size() > 0 ? graph.constant(node.input(0)) : nullptr;
  if (!data || data->data_type() == TensorProto::STRING || data->raw_data().size() > kFoldedMax) return std::nullopt;
  if (node.op_type() == "Identity") return *data;
  if (node.op_type() == "Cast") return cast(node, *data);
  if (node.op_type() == "Transpose") return transpose(node, *data);
  if (node.op_type() == "Reshape") return reshape(graph, node, *data);
  if (node.op_type() == "Unsqueeze") return unsqueeze(graph, node, *data);
  if (node.op_type() == "Squeeze") return squeeze(graph, node, *data);
  if (node.op_type() == "Shape" && !attribute(node, "start") && !attribute(node, "end"))
    return make_tensor<std::int64_t>("", TensorProto::INT64, {data->dims_size()}, shape_of(*data));
  return std::nullopt;
}

// Which input a value of the graph is another name of: constants with equal bytes, and what Identity passes on.
void rename_inputs(Graph& graph, const std::unordered_map<std::string, std::string>& other) {
  const auto target = [&](std::string name) {
    for (std::size_t i = 0; i <= other.size(); ++i) {
      const auto found = other.find(name);
      if (found == other.end()) break;
      name = found->second;
    }
    return name;
  };
  for (NodeProto& node : *graph.proto().mutable_node())
    for (std::string& input : *node.mutable_input()) input = target(input);
  graph.refresh();
}

int remove_duplicates(Work& work) {
  Graph& graph = work.graph;
  std::unordered_map<std::string, std::string> other;
  std::unordered_multimap<std::size_t, const TensorProto*> seen;
  for (const TensorProto& tensor : graph.proto().initializer()) {
    if (!graph.constant(tensor.name()) || !tensor.has_raw_data()) continue;
    const std::size_t hash = std::hash<std::string>()(tensor.raw_data());
    const auto [begin, end] = seen.equal_range(hash);
    const auto same = std::find_if(begin, end, [&](const auto& one) {
      return one.second->data_type() == tensor.data_type() && shape_of(*one.second) == shape_of(tensor) &&
             one.second->raw_data() == tensor.raw_data();
    });
    if (same != end) other.emplace(tensor.name(), same->second->name());
    else seen.emplace(hash, &tensor);
  }
  if (!other.empty()) rename_inputs(graph, other);
  return static_cast<int>(other.size());
}

int remove_identities(Work& work) {
  Graph& graph = work.graph;
  std::unordered_map<std::string, std::string> other;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    const bool passes = is_onnx(node, "Identity") || is_onnx(node, "Dropout");
    if (!passes || node.input_size() < 1 || node.output_size() < 1 || graph.is_output(node.output(0)) ||
        work.keep.contains(name_of(node)))
      continue;
    if (is_onnx(node, "Dropout") && (node.input_size() > 2 || (node.output_size() > 1 && graph.uses(node.output(1)) > 0))) continue;
    if (node.input(0).empty() || node.input(0) == node.output(0)) continue;
    other.emplace(node.output(0), node.input(0));
    work.done.push_back(name_of(node));
  }
  if (!other.empty()) rename_inputs(graph, other);
  return static_cast<int>(other.size());
}

}  // namespace

Result<void> fold(Work& work) {
  Graph& graph = work.graph;
  std::vector<NodeProto> rest;
  int folded = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    // What a branch uses keeps its name, and so does what this makes: the constant takes it.
    auto made = work.keep.contains(name_of(node)) || (node.output_size() > 0 && graph.constant(node.output(0))) ? std::nullopt
                                                                                                                : result_of(graph, node);
    if (!made || graph.is_output(node.output(0))) {
      rest.push_back(node);
      continue;
    }
    made->set_name(node.output(0));
    work.done.push_back(name_of(node));
    graph.add_named(std::move(*made));
    ++folded;
  }
  graph.replace_nodes(std::move(rest));
  const int same = remove_duplicates(work), passed = remove_identities(work), dead = remove_dead(graph);
  work.changed = folded + same + passed + dead;
  work.notes.push_back(std::to_string(folded) + " nodes computed, " + std::to_string(same) + " constants that were there twice, " +
                       std::to_string(passed) + " nodes that pass on what they get, " + std::to_string(dead) +
                       " nodes and constants that nobody uses");
  return {};
}

}  // namespace mayfly::optimize
