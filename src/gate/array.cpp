#include "gate/array.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace mayfly::gate {
namespace {

using domain::Datatype;

// IEEE 754-2019, 3.6: 1 sign bit, 5 of the exponent (bias 15), 10 of the fraction.
double from_half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

std::uint16_t to_half(double value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const double size = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00);
  if (size >= 65520) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (size < std::ldexp(1, -14)) return static_cast<std::uint16_t>(sign | static_cast<int>(std::nearbyint(std::ldexp(size, 24))));
  int exponent = 0;
  const double fraction = std::frexp(size, &exponent);  // 0.5 to 1
  // A fraction that is rounded up to 2048 carries into the exponent, as it should.
  return static_cast<std::uint16_t>(sign | (((exponent + 13) << 10) + static_cast<int>(std::nearbyint(fraction * 2048))));
}

template <class T>
double read(const Array& array, std::uint64_t index) {
  T value;
  std::memcpy(&value, array.data.data() + index * sizeof value, sizeof value);
  return static_cast<double>(value);
}

template <class T>
void write(Array& array, std::uint64_t index, T value) {
  std::memcpy(array.data.data() + index * sizeof value, &value, sizeof value);
}

struct Range {
  double low, high;
  bool whole;
};

template <class T>
Range range() {
  // The highest double that an integer of 64 bits holds is below 2^63 or 2^64.
  const double high = sizeof(T) == 8 ? std::nextafter(std::ldexp(1, std::is_signed_v<T> ? 63 : 64), 0)
                                     : static_cast<double>(std::numeric_limits<T>::max());
  return {static_cast<double>(std::numeric_limits<T>::min()), high, true};
}

Range range_of(Datatype type) {
  constexpr double kAll = std::numeric_limits<double>::infinity();
  switch (type) {
    case Datatype::boolean: return {0, 1, true};
    case Datatype::uint8: return range<std::uint8_t>();
    case Datatype::uint16: return range<std::uint16_t>();
    case Datatype::uint32: return range<std::uint32_t>();
    case Datatype::uint64: return range<std::uint64_t>();
    case Datatype::int8: return range<std::int8_t>();
    case Datatype::int16: return range<std::int16_t>();
    case Datatype::int32: return range<std::int32_t>();
    case Datatype::int64: return range<std::int64_t>();
    default: return {-kAll, kAll, false};
  }
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + (shape[i] < 0 ? "?" : std::to_string(shape[i]));
  return text + "]";
}

std::uint64_t count_of(const std::vector<std::int64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::int64_t d : shape)
    if (d < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(d), &count)) return std::numeric_limits<std::uint64_t>::max();
  return count;
}

double number_at(const Array& array, std::uint64_t index) {
  switch (array.datatype) {
    case Datatype::fp32: return read<float>(array, index);
    case Datatype::fp64: return read<double>(array, index);
    case Datatype::boolean:
    case Datatype::uint8: return read<std::uint8_t>(array, index);
    case Datatype::uint16: return read<std::uint16_t>(array, index);
    case Datatype::uint32: return read<std::uint32_t>(array, index);
    case Datatype::uint64: return read<std::uint64_t>(array, index);
    case Datatype::int8: return read<std::int8_t>(array, index);
    case Datatype::int16: return read<std::int16_t>(array, index);
    case Datatype::int32: return read<std::int32_t>(array, index);
    case Datatype::int64: return read<std::int64_t>(array, index);
    case Datatype::fp16: return from_half(static_cast<std::uint16_t>(read<std::uint16_t>(array, index)));
    case Datatype::bf16: return std::bit_cast<float>(static_cast<std::uint32_t>(read<std::uint16_t>(array, index)) << 16);
    case Datatype::bytes: break;
  }
  return 0;
}

void put_number(Array& array, std::uint64_t index, double value) {
  switch (array.datatype) {
    case Datatype::fp32: return write(array, index, static_cast<float>(value));
    case Datatype::fp64: return write(array, index, value);
    case Datatype::boolean:
    case Datatype::uint8: return write(array, index, static_cast<std::uint8_t>(value));
    case Datatype::uint16: return write(array, index, static_cast<std::uint16_t>(value));
    case Datatype::uint32: return write(array, index, static_cast<std::uint32_t>(value));
    case Datatype::uint64: return write(array, index, static_cast<std::uint64_t>(value));
    case Datatype::int8: return write(array, index, static_cast<std::int8_t>(value));
    case Datatype::int16: return write(array, index, static_cast<std::int16_t>(value));
    case Datatype::int32: return write(array, index, static_cast<std::int32_t>(value));
    case Datatype::int64: return write(array, index, static_cast<std::int64_t>(value));
    case Datatype::fp16: return write(array, index, to_half(value));
    case Datatype::bf16: {
      const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
      return write(array, index, static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16));  // to the nearest, ties to even
    }
    case Datatype::bytes: return;
  }
}

Result<Array> as_type(Array array, Datatype type) {
  if (array.datatype == type) return array;
  if (array.datatype == Datatype::bytes || type == Datatype::bytes)
    return fail(Code::invalid_argument, "'" + array.name + "' holds " +
                                            std::string(array.datatype == Datatype::bytes ? "texts" : "numbers") +
                                            ", and the model's input of this name takes " + std::string(domain::name(type)));
  Array made{.name = array.name, .datatype = type, .shape = array.shape};
  const std::uint64_t count = count_of(array.shape);
  made.data.resize(count * domain::element_size(type));
  const Range range = range_of(type);
  for (std::uint64_t i = 0; i < count; ++i) {
    const double value = number_at(array, i);
    if (range.whole && !(value >= range.low && value <= range.high && value == std::trunc(value))) {
      char text[32];
      std::snprintf(text, sizeof text, "%g", value);
      return fail(Code::invalid_argument, "element " + std::to_string(i) + " of '" + array.name + "' is " + text + ", which " +
                                              std::string(domain::name(type)) + ", the type of this input, can't hold");
    }
    put_number(made, i, value);
  }
  return made;
}

}  // namespace mayfly::gate
