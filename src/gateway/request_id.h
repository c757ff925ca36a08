// What a caller names a call by (X-Request-Id), as the number that the node keeps: a UUID's own, else a hash of the text. Whoever asks for
// a call's lines by its name finds it by the same number.
#pragma once
#include <cstdint>
#include <string_view>

namespace mayfly::gateway {

struct RequestNumber {
  std::uint64_t high = 0, low = 0;
};
[[nodiscard]] RequestNumber request_number(std::string_view id);

}  // namespace mayfly::gateway
