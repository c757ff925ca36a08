// JSON's numbers to the machine's, exactly: each function reads the text of one token and gives the nearest value of
// its type, or says why there is none. The text must be followed by a byte that is no digit (a next token sees to
// that) and by eight readable bytes. The fast way is Clinger's (a mantissa below 2^53 and a small power of ten are
// exact doubles); what does not fit goes to simdjson and then to std::from_chars.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "worker/codec_tokens.h"

namespace mayfly::worker::codec {

enum class Why : std::uint8_t { none, not_number, bad_number, range, fraction, not_bool, not_string, bad_string, syntax };

struct Decimal {
  const char* begin = nullptr;
  const char* end = nullptr;
  std::uint64_t mantissa = 0;  // all digits, the point left out; wrapped if `many`
  int exponent = 0;            // value = ±mantissa × 10^exponent
  bool negative = false;
  bool integer = true;  // written without point and exponent
  bool many = false;    // more digits than `mantissa` holds
};

constexpr bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }
constexpr bool ends_token(char c) { return is_space(c) || c == ',' || c == ']' || c == '}'; }
inline bool ends_token(const char* at) { return ends_token(*at); }

inline bool eight_digits(std::uint64_t v) {
  return ((v & 0xF0F0F0F0F0F0F0F0) | (((v + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) >> 4)) == 0x3333333333333333;
}
inline std::uint64_t of_eight_digits(std::uint64_t v) {
  v -= 0x3030303030303030;
  v = v * 10 + (v >> 8);
  constexpr std::uint64_t mask = 0x000000FF000000FF;
  return (((v & mask) * 0x000F424000000064) + (((v >> 16) & mask) * 0x0000271000000001)) >> 32 & 0xFFFFFFFF;
}

inline Why scan(const char* p, Decimal& out) {
  out.begin = p;
  out.negative = *p == '-';
  p += out.negative;
  std::uint64_t mantissa = 0;
  const char* first = p;
  while (is_digit(*p)) mantissa = mantissa * 10 + static_cast<std::uint64_t>(*p++ - '0');
  auto digits = p - first;
  if (digits == 0) return out.negative ? Why::bad_number : Why::not_number;
  if (*first == '0' && digits > 1) return Why::bad_number;
  std::int64_t exponent = 0;
  out.integer = true;
  if (*p == '.') {
    const char* point = ++p;
    for (std::uint64_t eight = 0; std::memcpy(&eight, p, 8), eight_digits(eight); p += 8)
      mantissa = mantissa * 100000000 + of_eight_digits(eight);
    while (is_digit(*p)) mantissa = mantissa * 10 + static_cast<std::uint64_t>(*p++ - '0');
    if (p == point) return Why::bad_number;
    exponent = point - p;
    digits += p - point;
    out.integer = false;
  }
  if (*p == 'e' || *p == 'E') {
    ++p;
    const bool below = *p == '-';
    if (*p == '-' || *p == '+') ++p;
    if (!is_digit(*p)) return Why::bad_number;
    std::int64_t power = 0;
    while (is_digit(*p)) power = std::min<std::int64_t>(power * 10 + (*p++ - '0'), 100000000);
    exponent += below ? -power : power;
    out.integer = false;
  }
  out.exponent = static_cast<int>(std::clamp<std::int64_t>(exponent, -1000000000, 1000000000));
  out.mantissa = mantissa;
  out.many = digits > 19;
  out.end = p;
  return Why::none;
}

constexpr std::array<double, 23> kPowersOfTen = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// False: out of range. Too small to tell from zero is zero.
bool slow_double(const Decimal& number, double& out);
bool slow_float(const Decimal& number, float& out);
// Makes `mantissa` the value of a number that is written with a point, an exponent or very many digits.
Why slow_integer(Decimal& number);

inline bool to_double(const Decimal& number, double& out) {
  if (!number.many && number.mantissa <= (std::uint64_t{1} << 53) && number.exponent >= -22 && number.exponent <= 22) {
    auto value = static_cast<double>(number.mantissa);
    if (number.exponent < 0) value /= kPowersOfTen[static_cast<std::size_t>(-number.exponent)];
    else value *= kPowersOfTen[static_cast<std::size_t>(number.exponent)];
    out = number.negative ? -value : value;
    return true;
  }
  return slow_double(number, out);
}

// The nearest double is rounded once more, which is exact unless it lies half-way between two floats or below the
// normal floats: those few are read again, as floats.
inline bool to_float(const Decimal& number, float& out) {
  double value = 0;
  if (!to_double(number, value)) return false;
  const double size = std::fabs(value);
  constexpr std::uint64_t kLow = (std::uint64_t{1} << 29) - 1;
  if ((std::bit_cast<std::uint64_t>(value) & kLow) == (std::uint64_t{1} << 28) ||
      (size < static_cast<double>(std::numeric_limits<float>::min()) && number.mantissa != 0)) [[unlikely]]
    return slow_float(number, out);
  if (size > static_cast<double>(std::numeric_limits<float>::max()) + 0x1p102) return false;
  out = static_cast<float>(value);
  return std::isfinite(out);
}

template <class T>
Why read_integer(const char* p, const char*& end, T& out) {
  Decimal number;
  if (const Why why = scan(p, number); why != Why::none) return why;
  if (!number.integer || number.many) [[unlikely]]
    if (const Why why = slow_integer(number); why != Why::none) return why;
  end = number.end;
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
  if constexpr (std::is_signed_v<T>) {
    if (number.mantissa > kMax + number.negative) return Why::range;
    out = static_cast<T>(number.negative ? 0 - number.mantissa : number.mantissa);
  } else {
    if (number.mantissa > kMax || (number.negative && number.mantissa != 0)) return Why::range;
    out = static_cast<T>(number.mantissa);
  }
  return Why::none;
}

inline bool read_literal(const char* p, const char*& end, bool& out) {
  if (std::memcmp(p, "true", 4) == 0) end = p + 4, out = true;
  else if (std::memcmp(p, "false", 5) == 0) end = p + 5, out = false;
  else return false;
  return ends_token(end);
}

// The nearest value of a small float with this many bits; false where it would be infinite. From a double, so that it
// is rounded once (worker/detail/half.h begins with a float).
bool to_small_float(double value, int exponent_bits, int mantissa_bits, std::uint16_t& out);

}  // namespace mayfly::worker::codec
