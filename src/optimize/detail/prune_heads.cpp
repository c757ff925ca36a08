// prune-heads: whole heads of attention leave, with their columns of the query, key and value weights and their rows of the output
// weights, so the model is smaller and faster as it is.
//
// From each Softmax (or fused node, Attention and MultiHeadAttention of com.microsoft) the region grows over all that has the heads in
// a dimension of its own or as a part of one, backwards to the layers that make them and forwards to those that take them; Place says for
// each value where its heads are. Reshapes get new constants. Where it meets anything else, nothing is cut. A head's worth is the
// Frobenius norm of its value weights times its output weights, which is what it can add at most to the sum (Michel et al., 2019, rank
// heads by measuring; without data the weights must do).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "optimize/detail/heads.h"
#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;
using Numbers = std::vector<std::int64_t>;

std::string called(const NodeProto& node) { return "'" + name_of(node) + "' (" + node.op_type() + ")"; }

// Where the heads of a value are: in the dimension `axis`, counted from the end, which is `blocks` times heads times `inner` long. So
// [batch, length, heads * 64] has them at -1 with 64 in each, and [batch, heads, length, 64] at -3 with 1. `block`: of a value's
// weights that stand beside query's and key's, which third.
struct Place {
  int axis = -1;
  std::int64_t inner = 1, blocks = 1;
  bool value = false;
  std::int64_t block = 0;
};

class Attention {
 public:
  explicit Attention(Work& work) : work_(work), graph_(work.graph) {}

  // False: it can't be cut, why() says why.
  bool grow(int start) {
    const NodeProto& node = graph_.node(start);
    if (is_fused_attention(node)) {
      if (!fused(node)) return false;
    } else {
      const std::int64_t axis = int_of(node, "axis", graph_.opset() < 13 ? 1 : -1);
      const bool last = node.input_size() == 1 && node.output_size() == 1 && (axis == -1 || axis == 3);
      if (!last) return refuse("it is not over the last dimension");
      const int scores = behind(graph_, node.input(0), "MatMul");
      if (scores < 0 || matrix_of(graph_, graph_.node(scores))) return refuse("it is not behind a product of queries and keys");
      nodes_.insert(name_of(node));
      if (!reach(node.input(0), {.axis = -3}) || !reach(node.output(0), {.axis = -3})) return false;
    }
    while (!queue_.empty() || !joins_.empty()) {
      if (queue_.empty()) {  // all that says how wide a head is has been met
        const auto [join, place] = joins_.back();
        joins_.pop_back();
        if (!joined(join, place)) return false;
        continue;
      }
      const std::string tensor = queue_.back();
      queue_.pop_back();
      if (!around(tensor)) return false;
    }
    if (sinks_.empty() || sources_.empty() || heads_ == 0) return refuse("no layers with constant weights make and take its heads");
    return whole();
  }

  const std::string& why() const { return why_; }
  std::int64_t heads() const { return heads_; }

