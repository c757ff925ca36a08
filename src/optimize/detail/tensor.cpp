#include "optimize/detail/tensor.h"

#include <bit>
#include <cmath>

namespace mayfly::optimize {
namespace {

using onnx::TensorProto;

template <class T, class Field>
std::string packed(const Field& field) {
  std::string out(static_cast<std::size_t>(field.size()) * sizeof(T), '\0');
  for (int i = 0; i < field.size(); ++i) {
    const T value = static_cast<T>(field.Get(i));
    std::memcpy(out.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  return out;
}

// What typed fields hold, as raw_data has it.
std::string bytes_of_fields(const TensorProto& tensor) {
  switch (tensor.data_type()) {
    case TensorProto::FLOAT: case TensorProto::COMPLEX64: return packed<float>(tensor.float_data());
    case TensorProto::DOUBLE: case TensorProto::COMPLEX128: return packed<double>(tensor.double_data());
    case TensorProto::INT64: return packed<std::int64_t>(tensor.int64_data());
    case TensorProto::UINT64: return packed<std::uint64_t>(tensor.uint64_data());
    case TensorProto::UINT32: return packed<std::uint32_t>(tensor.uint64_data());
    case TensorProto::INT32: return packed<std::int32_t>(tensor.int32_data());
    case TensorProto::INT16: case TensorProto::UINT16: case TensorProto::FLOAT16: case TensorProto::BFLOAT16:
      return packed<std::uint16_t>(tensor.int32_data());
    default: return packed<std::uint8_t>(tensor.int32_data());
  }
}

std::string text_of(std::span<const std::int64_t> shape) {
  std::string out;
  for (const std::int64_t size : shape.first(std::min<std::size_t>(shape.size(), 8)))
    out += (out.empty() ? "" : "x") + std::to_string(size);
  return out.empty() ? "one value" : out;
}

}  // namespace

std::optional<std::uint64_t> count_of(std::span<const std::int64_t> shape) {
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) { empty = true; continue; }
    const auto factor = static_cast<std::uint64_t>(size);
    if (factor > kModelBytesMax || count > kModelBytesMax / factor) return std::nullopt;
    count *= factor;
  }
  return empty ? 0 : count;
}

Shape shape_of(const TensorProto& tensor) { return {tensor.dims().begin(), tensor.dims().end()}; }

std::uint64_t elements(const TensorProto& tensor) { return count_of(shape_of(tensor)).value_or(0); }

std::optional<std::uint64_t> bytes_of(int data_type, std::uint64_t count) {
  switch (data_type) {
    case TensorProto::DOUBLE: case TensorProto::INT64: case TensorProto::UINT64: case TensorProto::COMPLEX64: return count * 8;
    case TensorProto::FLOAT: case TensorProto::INT32: case TensorProto::UINT32: return count * 4;
    case TensorProto::FLOAT16: case TensorProto::BFLOAT16: case TensorProto::INT16: case TensorProto::UINT16: return count * 2;
    case TensorProto::INT8: case TensorProto::UINT8: case TensorProto::BOOL: case TensorProto::FLOAT8E4M3FN:
    case TensorProto::FLOAT8E4M3FNUZ: case TensorProto::FLOAT8E5M2: case TensorProto::FLOAT8E5M2FNUZ: return count;
    case TensorProto::INT4: case TensorProto::UINT4: return (count + 1) / 2;
    case TensorProto::COMPLEX128: return count * 16;
    default: return std::nullopt;
  }
}

Result<void> make_whole(TensorProto& tensor) {
  const Shape shape = shape_of(tensor);
  const std::string what = "the constant '" + tensor.name().substr(0, 100) + "'";
  const auto count = count_of(shape);
  if (!count)
    return fail(Code::invalid_argument, what + " has the shape " + text_of(shape) + ", which no tensor can have: the model is damaged");
  if (tensor.data_type() == TensorProto::STRING) {
    if (static_cast<std::uint64_t>(tensor.string_data_size()) == *count) return {};
    return fail(Code::invalid_argument, what + " has " + std::to_string(tensor.string_data_size()) + " texts for the shape " +
                                            text_of(shape) + ": the model is damaged");
  }
  const auto bytes = bytes_of(tensor.data_type(), *count);
  if (!bytes) {  // a type that is newer than this list: carried along, never changed
    if (TensorProto::DataType_IsValid(tensor.data_type()) && tensor.data_type() != TensorProto::UNDEFINED) return {};
    return fail(Code::invalid_argument, what + " has the type " + std::to_string(tensor.data_type()) + ", which ONNX does not know");
  }
  if (!tensor.has_raw_data()) {
    tensor.set_raw_data(bytes_of_fields(tensor));
    tensor.clear_float_data();
    tensor.clear_double_data();
    tensor.clear_int32_data();
    tensor.clear_int64_data();
    tensor.clear_uint64_data();
  }
  if (tensor.raw_data().size() == *bytes) return {};
  return fail(Code::invalid_argument, what + " has " + std::to_string(tensor.raw_data().size()) + " bytes, its shape " + text_of(shape) +
                                          " of " + type_name(tensor.data_type()) + " needs " + std::to_string(*bytes) +
                                          ": the model is damaged");
}

std::string type_name(int data_type) {
  return TensorProto::DataType_IsValid(data_type) ? std::string(TensorProto::DataType_Name(static_cast<TensorProto::DataType>(data_type)))
                                                  : "type " + std::to_string(data_type);
}

bool is_float(const TensorProto& tensor) { return tensor.data_type() == TensorProto::FLOAT; }

std::uint16_t to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);  // rounds to more than 65504
  if (magnitude < 0x38800000) {  // below the least normal half, 2^-14: in steps of 2^-24
    const float steps = std::bit_cast<float>(magnitude) * 16777216.0f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(steps)));
  }
  const std::uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void keep_only(onnx::TensorProto& tensor, int axis, const std::vector<std::size_t>& entries) {
  const auto size = static_cast<std::size_t>(tensor.dims(axis));
  std::size_t inner = sizeof(float);
  for (int i = axis + 1; i < tensor.dims_size(); ++i) inner *= static_cast<std::size_t>(tensor.dims(i));
  const std::string& from = tensor.raw_data();
  std::string to;
  for (std::size_t at = 0; at + size * inner <= from.size() && size * inner > 0; at += size * inner)
    for (const std::size_t entry : entries) to.append(from, at + entry * inner, inner);
  tensor.set_dims(axis, static_cast<std::int64_t>(entries.size()));
  tensor.set_raw_data(std::move(to));
}

}  // namespace mayfly::optimize
