// What prune-heads and the steps of 8 bits ask about attention: which nodes are it, which leave its heads where they are, which layer
// made a value, and whether a mask is the same for all heads. Only what can be proven from the graph counts; nothing runs.
#pragma once
#include <string>

#include "optimize/detail/graph.h"

namespace mayfly::optimize {

[[nodiscard]] bool is_fused_attention(const onnx::NodeProto& node);  // Attention and MultiHeadAttention of com.microsoft
[[nodiscard]] bool holds_projections(const onnx::NodeProto& node);   // the first: it multiplies by weights of its own
[[nodiscard]] bool keeps_heads(const onnx::NodeProto& node);         // of one input, element by element
[[nodiscard]] bool joins_two(const onnx::NodeProto& node);           // Add, Sub, Mul, Div

// The constant matrix of 32-bit floats on the right of a product; null: it has none.
[[nodiscard]] const onnx::TensorProto* matrix_of(const Graph& graph, const onnx::NodeProto& node);

// How many columns the layer makes that `tensor` comes from, over sums with constants and the like; 0: none is found.
[[nodiscard]] std::int64_t columns_of(const Graph& graph, std::string tensor);

// The node of that kind from which `tensor` comes over nodes that change each element for itself; -1: none.
[[nodiscard]] int behind(const Graph& graph, std::string tensor, std::string_view kind);

// A value that is joined with [batch, heads, length, length] and has no or only one entry where the heads are. False: not proven.
[[nodiscard]] bool same_for_all_heads(const Graph& graph, const std::string& tensor);

}  // namespace mayfly::optimize
