// int8-dynamic: products with constant weights become 8-bit products, tables that are looked up become 8-bit tables.
//
// Weights: int8, symmetric, a scale for each column (of a table: for each row). Activations: uint8, with a range that the model
// measures while it runs (DynamicQuantizeLinear), once for all products that share one. The engine fuses each group of nodes into
// one product. Attention of com.microsoft, which holds its three projections within, becomes the engine's QAttention. The scheme is ONNX
// Runtime's quantize_dynamic with a finer scale; biases and everything else stay as they are.
#include <algorithm>
#include <array>

#include "optimize/detail/heads.h"
#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr std::array<std::string_view, 4> kAttentionAttributes{"num_heads", "unidirectional", "mask_filter_value", "scale"};

class Dynamic {
 public:
  explicit Dynamic(Work& work) : work_(work), graph_(work.graph), tables_(work) {}

  void run() {
    for (int i = 0; i < graph_.nodes(); ++i) {
      const NodeProto& node = graph_.node(i);
      const bool done = is_onnx(node, "MatMul") ? product(node)
                        : is_onnx(node, "Gemm") ? gemm(node)
                        : holds_projections(node) ? attention(node)
                                                  : is_onnx(node, "Gather") && tables_.quantise(node, out_);
      if (done) work_.did(node);
      else out_.push_back(node);
    }
    graph_.replace_nodes(std::move(out_));
    graph_.remove_unused_constants();
  }

 private:
  struct Quantised {
    std::string numbers, scale;
  };
  struct Activation {
    std::string numbers, scale, zero;
  };

  void add(std::string_view kind, const std::vector<std::string>& inputs, const std::string& output) {
    out_.push_back(make_node(kind, inputs, {output}));
  }

  bool product(const NodeProto& node) {
    const auto why = unfit_weights(graph_, node, 1);
    if (why) return leave(node, *why);
    if (work_.kept(node)) return false;
    multiply(node.input(0), quantised(node.input(1), Layout::columns), node.output(0));
    return true;
  }

  bool gemm(const NodeProto& node) {
    const auto why = unfit_weights(graph_, node, 1);
    if (why) return leave(node, *why);
    if (int_of(node, "transA", 0) != 0) return leave(node, "its first input is transposed");
    const float beta = float_of(node, "beta", 1);
    std::string bias = node.input_size() > 2 ? node.input(2) : std::string();
    if (!bias.empty() && beta != 1) {
      const TensorProto* constant = graph_.constant(bias);
      if (!constant || !is_float(*constant)) return leave(node, "its beta is not 1 and what it adds is no constant");
    }
    if (work_.kept(node)) return false;
    if (!bias.empty() && beta != 1) bias = scaled(bias, beta);
    const auto layout = int_of(node, "transB", 0) != 0 ? Layout::rows_turned : Layout::columns;
    Quantised weights = quantised(node.input(1), layout);
    const float alpha = float_of(node, "alpha", 1);
    if (alpha != 1) weights.scale = scaled(weights.scale, alpha);
    const std::string product = bias.empty() ? node.output(0) : graph_.unique(node.output(0) + "_product");
    multiply(node.input(0), weights, product);
    if (!bias.empty()) add("Add", {product, bias}, node.output(0));
    return true;
  }

  // The engine's QAttention: the three projections in 8 bits, scores and what they weigh in 32.
  bool attention(const NodeProto& node) {
    auto why = unfit_weights(graph_, node, 1);
    if (!why) why = unfit_attention(graph_, node);
    if (why) return leave(node, *why);
    if (work_.kept(node)) return false;
    const Activation& activation = activation_of(node.input(0));
    const std::int64_t columns = graph_.constant(node.input(1))->dims(1);
    const Quantised& weights = quantised(node.input(1), Layout::columns);
    const std::string bias = input_of(node, 2).empty() ? zeros(node.input(1) + "_bias", columns) : node.input(2);
    const std::string no_zero_point;
    std::vector<std::string> inputs{activation.numbers, weights.numbers, bias, activation.scale, weights.scale, input_of(node, 3),
                                    activation.zero};
    if (const std::string past = input_of(node, 4); !past.empty()) inputs.insert(inputs.end(), {no_zero_point, past});
    NodeProto made = make_node("QAttention", inputs, {node.output().begin(), node.output().end()}, "com.microsoft");
    for (const auto& one : node.attribute())
      if (std::ranges::find(kAttentionAttributes, one.name()) != kAttentionAttributes.end()) *made.add_attribute() = one;
    out_.push_back(std::move(made));
    return true;
  }

