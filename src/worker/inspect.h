// A first look at a model file without the engine: a walk over the protobuf wire format of ONNX's
// ModelProto (onnx/onnx.proto3 of the ONNX project; field numbers from there). It reads no weights and
// copies nothing. Any bytes may come; the result is bounded.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::worker {

struct Inspection {
  std::int64_t ir_version = 0;
  std::int64_t opset = 0;                     // of the default domain; 0 where none is named
  std::set<std::string> external_data;        // paths that weights refer to, relative to the model
  std::uint64_t external_tensors = 0;         // weights that lie there, wherever in the model they are named
  bool draws_random = false;
  bool stores_bits = false;                   // values are turned back from few bits, and none into few: only weights are stored so
  bool normalises = false;                    // LayerNormalization, or a mean, which may be one's
  std::uint64_t nodes = 0;
  std::string class_names;                    // of its metadata, as gate/class_names.h reads it; at most 1 MiB, "" where there are none
};

// Error invalid_argument: not ONNX, truncated, or weights that point outside the folder.
[[nodiscard]] Result<Inspection> inspect_model(std::string_view bytes);

// `location`, as the model in `model_path` names it, as a path within the version: "nets/weights.bin".
// Error invalid_argument: it is absolute, leaves the folder, or is empty.
[[nodiscard]] Result<std::string> resolve_external(std::string_view model_path, std::string_view location);

}  // namespace mayfly::worker
