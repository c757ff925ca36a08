// What a caller names a call by (X-Request-Id), as the number that the node keeps: a UUID's own, else a hash of the text. Whoever asks for
// a call's lines by its name finds it by the same number.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/random.h"

namespace mayfly::gateway {

constexpr std::size_t kRequestIdMax = 128;

// Whether a caller may name a call so: visible ASCII, kRequestIdMax characters at most.
[[nodiscard]] bool is_request_id(std::string_view text);

struct RequestNumber {
  std::uint64_t high = 0, low = 0;
};
[[nodiscard]] RequestNumber request_number(std::string_view id);
[[nodiscard]] RequestNumber make_request_number(Random& random);  // a UUID of version 4

}  // namespace mayfly::gateway
