#include "optimize/detail/graph.h"

#include <algorithm>

namespace mayfly::optimize {
namespace {

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;
using onnx::TensorProto;

// Every name that a graph within a node uses or makes. One that it makes itself may be meant; to count that as a use does no harm.
void names_within(const NodeProto& node, std::unordered_set<std::string>& used, std::unordered_set<std::string>& names);

void names_of(const GraphProto& graph, std::unordered_set<std::string>& used, std::unordered_set<std::string>& names) {
  for (const TensorProto& tensor : graph.initializer()) names.insert(tensor.name());
  for (const auto& input : graph.input()) names.insert(input.name());
  for (const auto& output : graph.output()) used.insert(output.name()), names.insert(output.name());
  for (const NodeProto& node : graph.node()) {
    used.insert(node.input().begin(), node.input().end());
    names.insert(node.output().begin(), node.output().end());
    names_within(node, used, names);
  }
}

void names_within(const NodeProto& node, std::unordered_set<std::string>& used, std::unordered_set<std::string>& names) {
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) names_of(attribute.g(), used, names);
    for (const GraphProto& graph : attribute.graphs()) names_of(graph, used, names);
  }
}

}  // namespace

std::string name_of(const NodeProto& node) {
  if (!node.name().empty()) return node.name();
  return node.op_type() + " for '" + (node.output_size() > 0 ? node.output(0) : std::string()) + "'";
}

const AttributeProto* attribute(const NodeProto& node, std::string_view name) {
  for (const AttributeProto& one : node.attribute())
    if (one.name() == name) return &one;
  return nullptr;
}

std::int64_t int_of(const NodeProto& node, std::string_view name, std::int64_t otherwise) {
  const AttributeProto* found = attribute(node, name);
  return found ? found->i() : otherwise;
}

float float_of(const NodeProto& node, std::string_view name, float otherwise) {
  const AttributeProto* found = attribute(node, name);
  return found ? found->f() : otherwise;
}

bool is_onnx(const NodeProto& node, std::string_view kind) {
  return node.op_type() == kind && (node.domain().empty() || node.domain() == "ai.onnx");
}

NodeProto make_node(std::string_view kind, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                    std::string_view domain) {
  NodeProto node;
  node.set_op_type(std::string(kind));
  if (!domain.empty()) node.set_domain(std::string(domain));
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  node.set_name(outputs.front() + "_" + std::string(kind));
  return node;
}

void set_int(NodeProto& node, std::string_view name, std::int64_t value) {
  AttributeProto* made = node.add_attribute();
  made->set_name(std::string(name));
  made->set_type(AttributeProto::INT);
  made->set_i(value);
}

void set_float(NodeProto& node, std::string_view name, float value) {
  AttributeProto* made = node.add_attribute();
  made->set_name(std::string(name));
  made->set_type(AttributeProto::FLOAT);
  made->set_f(value);
}

Graph::Graph(onnx::ModelProto& model) : model_(model) {
  for (const auto& opset : model.opset_import())
    if (opset.domain().empty() || opset.domain() == "ai.onnx") opset_ = opset.version();
  // Before version 4 each constant had to be listed as an input, too: nobody means it to be one.
  if (model.ir_version() < 4) {
    std::unordered_set<std::string> constants;
    for (const TensorProto& tensor : model.graph().initializer()) constants.insert(tensor.name());
    auto* inputs = model.mutable_graph()->mutable_input();
    const auto rest = std::remove_if(inputs->begin(), inputs->end(), [&](const auto& input) { return constants.contains(input.name()); });
    inputs->DeleteSubrange(static_cast<int>(rest - inputs->begin()), static_cast<int>(inputs->end() - rest));
    model.set_ir_version(4);
  }
  refresh();
}

void Graph::refresh() {
  constants_.clear(), uses_.clear(), producers_.clear(), types_.clear(), consumers_.clear();
  inputs_.clear(), outputs_.clear(), inner_.clear(), names_.clear();
  const GraphProto& graph = model_.graph();
  const auto typed = [&](const onnx::ValueInfoProto& value) {
    names_.insert(value.name());
    if (value.type().has_tensor_type()) types_[value.name()] = value.type().tensor_type().elem_type();
  };
  for (const auto& input : graph.input()) inputs_.insert(input.name()), typed(input);
  for (const auto& output : graph.output()) outputs_.insert(output.name()), typed(output), ++uses_[output.name()];
  for (const auto& value : graph.value_info()) typed(value);
  for (int i = 0; i < graph.initializer_size(); ++i) {
    const TensorProto& tensor = graph.initializer(i);
    names_.insert(tensor.name());
    types_[tensor.name()] = tensor.data_type();
    if (!inputs_.contains(tensor.name())) constants_.emplace(tensor.name(), i);
  }
  for (const auto& sparse : graph.sparse_initializer()) names_.insert(sparse.values().name());
  for (int i = 0; i < graph.node_size(); ++i) {
    const NodeProto& node = graph.node(i);
    names_.insert(node.name());
    for (const std::string& output : node.output())
      if (!output.empty()) producers_[output] = i, names_.insert(output);
    for (const std::string& input : node.input())
      if (!input.empty()) ++uses_[input], consumers_[input].push_back(i);
    std::unordered_set<std::string> within;
    names_within(node, within, names_);
    for (const std::string& name : within) ++uses_[name], inner_.insert(name), names_.insert(name);
  }
}

