#include <cstdint>
#include <string_view>

#include "worker/external_data.h"
#include "worker/inspect.h"

// Any bytes: an inspection or an error, never more; and what it names as external data lies within the folder.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto inspection = mayfly::worker::inspect_model({reinterpret_cast<const char*>(data), size});
  if (inspection) {
    // What is said of weights that lie outside stays within bounds, and the model that names the folder is a model with as many of them.
    const auto in_place = mayfly::worker::weights_in_place({reinterpret_cast<const char*>(data), size}, inspection->external_tensors);
    if (in_place) {
      for (const auto& tensor : in_place->tensors)
        if (tensor.name.empty() || tensor.size == 0 || tensor.shape.size() > size) __builtin_trap();
      const auto again = mayfly::worker::inspect_model(in_place->model);
      if (!again || again->external_tensors != inspection->external_tensors || again->nodes != inspection->nodes) __builtin_trap();
    }
  }
  if (inspection)
    for (const std::string& location : inspection->external_data) {
      const auto path = mayfly::worker::resolve_external("folder/model.onnx", location);
      if (!path || !path->starts_with("folder/") || path->find("..") == 0) __builtin_trap();
    }
  return 0;
}

// A model of one node (ir_version 8, Add, opset 13), and one whose weights are in the file "wb".
extern "C" const char* const* mayfly_fuzz_seeds() {
  static const char* const kSeeds[] = {"\x08\x08\x3a\x10\x0a\x0e\x0a\x01" "a\x0a\x01" "b\x12\x01" "c\x22\x03" "Add\x42\x02\x10\x0d",
                                       "\x08\x08\x3a\x16\x2a\x14\x6a\x10\x0a\x08location\x12\x04" "w/.b\x70\x01",
                                       "\x08\x08\x3a\x1d\x2a\x1b\x08\x02\x10\x01\x42\x01w\x6a\x10\x0a\x08location\x12\x04" "w/.b\x70\x01",
                                       nullptr};
  return kSeeds;
}
