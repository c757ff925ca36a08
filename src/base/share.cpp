#include "base/share.h"

#include <charconv>

namespace mayfly {

std::optional<double> read_share(std::string_view text) {
  const bool hundredths = text.ends_with('%');
  double value = 0;
  const char* end = text.data() + text.size() - (hundredths ? 1 : 0);
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return hundredths ? value / 100 : value;
}

}  // namespace mayfly
