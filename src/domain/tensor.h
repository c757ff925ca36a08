// What a model takes and gives: names, datatypes and shapes, as the model itself says. The datatypes
// are those of the Open Inference Protocol V2.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mayfly::domain {

enum class Datatype : std::uint8_t {
  boolean, uint8, uint16, uint32, uint64, int8, int16, int32, int64, fp16, fp32, fp64, bytes, bf16,
};

// The protocol's name: "FP32", "BYTES"…
[[nodiscard]] std::string_view name(Datatype type);
[[nodiscard]] std::optional<Datatype> datatype_named(std::string_view name);
// Bytes of one element; 0 for `bytes`, whose elements carry their length.
[[nodiscard]] std::size_t element_size(Datatype type);

struct TensorSpec {
  std::string name;
  Datatype datatype{};
  std::vector<std::int64_t> shape;  // -1: any size
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

struct Signature {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  // True if the first dimension of every input and output is variable: rows of different requests may run together.
  bool batches = false;
  friend bool operator==(const Signature&, const Signature&) = default;
};

}  // namespace mayfly::domain
