#include "gate/class_names.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

namespace mayfly::gate {
namespace {

constexpr std::size_t kClassesMax = 100'000;

// Reads what stands between brackets: words in quotes of either kind, and whole numbers.
class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text) {}

  bool take(char c) {
    skip();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool ended() {
    skip();
    return text_.empty();
  }
  std::optional<std::string> word() {
    skip();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return std::nullopt;
    const char quote = text_.front();
    std::string word;
    for (std::size_t i = 1; i < text_.size(); ++i) {
      if (text_[i] == quote) {
        text_.remove_prefix(i + 1);
        return word;
      }
      if (text_[i] == '\\' && i + 1 < text_.size()) ++i;  // of the escapes those of quotes and of itself, as names have them
      word += text_[i];
    }
    return std::nullopt;
  }
  std::optional<std::uint64_t> number() {
    if (const auto quoted = word()) return parse(*quoted);
    const std::size_t end = std::min(text_.find_first_not_of("0123456789"), text_.size());
    const auto value = parse(text_.substr(0, end));
    text_.remove_prefix(end);
    return value;
  }

 private:
  static std::optional<std::uint64_t> parse(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value >= kClassesMax) return std::nullopt;
    return value;
  }
  void skip() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size())); }

  std::string_view text_;
};

std::vector<std::string> listed(Scan scan) {
  std::vector<std::string> names;
  do {
    const auto name = scan.word();
    if (!name || names.size() == kClassesMax) return {};
    names.push_back(*name);
  } while (scan.take(','));
  return scan.take(']') && scan.ended() ? names : std::vector<std::string>();
}

std::vector<std::string> mapped(Scan scan) {
  std::vector<std::optional<std::string>> by_number;
  do {
    const auto number = scan.number();
    if (!number || !scan.take(':')) return {};
    auto name = scan.word();
    if (!name) return {};
    by_number.resize(std::max<std::size_t>(by_number.size(), *number + 1));
    if (by_number[*number]) return {};
    by_number[*number] = std::move(name);
  } while (scan.take(','));
  if (!scan.take('}') || !scan.ended() || !std::ranges::all_of(by_number, &std::optional<std::string>::has_value)) return {};
  std::vector<std::string> names;
  for (auto& name : by_number) names.push_back(*std::move(name));
  return names;
}

std::vector<std::string> divided(std::string_view text, char by) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(by), text.size());
    std::string_view name = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t first = name.find_first_not_of(" \t\r");
    name = first == name.npos ? std::string_view() : name.substr(first, name.find_last_not_of(" \t\r") - first + 1);
    if (names.size() == kClassesMax) return {};
    names.emplace_back(name);
  }
  return names;
}

}  // namespace

std::vector<std::string> parse_class_names(std::string_view text) {
  Scan scan(text);
  if (scan.take('[')) return listed(scan);
  if (scan.take('{')) return mapped(scan);
  return divided(text, text.find('\n') != text.npos ? '\n' : ',');
}

}  // namespace mayfly::gate
