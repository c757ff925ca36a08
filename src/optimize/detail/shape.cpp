// shape:NAME=N: a dimension that callers choose becomes a fixed one, so that the engine can plan for it.
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

struct Seen {
  int fixed = 0;
  std::set<std::string> others;  // names of free dimensions of inputs
};

void fix(onnx::ValueInfoProto& value, std::string_view name, std::int64_t size, bool input, Seen& seen) {
  if (!value.type().has_tensor_type() || !value.type().tensor_type().has_shape()) return;
  for (auto& dimension : *value.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim()) {
    if (!dimension.has_dim_param()) continue;
    if (dimension.dim_param() == name) dimension.set_dim_value(size), seen.fixed += input;
    else if (input && !dimension.dim_param().empty()) seen.others.insert(dimension.dim_param());
  }
}

}  // namespace

Result<void> specialise(Work& work, std::string_view dimension) {
  const auto size = static_cast<std::int64_t>(work.amount);
  onnx::GraphProto& graph = work.graph.proto();
  Seen seen;
  for (auto& input : *graph.mutable_input()) fix(input, dimension, size, true, seen);
  if (seen.fixed == 0) {
    std::string names;
    for (const std::string& name : seen.others) names += (names.empty() ? "'" : ", '") + name.substr(0, 50) + "'";
    return fail(Code::invalid_argument, "no input of the model has a free dimension '" + std::string(dimension.substr(0, 100)) +
                                            "'; there " + (names.empty() ? "is none" : "are " + names.substr(0, 500)));
  }
  for (auto& output : *graph.mutable_output()) fix(output, dimension, size, false, seen);
  for (auto& value : *graph.mutable_value_info()) fix(value, dimension, size, false, seen);
  work.changed = seen.fixed;
  work.done.push_back("dimension '" + std::string(dimension) + "'");
  return {};
}

}  // namespace mayfly::optimize
