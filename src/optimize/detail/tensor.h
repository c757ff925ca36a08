// Constants of a model: their sizes, their numbers, and how new ones are made. Tensors that came through Model::read are whole:
// raw_data holds exactly what the shape says, so that reading them needs no further checks.
#pragma once
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "optimize/detail/proto.h"

namespace mayfly::optimize {

using Shape = std::vector<std::int64_t>;

// How many elements a shape has; nullopt where a dimension is negative or the product is beyond what a model may hold.
[[nodiscard]] std::optional<std::uint64_t> count_of(std::span<const std::int64_t> shape);
[[nodiscard]] Shape shape_of(const onnx::TensorProto& tensor);
[[nodiscard]] std::uint64_t elements(const onnx::TensorProto& tensor);  // of a whole tensor
// Bytes of `count` elements; nullopt for text and for what raw_data does not hold.
[[nodiscard]] std::optional<std::uint64_t> bytes_of(int data_type, std::uint64_t count);

// Puts the numbers into raw_data, whatever field they came in. Error invalid_argument: a shape and a size that do not fit.
[[nodiscard]] Result<void> make_whole(onnx::TensorProto& tensor);

[[nodiscard]] std::string type_name(int data_type);
[[nodiscard]] bool is_float(const onnx::TensorProto& tensor);  // 32 bits

// The elements; T must be of the tensor's type.
template <class T>
[[nodiscard]] std::vector<T> values(const onnx::TensorProto& tensor) {
  std::vector<T> out(tensor.raw_data().size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.raw_data().data(), out.size() * sizeof(T));
  return out;
}

template <class T>
void set_values(onnx::TensorProto& tensor, std::span<const T> numbers) {
  tensor.set_raw_data(numbers.data(), numbers.size_bytes());
}

template <class T>
[[nodiscard]] onnx::TensorProto make_tensor(std::string name, int data_type, const Shape& shape, const std::vector<T>& numbers) {
  onnx::TensorProto tensor;
  tensor.set_name(std::move(name));
  tensor.set_data_type(data_type);
  for (const std::int64_t size : shape) tensor.add_dims(size);
  set_values<T>(tensor, numbers);
  return tensor;
}

[[nodiscard]] std::uint16_t to_half(float value);      // IEEE 754 binary16, rounded to nearest even; too large becomes infinity
[[nodiscard]] std::uint16_t to_bfloat16(float value);  // likewise

// Of a tensor of 32-bit floats, only those entries of dimension `axis` stay, in this order.
void keep_only(onnx::TensorProto& tensor, int axis, const std::vector<std::size_t>& entries);

// The transpose of a matrix.
template <class T>
[[nodiscard]] std::vector<T> transposed(const std::vector<T>& matrix, std::size_t rows, std::size_t columns) {
  std::vector<T> out(matrix.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) out[c * rows + r] = matrix[r * columns + c];
  return out;
}

}  // namespace mayfly::optimize
