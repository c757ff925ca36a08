// What fitting weights to samples shares: which layers can be, and how a row of weights is rounded.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "optimize/detail/quantise.h"
#include "optimize/moments.h"

namespace mayfly::optimize {

// How a layer (Conv, MatMul, Gemm) takes its input; nullopt: it is none, or not within the limits.
[[nodiscard]] std::optional<Patches> patches_of(const Graph& graph, const onnx::NodeProto& node, FitLayers layers);
[[nodiscard]] std::string key_of(const std::string& value, const Patches& patches);

// Rows of weights in whole steps of their scale, -most to most. Number by number is rounded, and what each rounding makes wrong in the
// row's sums is taken back by those that are not rounded yet, as well as the inputs' products let them (E. Frantar et al., "GPTQ", 2022,
// after Optimal Brain Surgeon by Hassibi and Stork, 1993). The numbers with the largest inputs come first. Products: symmetric, of the
// row's size squared. nullopt where they are no products of finite numbers.
struct RowsToRound {
  std::span<const float> weights;     // row behind row
  std::span<const float> scales;      // one for each row
  std::span<const double> products;
  float most = 127;
};
[[nodiscard]] std::optional<std::vector<std::int8_t>> round_with_feedback(const RowsToRound& rows);

// Weights of layers that fit what was measured of their inputs, one layer after the other.
class Fit {
 public:
  struct Options {
    FitLayers layers = FitLayers::worth_storing;
    int most = 127;  // of the whole numbers
  };
  Fit(Graph& graph, const AllMoments& moments, Options options) : graph_(graph), moments_(moments), options_(options) {}
  // False: the layer can't be fitted, nothing of it is known, or its weights have other users.
  bool take(const onnx::NodeProto& node);
  [[nodiscard]] const Fitted& fitted() const { return fitted_; }
  // Of a layer that was taken, the error in the mean comes off its bias; it gets one where it has none.
  void correct_bias(onnx::NodeProto& node);

 private:
  Graph& graph_;
  const AllMoments& moments_;
  Options options_;
  Fitted fitted_;
  std::map<std::string, std::vector<float>> shifts_;  // by the layer's result
};

}  // namespace mayfly::optimize
