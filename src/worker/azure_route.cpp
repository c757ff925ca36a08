#include "worker/azure_route.h"

#include <algorithm>
#include <charconv>

#include "base/http.h"

namespace mayfly::worker {
namespace {

std::vector<std::string_view> parts_of(std::string_view text, char between) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(between), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

template <typename Number>
bool is_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_guid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::string_view("0123456789abcdefABCDEF").find(text[i]) == std::string_view::npos) return false;
  }
  return true;
}

bool meets(std::string_view value, std::string_view constraint) {
  if (same_word(constraint, "int")) return is_number<std::int32_t>(value);
  if (same_word(constraint, "long")) return is_number<std::int64_t>(value);
  for (const char* number : {"double", "float", "decimal"})
    if (same_word(constraint, number)) return is_number<double>(value);
  if (same_word(constraint, "bool")) return same_word(value, "true") || same_word(value, "false");
  if (same_word(constraint, "alpha")) return std::ranges::all_of(value, is_letter);
  if (same_word(constraint, "guid")) return is_guid(value);
  return true;
}

std::string decoded(std::string_view text) { return percent_decoded(text).value_or(std::string(text)); }

}  // namespace

AzureRoute::Segment AzureRoute::segment_of(std::string_view text) {
  Segment segment;
  if (!text.starts_with('{') || !text.ends_with('}')) {
    segment.text = text;
    return segment;
  }
  segment.parameter = true;
  text = text.substr(1, text.size() - 2);
  while (text.starts_with('*')) {
    segment.rest = segment.optional = true;
    text.remove_prefix(1);
  }
  if (text.ends_with('?')) {
    segment.optional = true;
    text.remove_suffix(1);
  }
  if (const std::size_t equals = text.find('='); equals != text.npos) {
    segment.optional = true;
    segment.otherwise = text.substr(equals + 1);
    text = text.substr(0, equals);
  }
  const std::size_t colon = std::min(text.find(':'), text.size());
  segment.text = text.substr(0, colon);
  for (const std::string_view constraint : parts_of(text.substr(colon), ':')) segment.constraints.emplace_back(constraint);
  return segment;
}

AzureRoute::AzureRoute(std::string_view text) {
  for (const std::string_view part : parts_of(text, '/')) {
    text_.append("/").append(part);
    segments_.push_back(segment_of(part));
  }
  if (text_.empty()) text_ = "/";
}

bool AzureRoute::matches(std::string_view path, Parameters& parameters) const {
  const auto parts = parts_of(path, '/');
  std::size_t at = 0;
  for (const Segment& segment : segments_) {
    if (!segment.parameter) {
      if (at == parts.size() || !same_word(segment.text, decoded(parts[at++]))) return false;
      continue;
    }
    if (at == parts.size()) {
      if (!segment.optional) return false;
      if (!segment.otherwise.empty()) parameters.emplace_back(segment.text, segment.otherwise);
      continue;
    }
    std::string value = decoded(parts[at++]);
    for (; segment.rest && at < parts.size(); ++at) value.append("/").append(decoded(parts[at]));
    if (!std::ranges::all_of(segment.constraints, [&](const std::string& constraint) { return meets(value, constraint); })) return false;
    parameters.emplace_back(segment.text, std::move(value));
  }
  return at == parts.size();
}

int AzureRoute::literals() const { return static_cast<int>(std::ranges::count(segments_, false, &Segment::parameter)); }

}  // namespace mayfly::worker
