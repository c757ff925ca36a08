// A model's main graph with its names looked up: what a step works on. Who makes a value, who uses it, which are constants; new
// nodes and constants with names of their own. Branches and loops within are left alone, but what they use counts as used.
//
// A step goes over nodes() and puts what it makes instead into a list of its own, which replace_nodes() takes. The lookup is as
// old as the last refresh().
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "optimize/detail/tensor.h"
#include "optimize/recipe.h"

namespace mayfly::optimize {

[[nodiscard]] std::string name_of(const onnx::NodeProto& node);  // its name, or "MatMul for 'output'"
[[nodiscard]] const onnx::AttributeProto* attribute(const onnx::NodeProto& node, std::string_view name);
[[nodiscard]] std::int64_t int_of(const onnx::NodeProto& node, std::string_view name, std::int64_t otherwise);
[[nodiscard]] float float_of(const onnx::NodeProto& node, std::string_view name, float otherwise);
[[nodiscard]] bool is_onnx(const onnx::NodeProto& node, std::string_view kind);  // of ai.onnx

[[nodiscard]] onnx::NodeProto make_node(std::string_view kind, const std::vector<std::string>& inputs,
                                        const std::vector<std::string>& outputs, std::string_view domain = {});
void set_int(onnx::NodeProto& node, std::string_view name, std::int64_t value);
void set_float(onnx::NodeProto& node, std::string_view name, float value);

class Graph {
 public:
  explicit Graph(onnx::ModelProto& model);

  onnx::ModelProto& model() { return model_; }
  onnx::GraphProto& proto() { return *model_.mutable_graph(); }
  std::int64_t opset() const { return opset_; }
  void refresh();

  const onnx::NodeProto& node(int index) const { return model_.graph().node(index); }
  int nodes() const { return model_.graph().node_size(); }

  // A constant that no caller can override; null where `name` is none.
  const onnx::TensorProto* constant(const std::string& name) const;
  onnx::TensorProto* mutable_constant(const std::string& name);
  bool is_output(const std::string& name) const { return outputs_.contains(name); }
  bool is_input(const std::string& name) const { return inputs_.contains(name); }
  // How often it is used: by nodes, in branches, and as an output.
  int uses(const std::string& name) const;
  int producer(const std::string& name) const;                      // a node's index; -1: an input, a constant, nothing
  const std::vector<int>& consumers(const std::string& name) const;  // indices of nodes of this graph, once for each input
  int only_consumer(const std::string& name) const;                  // -1: none or several, or it is an output or used in a branch
  const auto& inputs() const { return model_.graph().input(); }
  const auto& values() const { return model_.graph().value_info(); }  // what the model says of values within
  // The element type of a value, as far as the model says; 0 where it does not.
  int type_of(const std::string& name) const;

  std::string unique(const std::string& wish);                       // a name that nothing has
  // Added at the end of the constants; its name is made unique. Returns the name.
  std::string add(onnx::TensorProto tensor);
  void add_named(onnx::TensorProto tensor);                           // the same under its own name, which a node no longer makes
  void use_domain(const std::string& domain, std::int64_t version);
  void replace_nodes(std::vector<onnx::NodeProto> nodes);            // and refresh()
  void forget_shape(const std::string& name) { stale_.insert(name); }  // what value_info says of it is no longer so
  void remove_unused_constants();                                    // and what forget_shape() was told

 private:
  onnx::ModelProto& model_;
  std::int64_t opset_ = 0;
  std::unordered_map<std::string, int> constants_, uses_, producers_, types_;
  std::unordered_map<std::string, std::vector<int>> consumers_;
  std::unordered_set<std::string> inputs_, outputs_, inner_, names_;
  std::set<std::string> stale_;
};

// What a step is given and what it tells.
struct Work {
  Graph graph;
  double amount = 0;
  const std::set<std::string>& keep;
  int changed = 0;
  std::vector<std::string> done;
  std::vector<Left> left;
  std::vector<std::string> notes;

  bool kept(const onnx::NodeProto& node) {
    const bool is = keep.contains(name_of(node));
    if (is) left.push_back({name_of(node), "it is to stay as it is"});
    return is;
  }
  void leave(const onnx::NodeProto& node, std::string why) { left.push_back({name_of(node), std::move(why)}); }
  void did(const onnx::NodeProto& node) { ++changed, done.push_back(name_of(node)); }
};

// Nodes whose results nobody uses, and constants likewise. Returns how many there were.
int remove_dead(Graph& graph);

}  // namespace mayfly::optimize
