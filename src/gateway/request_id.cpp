#include "gateway/request_id.h"

#include <algorithm>

#include "base/hex.h"

namespace mayfly::gateway {
namespace {

std::uint64_t hash_of(std::string_view text, std::uint64_t hash) {  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= kRequestIdMax && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

RequestNumber request_number(std::string_view id) {
  if (const auto halves = read_uuid(id)) return {halves->first, halves->second};
  const std::uint64_t high = hash_of(id, 0xcbf29ce484222325);
  return {high, hash_of(id, high)};
}

RequestNumber make_request_number(Random& random) {
  const std::uint64_t high = random.next(), low = random.next();
  return {(high & ~std::uint64_t{0xf000}) | 0x4000, (low & ~(std::uint64_t{3} << 62)) | std::uint64_t{2} << 62};
}

}  // namespace mayfly::gateway
