// The version of this program, as `mayfly version` and `mayfly --version` print it.
#pragma once
#include <string_view>

namespace mayfly::app {

constexpr std::string_view kVersion = "0.1.0";

}  // namespace mayfly::app
