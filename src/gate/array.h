// A dense array with a name, as sample sets hold them and models give them: numbers row-major and little-endian, or texts.
// A value; knows neither files nor the engine. Elements are read as doubles, which is exact up to 2^53.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"

namespace mayfly::gate {

struct Array {
  std::string name;
  domain::Datatype datatype = domain::Datatype::fp32;
  std::vector<std::int64_t> shape;   // complete: no -1
  std::vector<std::byte> data;       // empty for Datatype::bytes
  std::vector<std::string> strings;  // the elements of Datatype::bytes
  friend bool operator==(const Array&, const Array&) = default;
};

[[nodiscard]] std::string shape_text(const std::vector<std::int64_t>& shape);  // "[?,3,224]"
[[nodiscard]] std::uint64_t count_of(const std::vector<std::int64_t>& shape);  // of elements; saturates
[[nodiscard]] double number_at(const Array& array, std::uint64_t index);       // not of texts
void put_number(Array& array, std::uint64_t index, double value);

// As another type of numbers. Error: a value that it can't hold (300 as UINT8, 0.5 as INT64), or texts.
[[nodiscard]] Result<Array> as_type(Array array, domain::Datatype type);

}  // namespace mayfly::gate
