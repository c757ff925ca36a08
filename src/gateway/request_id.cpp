#include "gateway/request_id.h"

#include <charconv>
#include <cstddef>

namespace mayfly::gateway {
namespace {

std::uint64_t hash_of(std::string_view text, std::uint64_t hash) {  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// The number that a UUID writes, where it is one.
bool read_uuid(std::string_view text, RequestNumber& into) {
  if (text.size() != 36) return false;
  std::uint64_t halves[2] = {};
  int digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return false;
      continue;
    }
    unsigned digit = 0;
    if (std::from_chars(&text[i], &text[i] + 1, digit, 16).ec != std::errc()) return false;
    std::uint64_t& half = halves[digits++ / 16];
    half = half << 4 | digit;
  }
  into = {halves[0], halves[1]};
  return true;
}

}  // namespace

RequestNumber request_number(std::string_view id) {
  RequestNumber number;
  if (read_uuid(id, number)) return number;
  number.high = hash_of(id, 0xcbf29ce484222325);
  number.low = hash_of(id, number.high);
  return number;
}

}  // namespace mayfly::gateway
