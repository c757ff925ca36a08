// Sizes and durations as people write them: "512MiB", "1.5GB", "250ms", "5m". Parsing says what was
// wrong and what would be right; printing picks the unit a person would.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

struct Bytes {
  std::uint64_t count = 0;
  friend constexpr auto operator<=>(Bytes, Bytes) = default;
};
constexpr Bytes operator""_KiB(unsigned long long n) { return {n << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return {n << 20}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return {n << 30}; }

// A number with one of B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024).
[[nodiscard]] Result<Bytes> parse_bytes(std::string_view text);
// A number with one of ns, us, ms, s, m, h, d.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

[[nodiscard]] std::string to_text(Bytes bytes);        // "90.4 MB"
[[nodiscard]] std::string to_text(Duration duration);  // "12.3 ms"
[[nodiscard]] std::string rfc3339(WallTime time);      // "2026-11-24T05:46:03.120Z"

}  // namespace mayfly
