// A time as HTTP writes it in Date and Last-Modified (RFC 9110, 5.6.7): "Tue, 24 Nov 2026 05:46:03 GMT". Of no locale.
#pragma once
#include <string>

#include "base/time.h"

namespace mayfly {

[[nodiscard]] std::string http_date(WallTime time);

}  // namespace mayfly
