// A time as people and programs write it (RFC 3339), read; base/units.h writes it.
#pragma once
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

// Seconds with or without a fraction, "Z" or an offset: "2026-11-24T05:46:03+01:00".
[[nodiscard]] Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace mayfly
