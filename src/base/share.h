// A share of a whole as it is typed: "10%" or "0.1". What it may be is for who asks to say.
#pragma once
#include <optional>
#include <string_view>

namespace mayfly {

// Nothing where it is no number.
[[nodiscard]] std::optional<double> read_share(std::string_view text);

}  // namespace mayfly