  static std::string input_of(const NodeProto& node, int at) { return node.input_size() > at ? node.input(at) : std::string(); }

  // What Attention can and QAttention can't.
  static std::optional<std::string> unfit_attention(const Graph& graph, const NodeProto& node) {
    const std::int64_t heads = int_of(node, "num_heads", 0), columns = graph.constant(node.input(1))->dims(1);
    if (heads < 1 || columns % 3 != 0 || columns / 3 % heads != 0)
      return "its weights have " + with_commas(static_cast<std::uint64_t>(columns)) + " columns, which are not three times whole heads";
    if (const auto* sizes = attribute(node, "qkv_hidden_sizes"))
      if (std::ranges::any_of(sizes->ints(), [&](std::int64_t size) { return size != columns / 3; }))
        return "its query, key and value are of different widths";
    if (!input_of(node, 5).empty()) return "it adds '" + node.input(5) + "' to its scores, which the engine's 8-bit kind can't";
    if (!input_of(node, 6).empty() || int_of(node, "past_present_share_buffer", 0) != 0)
      return "it keeps what it has seen in a buffer of its own, which the engine's 8-bit kind can't";
    if (int_of(node, "do_rotary", 0) != 0) return "it turns positions (rotary embeddings), which the engine's 8-bit kind can't";
    return std::nullopt;
  }

  bool leave(const NodeProto& node, std::string why) {
    work_.leave(node, std::move(why));
    return false;
  }

  void multiply(const std::string& data, const Quantised& weights, const std::string& output) {
    const Activation& activation = activation_of(data);
    const std::string whole = graph_.unique(output + "_int32"), real = graph_.unique(output + "_float"),
                      scale = graph_.unique(output + "_scale");
    add("MatMulInteger", {activation.numbers, weights.numbers, activation.zero}, whole);
    NodeProto cast = make_node("Cast", {whole}, {real});
    set_int(cast, "to", TensorProto::FLOAT);
    out_.push_back(std::move(cast));
    add("Mul", {activation.scale, weights.scale}, scale);
    add("Mul", {real, scale}, output);
  }

  const Activation& activation_of(const std::string& data) {
    const auto [place, is_new] = activations_.try_emplace(data);
    if (is_new) {
      place->second = {graph_.unique(data + "_uint8"), graph_.unique(data + "_uint8_scale"), graph_.unique(data + "_uint8_zero")};
      out_.push_back(make_node("DynamicQuantizeLinear", {data}, {place->second.numbers, place->second.scale, place->second.zero}));
    }
    return place->second;
  }

  const Quantised& quantised(const std::string& name, Layout layout) {
    const auto [place, is_new] = made_.try_emplace({name, layout});
    if (is_new) {
      auto [numbers, scale] = to_int8(*graph_.constant(name), layout);
      place->second = {graph_.add(std::move(numbers)), graph_.add(std::move(scale))};
    }
    return place->second;
  }

  std::string zeros(const std::string& name, std::int64_t count) {
    return graph_.add(make_tensor(name, TensorProto::FLOAT, {count}, std::vector<float>(static_cast<std::size_t>(count), 0)));
  }

  std::string scaled(const std::string& name, float factor) {
    TensorProto made = *graph_.constant(name);
    std::vector<float> numbers = values<float>(made);
    for (float& number : numbers) number *= factor;
    set_values<float>(made, numbers);
    return graph_.add(std::move(made));
  }

  Work& work_;
  Graph& graph_;
  Tables tables_;
  std::vector<NodeProto> out_;
  std::map<std::pair<std::string, Layout>, Quantised> made_;
  std::map<std::string, Activation> activations_;
};

}  // namespace

Result<void> int8_dynamic(Work& work) {
  TRY_VOID(needs_opset(work, 11, "int8-dynamic"));
  Dynamic(work).run();
  return {};
}

}  // namespace mayfly::optimize
