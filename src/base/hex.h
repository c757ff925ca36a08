// Lower-case hexadecimal digits: numbers, and a UUID (RFC 9562): two halves of 64 bits, the first digits first.
#pragma once
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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

// The two halves; nothing where the text is no UUID. Upper-case digits are taken, too.
inline std::optional<std::pair<std::uint64_t, std::uint64_t>> read_uuid(std::string_view text) {
  if (text.size() != kUuidSize) return std::nullopt;
  std::uint64_t halves[2] = {};
  int digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    unsigned digit = 0;
    if (std::from_chars(&text[i], &text[i] + 1, digit, 16).ec != std::errc()) return std::nullopt;
    std::uint64_t& half = halves[digits++ / 16];
    half = half << 4 | digit;
  }
  return std::pair{halves[0], halves[1]};
}

// Two digits a byte.
inline std::string hex_of(std::span<const unsigned char> bytes) {
  std::string text(bytes.size() * 2, '\0');
  char* at = text.data();
  for (const unsigned char byte : bytes) at = put_hex(at, byte, 2);
  return text;
}

// As artifacts are named: 64 lower-case digits.
inline bool is_sha256(std::string_view text) { return text.size() == 64 && text.find_first_not_of(kHexDigits) == text.npos; }

}  // namespace mayfly
