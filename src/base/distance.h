// How unlike two words are, for "did you mean": Levenshtein's distance, the least number of letters to change, add
// or leave out. Time and memory grow with the product and the sum of the lengths: callers bound what strangers sent.
#pragma once
#include <cstddef>
#include <string_view>

namespace mayfly {

[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace mayfly