  void cut(std::size_t lost) {
    std::vector<double> worth = worths();
    std::vector<std::size_t> order(worth.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return worth[a] > worth[b]; });
    order.resize(order.size() - lost);
    std::ranges::sort(order);
    const auto left = static_cast<std::int64_t>(order.size());
    for (const Cut& one : cuts_) {
      std::vector<std::size_t> kept;
      for (std::int64_t block = 0; block < one.place.blocks; ++block)
        for (const std::size_t head : order)
          for (std::int64_t i = 0; i < one.place.inner; ++i)
            kept.push_back(static_cast<std::size_t>((block * heads_ + static_cast<std::int64_t>(head)) * one.place.inner + i));
      keep_only(*graph_.mutable_constant(one.tensor), one.axis, kept);
    }
    for (const Edit& one : edits_) {
      NodeProto& node = *graph_.proto().mutable_node(one.node);
      if (one.input > 0) {
        const TensorProto* before = graph_.constant(node.input(one.input));
        Numbers numbers = values<std::int64_t>(*before);
        for (const std::size_t at : one.places) numbers[at] = numbers[at] / heads_ * left;
        const Shape shape = shape_of(*before);
        node.set_input(one.input, graph_.add(make_tensor(before->name() + "_heads", TensorProto::INT64, shape, numbers)));
      } else {
        for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
          if (attribute.name() != one.attribute) continue;
          if (attribute.has_i()) attribute.set_i(left);
          for (std::int64_t& number : *attribute.mutable_ints()) number = number / heads_ * left;
        }
      }
    }
    for (const auto& [tensor, place] : places_) graph_.forget_shape(tensor);
  }

 private:
  struct Cut {
    std::string tensor;
    int axis;
    Place place;
  };
  struct Edit {
    int node;
    int input = 0;                    // the constant that is replaced; 0: the attribute is changed
    std::vector<std::size_t> places;  // of its numbers
    std::string attribute = {};
  };

  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool reach(const std::string& tensor, const Place& place) {
    const auto [known, is_new] = places_.try_emplace(tensor, place);
    if (is_new) queue_.push_back(tensor);
    else if (known->second.axis != place.axis || known->second.inner != place.inner || known->second.blocks != place.blocks)
      return refuse("the heads of '" + tensor + "' are not where they should be");
    else if (place.value && !known->second.value) return refuse("'" + tensor + "' is the value and something else as well");
    return true;
  }

  // All heads are the same number everywhere, or it is another kind of attention (grouped queries).
  bool count(std::int64_t heads, const NodeProto& node) {
    if (heads_ == 0) heads_ = heads;
    if (heads < 1 || heads != heads_)
      return refuse(called(node) + " makes " + std::to_string(heads) + " heads, where others are " + std::to_string(heads_));
    return true;
  }

  bool around(const std::string& tensor) {
    const Place place = places_.at(tensor);
    if (graph_.is_output(tensor)) return refuse("its heads are an output of the model ('" + tensor + "')");
    const int producer = graph_.producer(tensor);
    if (producer < 0) return refuse("its heads meet '" + tensor + "', which no layer makes");
    if (!made(producer, tensor, place)) return false;
    const std::vector<int>& consumers = graph_.consumers(tensor);
    if (graph_.uses(tensor) != static_cast<int>(consumers.size())) return refuse("its heads are used in a branch");
    return std::ranges::all_of(consumers, [&](int consumer) { return taken(consumer, tensor, place); });
  }

  bool add_cut(const std::string& tensor, int axis, const Place& place) {
    const TensorProto* found = graph_.constant(tensor);
    if (!found || !is_float(*found))
      return refuse("'" + tensor + "' is no constant of 32-bit floats: pruning goes before steps that store fewer bits");
    const bool known = std::ranges::any_of(cuts_, [&](const Cut& cut) { return cut.tensor == tensor && cut.axis == axis; });
    if (!known) cuts_.push_back({tensor, axis, place});
    return true;
  }

  void edit(Edit made) {
    const bool known = std::ranges::any_of(edits_, [&](const Edit& one) {
      return one.node == made.node && one.input == made.input && one.attribute == made.attribute;
    });
    if (!known) edits_.push_back(std::move(made));
  }

  // The constant whole numbers of a node's input.
  std::optional<Numbers> numbers(const NodeProto& node, int input) const {
    const TensorProto* found = node.input_size() > input ? graph_.constant(node.input(input)) : nullptr;
    if (!found || found->data_type() != TensorProto::INT64) return std::nullopt;
    return values<std::int64_t>(*found);
  }

  bool made(int index, const std::string& tensor, const Place& place) {
    const NodeProto& node = graph_.node(index);
    nodes_.insert(name_of(node));
    if (is_onnx(node, "MatMul") && matrix_of(graph_, node)) return source(node, place);
    if (is_onnx(node, "Gemm")) return source(node, place);
    if (is_onnx(node, "Transpose")) return turned(node, place, false);
    if (is_onnx(node, "Reshape") && place.axis == -1)
      return places_.contains(node.input(0)) || refuse(called(node) + " makes its heads of what no layer makes");
    if (is_onnx(node, "Reshape")) return split_up(index, place, false);
    if (is_onnx(node, "Split")) return parts(index, tensor, place);
    if (is_onnx(node, "Gather")) return picked(node, place);
    return between(index, place);
  }

  bool taken(int index, const std::string& tensor, const Place& place) {
    const NodeProto& node = graph_.node(index);
    nodes_.insert(name_of(node));
    if (place.axis == -1 && (is_onnx(node, "MatMul") || is_onnx(node, "Gemm"))) return sink(node, tensor, place);
    if (is_onnx(node, "Transpose")) return turned(node, place, true);
    if (is_onnx(node, "Reshape") && place.axis == -1) return split_up(index, place, true);
    if (is_onnx(node, "Reshape")) {
      joins_.emplace_back(index, place);
      return true;
    }
    if (is_onnx(node, "Split") || is_onnx(node, "Gather")) {
      takers_.insert(index);  // whole() sees whether all that it gives has been met
      return true;
    }
    return between(index, place);
  }

  bool source(const NodeProto& node, const Place& place) {
    const TensorProto* weights = matrix_of(graph_, node);
    if (!weights) return refuse("its heads are made by " + called(node) + ", which has no constant weights of 32-bit floats");
    const int axis = is_onnx(node, "Gemm") && int_of(node, "transB", 0) != 0 ? 0 : 1;
    if (place.axis != -1) return refuse("its heads are no columns of what " + called(node) + " makes");
    sources_.push_back({node.input(1), axis, place});
    if (!add_cut(node.input(1), axis, place)) return false;
    if (node.input_size() < 3 || node.input(2).empty()) return true;
    const TensorProto* bias = graph_.constant(node.input(2));
    return add_cut(node.input(2), bias ? std::max(0, bias->dims_size() - 1) : 0, place);
  }

  bool sink(const NodeProto& node, const std::string& tensor, const Place& place) {
    const TensorProto* weights = matrix_of(graph_, node);
    const bool gemm = is_onnx(node, "Gemm");
    if (!weights || node.input(0) != tensor || (gemm && int_of(node, "transA", 0) != 0))
      return refuse("its heads are taken by " + called(node) + ", which has no constant weights of 32-bit floats");
    if (place.blocks != 1) return refuse("query, key and value go into " + called(node) + " together");
    const int axis = gemm && int_of(node, "transB", 0) != 0 ? 1 : 0;
    sinks_.push_back({node.input(1), axis, place});
    return add_cut(node.input(1), axis, place);
  }

  bool turned(const NodeProto& node, Place place, bool forward) {
    const onnx::AttributeProto* order = attribute(node, "perm");
    const int rank = order ? order->ints_size() : 0;
    const int at = rank + place.axis;
    if (rank == 0 || at < 0) return refuse(called(node) + " has no order that says where the heads go");
    if (std::ranges::any_of(order->ints(), [&](std::int64_t axis) { return axis < 0 || axis >= rank; }))
      return refuse(called(node) + " has an order that is none");
    if (!forward) {
      place.axis = static_cast<int>(order->ints(at)) - rank;
      return reach(node.input(0), place);
    }
    const auto found = std::ranges::find(order->ints(), at);
    if (found == order->ints().end()) return refuse(called(node) + " has an order that is none");
    place.axis = static_cast<int>(found - order->ints().begin()) - rank;
    return reach(node.output(0), place);
  }

  // [..., heads * inner] becomes [..., heads, inner], or [..., 3, heads, inner].
  bool split_up(int index, Place place, bool forward) {
    const NodeProto& node = graph_.node(index);
    const auto shape = numbers(node, 1);
    if (!shape || shape->size() < 3 || (!forward && place.axis != -2))
      return refuse(called(node) + " has no constant shape that ends with heads and their width");
    const std::size_t at = shape->size() - 2;
    const std::int64_t inner = shape->back(), columns = columns_of(graph_, node.input(0));
    if (inner < 1 || columns < 1) return refuse(called(node) + " does not say how wide a head is, or no layer makes what it takes");
    const std::int64_t heads = (*shape)[at] > 0 ? (*shape)[at] : columns / inner;
    if (heads < 1 || heads > columns / inner) return refuse(called(node) + " makes more of its columns than there are");
    if (!count(heads, node)) return false;
    if (place.value || width_ == 0) width_ = inner;
    const std::int64_t blocks = columns / (heads * inner);
    if (columns != blocks * heads * inner || (blocks > 1 && (*shape)[at - 1] != blocks))
      return refuse(called(node) + " does not make whole heads of " + std::to_string(columns) + " columns");
    if ((*shape)[at] > 0) edit({.node = index, .input = 1, .places = {at}});
    const Place flat{.axis = -1, .inner = inner, .blocks = blocks, .value = place.value, .block = place.block};
    const Place apart{.axis = -2, .value = place.value, .block = place.block};
    if (forward && (place.inner != inner || place.blocks != blocks))
      return refuse("the heads of " + called(node) + " are not where they should be");
    return forward ? reach(node.output(0), apart) : reach(node.input(0), flat);
  }

  // [..., heads, inner] becomes [..., heads * inner].
  bool joined(int index, const Place& place) {
    const NodeProto& node = graph_.node(index);
    const auto shape = numbers(node, 1);
    if (!shape || shape->empty() || place.axis != -2 || heads_ == 0)
      return refuse(called(node) + " does not join the heads by a constant shape");
    const std::int64_t last = shape->back();
    const std::int64_t inner = last > 0 ? last / heads_ : width_;
    if (inner < 1 || (last > 0 && last % heads_ != 0)) return refuse(called(node) + " does not join whole heads");
    if (last > 0) edit({.node = index, .input = 1, .places = {shape->size() - 1}});
    return reach(node.output(0), {.axis = -1, .inner = inner});
  }

  // One product makes query, key and value, and Split takes them apart.
  bool parts(int index, const std::string& tensor, const Place& place) {
    const NodeProto& node = graph_.node(index);
    const std::int64_t columns = columns_of(graph_, node.input(0)), parts = node.output_size();
    const std::int64_t each = columns / std::max<std::int64_t>(parts, 1);
    const std::int64_t axis = int_of(node, "axis", 0);
    if (place.axis != -1 || place.blocks != 1 || (axis != -1 && axis != 2) || each != heads_ * place.inner || columns != each * parts)
      return refuse(called(node) + " does not split columns into equal parts");
    const auto uneven = [&](std::int64_t size) { return size != each; };
    if (const auto sizes = numbers(node, 1)) {
      if (std::ranges::any_of(*sizes, uneven)) return refuse(called(node) + " makes unequal parts");
      std::vector<std::size_t> all(sizes->size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      edit({.node = index, .input = 1, .places = all});
    } else if (const onnx::AttributeProto* split = attribute(node, "split")) {
      if (std::ranges::any_of(split->ints(), uneven)) return refuse(called(node) + " makes unequal parts");
      edit({.node = index, .attribute = "split"});
    } else if (node.input_size() > 1) {
      return refuse(called(node) + " splits by computed sizes");
    }
    const auto at = std::ranges::find(node.output(), tensor) - node.output().begin();
    Place all = place;
    all.blocks = parts, all.value = false;
    if (place.value) value_block_ = at;
    return reach(node.input(0), all);
  }

  // The same with a dimension of 3 in front, from which each is picked.
  bool picked(const NodeProto& node, Place place) {
    const TensorProto* at = node.input_size() > 1 ? graph_.constant(node.input(1)) : nullptr;
    if (!at || at->dims_size() != 0 || at->data_type() != TensorProto::INT64 || int_of(node, "axis", 0) != 0 || place.axis == -1)
      return refuse(called(node) + " does not pick one of query, key and value");
    if (place.value) value_block_ = values<std::int64_t>(*at).front();
    place.value = false;
    return reach(node.input(0), place);
  }

  // Nodes that leave the heads where they are.
  bool between(int index, const Place& place) {
    const NodeProto& node = graph_.node(index);
    if (is_fused_attention(node)) return fused(node);
    if (node.output_size() < 1 || node.input_size() < 1) return refuse(called(node) + " makes nothing");
    Place same = place;
    if (keeps_heads(node)) return reach(node.input(0), same) && reach(node.output(0), same);
    if (is_onnx(node, "Softmax") && place.axis == -3) return reach(node.input(0), same) && reach(node.output(0), same);
    if (joins_two(node)) {
      for (const std::string& input : node.input())
        if (!beside(node, input, place)) return false;
      return reach(node.output(0), same);
    }
    if (is_onnx(node, "Where") && node.input_size() == 3 && place.axis == -3) {
      for (const std::string& input : node.input())
        if (!same_for_all_heads(graph_, input) && !reach(input, same)) return false;
      return reach(node.output(0), same);
    }
    if (is_onnx(node, "MatMul") && node.input_size() == 2 && place.axis == -3) {
      // Scores, or the mixture of values: who stands behind a Softmax has the value on its right.
      same.value = false;
      Place right = same;
      right.value = behind(graph_, node.input(0), "Softmax") >= 0;
      return reach(node.input(0), same) && reach(node.input(1), right) && reach(node.output(0), same);
    }
    return refuse(called(node) + " is nothing that leaves heads apart");
  }

  // What a sum or product joins: other heads, a bias with a number for each column, or what is the same for all heads.
  bool beside(const NodeProto& node, const std::string& input, const Place& place) {
    const TensorProto* constant = graph_.constant(input);
    if (constant && elements(*constant) == 1) return true;
    if (constant && constant->dims_size() + place.axis >= 0) {
      const int axis = constant->dims_size() + place.axis;
      if (constant->dims(axis) == 1) return true;
      return add_cut(input, axis, place);
    }
    if (place.axis == -3 && !places_.contains(input) && same_for_all_heads(graph_, input)) return true;
    if (constant) return true;  // it has fewer dimensions: nothing for each head
    if (places_.contains(input) || place.axis == -1) return reach(input, place);
    const bool heads = behind(graph_, input, "MatMul") >= 0 || behind(graph_, input, "Transpose") >= 0;
    return heads ? reach(input, place) : refuse("'" + input + "', which " + called(node) + " joins, may be another for each head");
  }

  bool fused(const NodeProto& node) {
    const bool packed = holds_projections(node);
    if (node.output_size() != 1) return refuse(called(node) + " keeps what it has seen (past and present)");
    const std::int64_t heads = int_of(node, "num_heads", 0);
    if (!count(heads, node)) return false;
    if (!met_.insert(index_of(node)).second) return true;
    nodes_.insert(name_of(node));
    const auto given = [&](int at) { return node.input_size() > at && !node.input(at).empty(); };
    for (const int bias : packed ? std::vector<int>{5} : std::vector<int>{5, 6, 7})
      if (given(bias) && !same_for_all_heads(graph_, node.input(bias)))
        return refuse(called(node) + " adds '" + node.input(bias) + "', which may be another for each head");
    const std::string weights = packed ? node.input_size() > 1 ? node.input(1) : "" : "";
    const TensorProto* found = packed ? graph_.constant(weights) : nullptr;
    std::int64_t columns = packed ? (found && found->dims_size() == 2 ? found->dims(1) / 3 : 0) : columns_of(graph_, node.input(0));
    if (columns < 1 || columns % heads != 0 || (!packed && (!given(1) || !given(2))))
      return refuse(called(node) + " has no constant weights of whole heads");
    const Place third{.axis = -1, .inner = columns / heads, .blocks = 3};
    const Place place{.axis = -1, .inner = columns / heads};
    if (const onnx::AttributeProto* sizes = attribute(node, "qkv_hidden_sizes")) {
      if (std::ranges::any_of(sizes->ints(), [&](std::int64_t size) { return size != columns; }))
        return refuse(called(node) + " has heads of different widths");
      edit({.node = index_of(node), .attribute = "qkv_hidden_sizes"});
    }
    edit({.node = index_of(node), .attribute = "num_heads"});
    if (given(packed ? 2 : 3) && !add_cut(node.input(packed ? 2 : 3), 0, third)) return false;
    if (packed) {
      value_block_ = 2;
      sources_.push_back({weights, 1, third});
      return add_cut(weights, 1, third) && reach_out(node, place);
    }
    Place value = place;
    value.value = true;
    return reach(node.input(0), place) && reach(node.input(1), place) && reach(node.input(2), value) && reach_out(node, place);
  }

  bool reach_out(const NodeProto& node, const Place& place) { return reach(node.output(0), place); }
  int index_of(const NodeProto& node) const { return graph_.producer(node.output(0)); }

  // Every constant is as long as its heads say, and is nobody else's.
  bool whole() {
    for (const int taker : takers_)
      for (const std::string& output : graph_.node(taker).output())
        if (!places_.contains(output)) return refuse(called(graph_.node(taker)) + " takes a part of its columns for something else");
    for (const Cut& cut : cuts_) {
      const TensorProto& tensor = *graph_.constant(cut.tensor);
      const std::int64_t expected = cut.place.blocks * heads_ * cut.place.inner;
      if (cut.axis >= tensor.dims_size() || tensor.dims(cut.axis) != expected)
        return refuse("the constant '" + cut.tensor + "' has not " + std::to_string(expected) + " values for the heads");
      if (graph_.uses(cut.tensor) != 1 || graph_.is_output(cut.tensor))
        return refuse("the constant '" + cut.tensor + "' is used elsewhere, too");
    }
    for (const std::string& name : nodes_)
      if (work_.keep.contains(name)) return refuse("it is to stay as it is");
    return true;
  }

  // The norm of V * O for each head: the sum over pairs of its columns of (V'V) and (OO').
  std::vector<double> worths() const {
    std::vector<double> out(static_cast<std::size_t>(heads_), 0);
    for (const Cut& source : sources_) {
      if (!source.place.value && source.place.blocks == 1) continue;
      for (const Cut& sink : sinks_) add_worth(source, sink, out);
    }
    return out;
  }

  void add_worth(const Cut& source, const Cut& sink, std::vector<double>& out) const {
    const auto lines = [&](const Cut& cut) {  // a row for each column of V, and for each row of O
      const TensorProto& tensor = *graph_.constant(cut.tensor);
      const auto rows = static_cast<std::size_t>(tensor.dims(0)), columns = static_cast<std::size_t>(tensor.dims(1));
      return cut.axis == 0 ? values<float>(tensor) : transposed(values<float>(tensor), rows, columns);
    };
    const std::vector<float> v = lines(source), o = lines(sink);
    const auto inner = static_cast<std::size_t>(source.place.inner);
    const std::size_t first = source.place.blocks > 1 ? static_cast<std::size_t>(value_block_ * heads_) * inner : 0;
    const std::size_t v_long = v.size() / static_cast<std::size_t>(source.place.blocks * heads_) / inner;
    const std::size_t o_long = o.size() / static_cast<std::size_t>(heads_) / inner;
    const auto dot = [](const float* a, const float* b, std::size_t count) { return std::inner_product(a, a + count, b, 0.0); };
    for (std::size_t head = 0; head < out.size(); ++head)
      for (std::size_t i = head * inner; i < (head + 1) * inner; ++i)
        for (std::size_t j = head * inner; j < (head + 1) * inner; ++j)
          out[head] += dot(&v[(first + i) * v_long], &v[(first + j) * v_long], v_long) * dot(&o[i * o_long], &o[j * o_long], o_long);
  }

  Work& work_;
  Graph& graph_;
  std::int64_t heads_ = 0, width_ = 0, value_block_ = 2;
  std::map<std::string, Place> places_;
  std::set<std::string> nodes_;
  std::set<int> met_;                         // fused nodes
  std::set<int> takers_;                      // Split and Gather that take thirds
  std::vector<std::pair<int, Place>> joins_;  // Reshapes that join heads
  std::vector<std::string> queue_;
  std::vector<Cut> cuts_, sources_, sinks_;
  std::vector<Edit> edits_;
  std::string why_;
};

}  // namespace

Result<void> prune_heads(Work& work) {
  Graph& graph = work.graph;
  const auto parameters = [&] {
    std::uint64_t count = 0;
    for (const auto& tensor : graph.proto().initializer()) count += elements(tensor);
    return count;
  };
  const std::uint64_t before = parameters();
  std::size_t removed = 0, all = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    if (!is_onnx(node, "Softmax") && !is_fused_attention(node)) continue;
    Attention attention(work);
    if (!attention.grow(i)) {
      work.leave(node, attention.why());
      continue;
    }
    const auto heads = static_cast<std::size_t>(attention.heads());
    const auto lost = std::min(heads - 1, static_cast<std::size_t>(std::floor(work.amount * static_cast<double>(heads) + 1e-9)));
    all += heads;
    if (lost == 0) {
      work.leave(node, "the share of its " + std::to_string(heads) + " heads is less than one");
      continue;
    }
    attention.cut(lost);
    removed += lost;
    work.did(node);
    graph.refresh();
  }
  graph.remove_unused_constants();
  work.notes.push_back(with_commas(removed) + " of " + with_commas(all) + " heads are gone; " + with_commas(before) +
                       " parameters became " + with_commas(parameters()));
  return {};
}

}  // namespace mayfly::optimize
