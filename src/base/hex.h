// Numbers as lower-case hexadecimal digits, and as a UUID (RFC 9562): two halves of 64 bits, the first digits first.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace mayfly {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::size_t kUuidSize = 36;

// The low `digits` of it; returns where the next character goes.
inline char* put_hex(char* at, std::uint64_t value, int digits) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) *at++ = kHexDigits[value >> shift & 15];
  return at;
}

// kUuidSize characters.
inline void put_uuid(char* at, std::uint64_t high, std::uint64_t low) {
  at = put_hex(at, high >> 32, 8);
  *at++ = '-';
  at = put_hex(at, high >> 16, 4);
  *at++ = '-';
  at = put_hex(at, high, 4);
  *at++ = '-';
  at = put_hex(at, low >> 48, 4);
  *at++ = '-';
  put_hex(at, low, 12);
}

// 32 digits.
inline std::string hex_text(std::uint64_t high, std::uint64_t low) {
  std::string text(32, '\0');
  put_hex(put_hex(text.data(), high, 16), low, 16);
  return text;
}

inline std::string uuid_text(std::uint64_t high, std::uint64_t low) {
  std::string text(kUuidSize, '\0');
  put_uuid(text.data(), high, low);
  return text;
}

}  // namespace mayfly