const TensorProto* Graph::constant(const std::string& name) const {
  const auto found = constants_.find(name);
  return found == constants_.end() ? nullptr : &model_.graph().initializer(found->second);
}

TensorProto* Graph::mutable_constant(const std::string& name) {
  const auto found = constants_.find(name);
  return found == constants_.end() ? nullptr : proto().mutable_initializer(found->second);
}

int Graph::uses(const std::string& name) const {
  const auto found = uses_.find(name);
  return found == uses_.end() ? 0 : found->second;
}

int Graph::producer(const std::string& name) const {
  const auto found = producers_.find(name);
  return found == producers_.end() ? -1 : found->second;
}

const std::vector<int>& Graph::consumers(const std::string& name) const {
  static const std::vector<int> kNone;
  const auto found = consumers_.find(name);
  return found == consumers_.end() ? kNone : found->second;
}

int Graph::only_consumer(const std::string& name) const {
  if (is_output(name) || inner_.contains(name)) return -1;
  const std::vector<int>& all = consumers(name);
  return all.size() == 1 ? all.front() : -1;
}

int Graph::type_of(const std::string& name) const {
  const auto found = types_.find(name);
  return found == types_.end() ? 0 : found->second;
}

std::string Graph::unique(const std::string& wish) {
  std::string name = wish;
  for (int i = 2; names_.contains(name); ++i) name = wish + "_" + std::to_string(i);
  names_.insert(name);
  return name;
}

std::string Graph::add(TensorProto tensor) {
  const std::string name = unique(tensor.name());
  tensor.set_name(name);
  add_named(std::move(tensor));
  return name;
}

void Graph::add_named(TensorProto tensor) {
  types_[tensor.name()] = tensor.data_type();
  constants_.emplace(tensor.name(), model_.graph().initializer_size());
  *proto().add_initializer() = std::move(tensor);
}

void Graph::use_domain(const std::string& domain, std::int64_t version) {
  for (const auto& opset : model_.opset_import())
    if (opset.domain() == domain) return;
  auto* added = model_.add_opset_import();
  added->set_domain(domain);
  added->set_version(version);
}

void Graph::replace_nodes(std::vector<NodeProto> nodes) {
  auto* list = proto().mutable_node();
  list->Clear();
  list->Reserve(static_cast<int>(nodes.size()));
  for (NodeProto& node : nodes) *list->Add() = std::move(node);
  refresh();
}

void Graph::remove_unused_constants() {
  refresh();
  auto* constants = proto().mutable_initializer();
  const auto rest = std::remove_if(constants->begin(), constants->end(),
                                   [&](const TensorProto& tensor) { return uses(tensor.name()) == 0 && !is_input(tensor.name()); });
  constants->DeleteSubrange(static_cast<int>(rest - constants->begin()), static_cast<int>(constants->end() - rest));
  auto* values = proto().mutable_value_info();
  const auto said = std::remove_if(values->begin(), values->end(), [&](const auto& value) {
    return stale_.contains(value.name()) ||
           (producer(value.name()) < 0 && !inputs_.contains(value.name()) && !inner_.contains(value.name()));
  });
  values->DeleteSubrange(static_cast<int>(said - values->begin()), static_cast<int>(values->end() - said));
  stale_.clear();
  refresh();
}

int remove_dead(Graph& graph) {
  int removed = 0;
  for (bool again = true; again;) {
    again = false;
    std::vector<NodeProto> nodes;
    // From the end: what only dead nodes use is dead in the same round, where the nodes are in order.
    std::unordered_map<std::string, int> lost;
    for (int i = graph.nodes() - 1; i >= 0; --i) {
      const NodeProto& node = graph.node(i);
      const bool used = std::ranges::any_of(node.output(), [&](const std::string& output) {
        return !output.empty() && graph.uses(output) > (lost.contains(output) ? lost[output] : 0);
      });
      if (used) { nodes.push_back(node); continue; }
      for (const std::string& input : node.input()) ++lost[input];
      ++removed, again = true;
    }
    if (!again) break;
    std::ranges::reverse(nodes);
    graph.replace_nodes(std::move(nodes));
  }
  const int before = graph.proto().initializer_size();
  graph.remove_unused_constants();
  return removed + before - graph.proto().initializer_size();
}

}  // namespace mayfly::optimize
