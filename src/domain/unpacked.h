// How much an archive may hold: by its own size, so that none fills the disk. Of a container's image it is what all its layers hold
// together.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/units.h"

namespace mayfly::domain {

constexpr std::uint64_t kUnpackedLeast = 1ULL << 30, kUnpackedFactor = 100;

[[nodiscard]] constexpr Bytes unpacked_max(Bytes archives) { return {std::max(kUnpackedLeast, kUnpackedFactor * archives.count)}; }

}  // namespace mayfly::domain
