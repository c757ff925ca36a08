// What the parts of the manifest's reader say texts with: errors with their line, quotes that fit, the nearest word.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::domain {

std::unexpected<Error> refuse(int line, const std::string& message);  // "line N: …"
[[nodiscard]] std::string in_quotes(std::string_view text);           // at most 80 bytes of it
// "; did you mean 'memory'?", or all the words that are valid.
[[nodiscard]] std::string suggestion(std::string_view wrong, std::span<const std::string_view> words);
[[nodiscard]] bool is_printable_utf8(std::string_view text);

}  // namespace mayfly::domain
