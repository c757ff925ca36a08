// prune: the smallest weights of each tensor become zero. What is zero is still stored and still multiplied.
#include <algorithm>
#include <cmath>

#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {

using onnx::NodeProto;
using onnx::TensorProto;

Result<void> prune(Work& work) {
  Graph& graph = work.graph;
  std::set<std::string> seen;
  std::uint64_t zeros = 0, all = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    if (!is_onnx(node, "MatMul") && !is_onnx(node, "Gemm") && !is_onnx(node, "Conv") && !is_onnx(node, "ConvTranspose")) continue;
    const TensorProto* found = node.input_size() > 1 ? graph.constant(node.input(1)) : nullptr;
    if (!found) {
      work.leave(node, "its weights are no constant");
    } else if (!is_float(*found)) {
      work.leave(node, "its weights are " + type_name(found->data_type()) + ": 'prune' goes before steps that store them in fewer bits");
    } else if (elements(*found) < kQuantisedLeast) {
      work.leave(node, "its weights are " + with_commas(elements(*found)) + " values, fewer than the 4,096 that are worth it");
    } else if (!work.kept(node)) {
      if (seen.insert(found->name()).second) {
        TensorProto& weights = *graph.mutable_constant(found->name());
        std::vector<float> numbers = values<float>(weights);
        std::vector<std::uint32_t> order(numbers.size());
        for (std::size_t k = 0; k < order.size(); ++k) order[k] = static_cast<std::uint32_t>(k);
        const auto count = static_cast<std::size_t>(std::floor(work.amount * static_cast<double>(numbers.size())));
        const auto smaller = [&](std::uint32_t a, std::uint32_t b) {
          const float x = std::isnan(numbers[a]) ? INFINITY : std::abs(numbers[a]),
                      y = std::isnan(numbers[b]) ? INFINITY : std::abs(numbers[b]);
          return x != y ? x < y : a < b;
        };
        std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), smaller);
        for (std::size_t k = 0; k < count; ++k) numbers[order[k]] = 0;
        set_values<float>(weights, numbers);
        zeros += count, all += numbers.size();
      }
      work.did(node);
    }
  }
  work.notes.push_back(with_commas(zeros) + " of " + with_commas(all) +
                       " weights are zero now; zeros are stored and multiplied like other numbers, " +
                       "so the file and its speed are as before (it packs smaller). What shrinks a model is 'prune-neurons' or int8");
  return {};
}

}  // namespace mayfly::optimize
