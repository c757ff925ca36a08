#include <cstdint>
#include <string_view>

#include "worker/inspect.h"

// Any bytes: an inspection or an error, never more; and what it names as external data lies within the folder.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto inspection = mayfly::worker::inspect_model({reinterpret_cast<const char*>(data), size});
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
                                       "\x08\x08\x3a\x16\x2a\x14\x6a\x10\x0a\x08location\x12\x04" "w/.b\x70\x01", nullptr};
  return kSeeds;
}
