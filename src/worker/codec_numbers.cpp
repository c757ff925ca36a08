#include "worker/codec_numbers.h"

#include <simdjson.h>

#include <charconv>

namespace mayfly::worker::codec {
namespace {

// Libraries differ in what they say of a number too small for its type; this one is zero then.
template <class T>
bool from_text(const Decimal& number, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(number.begin, number.end, value);
  if (error == std::errc::result_out_of_range) {
    // Digits before and behind the point count as many places, so the sign of what remains decides.
    const bool small = static_cast<std::int64_t>(number.exponent) + (number.end - number.begin) <= 0;
    if (!small) return false;
    value = 0;
  }
  if (!std::isfinite(value)) return false;
  out = number.negative ? -std::fabs(value) : value;
  return true;
}

}  // namespace

bool slow_double(const Decimal& number, double& out) {
  if (!number.many && number.mantissa == 0) {
    out = number.negative ? -0.0 : 0.0;
    return true;
  }
  if (!number.many && number.exponent >= -307 && number.exponent <= 288 &&
      simdjson::builtin::numberparsing::compute_float_64(number.exponent, number.mantissa, number.negative, out))
    return true;
  return from_text(number, out);
}

bool slow_float(const Decimal& number, float& out) { return from_text(number, out); }

Why slow_integer(Decimal& number) {
  if (number.many) {
    if (!number.integer) return Why::fraction;
    const char* digits = number.begin + number.negative;
    const auto [end, error] = std::from_chars(digits, number.end, number.mantissa);
    return error == std::errc() ? Why::none : Why::range;
  }
  if (number.mantissa == 0) return Why::none;
  for (; number.exponent > 0; --number.exponent)
    if (__builtin_mul_overflow(number.mantissa, 10, &number.mantissa)) return Why::range;
  for (; number.exponent < 0; ++number.exponent) {
    if (number.mantissa % 10 != 0) return Why::fraction;
    number.mantissa /= 10;
  }
  return Why::none;
}

bool to_small_float(double value, int exponent_bits, int mantissa_bits, std::uint16_t& out) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const auto sign = static_cast<std::uint64_t>(bits >> 63) << 15;
  const int exponent = static_cast<int>(bits >> 52 & 0x7FF) - 1023;
  if (value == 0 || exponent < -200) {
    out = static_cast<std::uint16_t>(sign);
    return true;
  }
  if (exponent > bias) return false;
  const std::uint64_t mantissa = bits & ((std::uint64_t{1} << 52) - 1);
  const bool normal = exponent > -bias;
  const std::uint64_t whole = normal ? static_cast<std::uint64_t>(exponent + bias) << 52 | mantissa : std::uint64_t{1} << 52 | mantissa;
  const int shift = 52 - mantissa_bits + (normal ? 0 : 1 - bias - exponent);
  std::uint64_t kept = 0;
  if (shift < 64) {
    kept = whole >> shift;
    const std::uint64_t rest = whole & ((std::uint64_t{1} << shift) - 1);
    const std::uint64_t half = std::uint64_t{1} << (shift - 1);
    if (rest > half || (rest == half && (kept & 1))) ++kept;
  }
  if (kept >= (((std::uint64_t{1} << exponent_bits) - 1) << mantissa_bits)) return false;
  out = static_cast<std::uint16_t>(sign | kept);
  return true;
}

}  // namespace mayfly::worker::codec
