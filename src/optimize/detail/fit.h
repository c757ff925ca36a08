// What fitting weights to samples shares: which layers can be, and how a row of weights is rounded.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "optimize/detail/graph.h"
#include "optimize/moments.h"

namespace mayfly::optimize {

// How a layer (Conv, MatMul, Gemm) whose weights are worth 8 bits takes its input; nullopt: it is none, or not within the limits.
[[nodiscard]] std::optional<Patches> patches_of(const Graph& graph, const onnx::NodeProto& node);
[[nodiscard]] std::string key_of(const std::string& value, const Patches& patches);

// Rows of weights in whole steps of their scale, -127 to 127. Number by number is rounded, and what each rounding makes wrong in the row's
// sums is taken back by those that are not rounded yet, as well as the inputs' products let them (E. Frantar et al., "GPTQ", 2022,
// after Optimal Brain Surgeon by Hassibi and Stork, 1993). The numbers with the largest inputs come first. Products: symmetric, of the
// row's size squared. nullopt where they are no products of finite numbers.
struct RowsToRound {
  std::span<const float> weights;     // row behind row
  std::span<const float> scales;      // one for each row
  std::span<const double> products;
};
[[nodiscard]] std::optional<std::vector<std::int8_t>> round_with_feedback(const RowsToRound& rows);

}  // namespace mayfly::optimize
