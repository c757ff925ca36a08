// Weights that lie in files of their own, used where these are mapped: not read, not copied, so that a model may be larger than its memory.
// The engine takes a value by its name instead of an initializer (AddInitializer), and then never reads that initializer's data; but it
// insists that the file which the model names is there, and a sandbox has no files. So the model is rewritten to name the current folder:
// whatever would read the weights after all (an optimisation) fails, and says so, instead of reading something else.
//
// A walk over ONNX's protobuf (onnx/onnx.proto3 of the ONNX project). Any bytes may come; nothing is trusted but what was checked here.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::worker {

struct ExternalTensor {
  std::string name;
  int type = 0;                        // TensorProto.DataType, which the engine numbers alike
  std::vector<std::int64_t> shape;
  std::string location;                // as the model names the file
  std::uint64_t offset = 0, size = 0;  // bytes; the offset is a multiple of an element's size
  bool looked_up = false;              // a table of which a run takes some rows (Gather), rather than all of it
};

struct InPlace {
  std::string model;                   // the model, in which these name the current folder
  std::vector<ExternalTensor> tensors;
};

// `external_tensors`: how many there are (worker/inspect.h). Error unimplemented: one that can't be used in place, and why: in a branch or
// an attribute, sparse, also an input, of a type without whole bytes, or out of line.
[[nodiscard]] Result<InPlace> weights_in_place(std::string_view model, std::uint64_t external_tensors);

}  // namespace mayfly::worker
