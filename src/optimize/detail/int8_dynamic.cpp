// int8-dynamic: products with constant weights become 8-bit products, tables that are looked up become 8-bit tables.
//
// Weights: int8, symmetric, a scale for each column (of a table: for each row). Activations: uint8, with a range that the model
// measures while it runs (DynamicQuantizeLinear), once for all products that share one. The engine fuses each group of nodes into
// one product. The scheme is ONNX Runtime's quantize_dynamic with a finer scale; biases and everything else stay as they are.
#include <algorithm>

#include "optimize/detail/heads.h"
#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

class Dynamic {
 public:
  explicit Dynamic(Work& work) : work_(work), graph_(work.graph), tables_(work) {}

  void run() {
    for (int i = 0; i < graph_.nodes(); ++i) {
      const NodeProto& node = graph_.node(i);
      const bool done = is_onnx(node, "MatMul") ? product(node)
                        : is_onnx(node, "Gemm") ? gemm(node)
                                                : is_onnx(node, "Gather") && tables_.quantise(node, out_);
      if (is_fused_attention(node)) work_.leave(node, "its products are within it: export the model without fused attention");
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
