// Numbers of fewer bits: which weights are fit for them, and how they are rounded. Symmetric throughout, so that no zero point is
// needed; a scale is never 0. Several steps use this.
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "optimize/detail/graph.h"

namespace mayfly::optimize {

constexpr std::uint64_t kQuantisedLeast = 4096;  // values; in smaller ones the nodes around them cost more than int8 saves

enum class Layout {
  columns,      // a matrix that is multiplied from the right: one scale for each column, as a vector
  rows_turned,  // a matrix that is transposed first (Gemm's transB): the numbers are turned, then as columns
  rows,         // a table: one scale for each row, as a matrix of one column
};

// A matrix of 2 dimensions as int8 and its scales, named NAME_int8 and NAME_int8_scale.
[[nodiscard]] std::pair<onnx::TensorProto, onnx::TensorProto> to_int8(const onnx::TensorProto& matrix, Layout layout);

// What stands for these weights, by their name, instead of the nearest numbers: as to_int8() gives them.
using Fitted = std::map<std::string, std::pair<onnx::TensorProto, onnx::TensorProto>>;

[[nodiscard]] bool all_finite(const onnx::TensorProto& tensor);
// Why the weights of a product, its input `at`, are not fit: no constant, too small, of another type or rank; nullopt: they are.
[[nodiscard]] std::optional<std::string> unfit_weights(const Graph& graph, const onnx::NodeProto& node, int at,
                                                       std::uint64_t least = kQuantisedLeast);
[[nodiscard]] Result<void> needs_opset(const Work& work, std::int64_t least, std::string_view step);

// Tables that are looked up (Gather), as 8-bit rows with a scale each, of which only what is picked is turned back.
class Tables {
 public:
  explicit Tables(Work& work) : work_(work) {}
  // False: `node` picks from no such table, or stays as it is, and then Work::left says why. Else what replaces it is in `out`.
  bool quantise(const onnx::NodeProto& node, std::vector<onnx::NodeProto>& out);

 private:
  Work& work_;
  std::map<std::string, std::pair<std::string, std::string>> made_;  // numbers and scales, by the table's name
};

[[nodiscard]] std::string with_commas(std::uint64_t number);  // 1,234,567

}  // namespace mayfly::optimize
