#include "domain/detail/text.h"

#include <algorithm>
#include <cstdint>

#include "base/distance.h"

namespace mayfly::domain {

std::unexpected<Error> refuse(int line, const std::string& message) {
  return fail(Code::invalid_argument, "line " + std::to_string(line) + ": " + message);
}

std::string in_quotes(std::string_view text) {
  std::size_t end = std::min<std::size_t>(text.size(), 80);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a character
  return "'" + std::string(text.substr(0, end)) + (end < text.size() ? "…" : "") + "'";
}

std::string suggestion(std::string_view wrong, std::span<const std::string_view> words) {
  if (wrong.size() <= 40) {
    const auto near = std::ranges::min_element(words, {}, [&](std::string_view word) { return edit_distance(wrong, word); });
    if (near != words.end() && edit_distance(wrong, *near) <= std::max<std::size_t>(1, near->size() / 3))
      return "; did you mean '" + std::string(*near) + "'?";
  }
  std::string all;
  for (const std::string_view word : words) all.append(all.empty() ? "" : ", ").append(word);
  return "; valid: " + all;
}

bool is_printable_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
    if (more > 3 || c < 0x20 || c == 0x7f || i + more >= text.size()) return false;
    std::uint32_t point = more == 0 ? c : c & (0x3fU >> more);
    for (std::size_t j = 1; j <= more; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3fU);
    }
    if ((more == 2 && point < 0x800) || (more == 3 && point < 0x10000) || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
      return false;
    if ((point >= 0x80 && point < 0xa0) || point == 0x2028 || point == 0x2029 || point == 0xfeff)
      return false;  // line breaks and marks of YAML
    i += more + 1;
  }
  return true;
}

}  // namespace mayfly::domain
