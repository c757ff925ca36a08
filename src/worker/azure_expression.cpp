#include "worker/azure_expression.h"

#include <algorithm>
#include <ctime>

#include "base/hex.h"
#include "base/http.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

// A text in pieces: plain ones, and what stands in braces.
struct Piece {
  std::string text;
  bool expression = false;
};

Result<std::vector<Piece>> pieces_of(std::string_view text) {
  std::vector<Piece> pieces{{}};
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool twice = at + 1 < text.size() && text[at + 1] == c;
    if ((c == '{' || c == '}') && twice) {
      pieces.back().text += c;
      ++at;
    } else if (c == '{') {
      const std::size_t end = text.find_first_of("{}", at + 1);
      if (end == text.npos || text[end] != '}') return wrong("'" + std::string(text) + "' has a '{' without its '}'");
      const std::string_view inside = text.substr(at + 1, end - at - 1);
      if (inside.empty()) return wrong("'" + std::string(text) + "' has nothing between '{' and '}'");
      pieces.push_back({.text = std::string(inside), .expression = true});
      pieces.push_back({});
      at = end;
    } else if (c == '}') {
      return wrong("'" + std::string(text) + "' has a '}' without its '{'");
    } else {
      pieces.back().text += c;
    }
  }
  return pieces;
}

const Json* member(const Json& json, std::string_view name) {
  if (!json.is_object()) return nullptr;
  for (auto at = json.begin(); at != json.end(); ++at)
    if (same_word(at.key(), name)) return &*at;
  return nullptr;
}

std::string padded(int value, std::size_t digits) {
  std::string text = std::to_string(value);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

constexpr std::string_view kMonths[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                                        "November", "December"};
constexpr std::string_view kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

// `count` letters of one kind, in .NET's own formats; "" where it is none of them.
std::string time_part(char letter, std::size_t count, const std::tm& time, int microseconds) {
  const auto number = [&](int value) { return padded(value, std::min<std::size_t>(count, 2)); };
  const auto named = [&](std::string_view name) { return std::string(count == 3 ? name.substr(0, 3) : name); };
  switch (letter) {
    case 'y': return count <= 2 ? number(time.tm_year % 100) : padded(time.tm_year + 1900, count);
    case 'M': return count > 2 ? named(kMonths[time.tm_mon]) : number(time.tm_mon + 1);
    case 'd': return count > 2 ? named(kDays[time.tm_wday]) : number(time.tm_mday);
    case 'H': return number(time.tm_hour);
    case 'h': return number((time.tm_hour + 11) % 12 + 1);
    case 'm': return number(time.tm_min);
    case 's': return number(time.tm_sec);
    case 't': return std::string(time.tm_hour < 12 ? "AM" : "PM").substr(0, count);
    case 'f': return padded(microseconds, 6).append(7, '0').substr(0, std::min<std::size_t>(count, 7));
    case 'K': return std::string(count, 'Z');
    case 'z': return count > 2 ? "+00:00" : "+" + padded(0, count);
    default: return {};
  }
}

Result<std::string> formatted(WallTime when, std::string_view format) {
  if (format.size() == 1) return wrong("the format '" + std::string(format) + "' of a time is not there: write it out, as in yyyy-MM-dd");
  const std::time_t seconds = when.since_epoch.count() / 1'000'000;
  std::tm time{};
  ::gmtime_r(&seconds, &time);
  const int microseconds = static_cast<int>(when.since_epoch.count() % 1'000'000);
  std::string out;
  for (std::size_t at = 0; at < format.size() && out.size() <= kFilledMax;) {
    const char c = format[at];
    if (c == '\'' || c == '"') {
      const std::size_t end = std::min(format.find(c, at + 1), format.size());
      out += format.substr(at + 1, end - at - 1);
      at = end + 1;
      continue;
    }
    if (c == '\\' && at + 1 < format.size()) {
      out += format[at + 1];
      at += 2;
      continue;
    }
    const std::size_t count = std::min(format.find_first_not_of(c, at), format.size()) - at;
    const std::string part = time_part(c, std::min<std::size_t>(count, 8), time, microseconds);
    out += part.empty() ? std::string(count, c) : part;
    at += count;
  }
  return out;
}

Result<std::string> new_guid(Random& random, std::string_view format) {
  // Version 4, RFC 9562: random bits but for six.
  const std::uint64_t high = (random.next() & ~std::uint64_t{0xf000}) | 0x4000, low = random.next() >> 2 | std::uint64_t{1} << 63;
  const std::string text = uuid_text(high, low);
  if (format.empty() || same_word(format, "D")) return text;
  if (same_word(format, "N")) return hex_text(high, low);
  if (same_word(format, "B")) return "{" + text + "}";
  if (same_word(format, "P")) return "(" + text + ")";
  return wrong("the format '" + std::string(format) + "' of a GUID is not there: there are N, D, B and P");
}

Result<std::string> text_of(const Json& value, const std::string& expression) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return std::string(value.get<bool>() ? "True" : "False");  // as .NET writes them
  if (value.is_number()) return value.dump();
  return wrong("{" + expression + "} is no text and no number in the trigger's data");
}

// What is there without any trigger; nothing where it is not one of them.
std::optional<Result<std::string>> built_in(std::string_view expression, AzureMoment& moment) {
  const std::size_t colon = std::min(expression.find(':'), expression.size());
  const std::string_view name = expression.substr(0, colon), format = expression.substr(std::min(colon + 1, expression.size()));
  constexpr std::string_view kTime = "yyyy-MM-ddTHH-mm-ssK";  // which a file's name may have
  if (same_word(name, "rand-guid") || same_word(name, "sys.randguid")) return new_guid(moment.random, format);
  if (same_word(name, "datetime") || same_word(name, "sys.utcnow")) return formatted(moment.now, format.empty() ? kTime : format);
  if (same_word(name, "sys.methodname")) return moment.function;
  return std::nullopt;
}

Result<std::string> value_of(const std::string& expression, const Json& data, AzureMoment& moment) {
  std::string_view path = std::string_view(expression).substr(0, expression.find(':'));
  const Json* at = &data;
  while (at) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    at = member(*at, path.substr(0, dot));
    if (dot == path.size()) break;
    path.remove_prefix(dot + 1);
  }
  if (at) return text_of(*at, expression);
  if (auto there = built_in(expression, moment)) return *std::move(there);
  std::string names;
  for (auto each = data.begin(); each != data.end() && names.size() < 200; ++each) names += (names.empty() ? "" : ", ") + each.key();
  return wrong("{" + expression + "} has no value in this trigger's data, which has " + (names.empty() ? "none" : names));
}

}  // namespace

Result<std::string> fill_settings(std::string_view text, const AzureSettings& settings) {
  std::string out;
  while (!text.empty()) {
    const std::size_t begin = std::min(text.find('%'), text.size());
    out += text.substr(0, begin);
    text.remove_prefix(begin);
    const std::size_t end = text.empty() ? text.npos : text.find('%', 1);
    if (end == text.npos) {
      out += text;
      break;
    }
    const std::string_view name = text.substr(1, end - 1);
    const auto found = settings.find(name);
    if (found == settings.end())
      return wrong("%" + std::string(name) + "% is no setting of this function: add it to the manifest's environment");
    out += found->second;
    text.remove_prefix(end + 1);
  }
  if (out.size() > kFilledMax) return wrong("with its settings a binding's text has more than 4 KiB");
  return out;
}

Result<std::string> fill_expressions(std::string_view text, const Json& data, AzureMoment& moment) {
  if (text.size() > kFilledMax) return wrong("a binding's text has more than 4 KiB");
  TRY(const std::vector<Piece> pieces, pieces_of(text));
  std::string out;
  for (const Piece& piece : pieces) {
    if (piece.expression) {
      TRY(const std::string value, value_of(piece.text, data, moment));
      out += value;
    } else {
      out += piece.text;
    }
    if (out.size() > kFilledMax) return wrong("'" + std::string(text) + "' has more than 4 KiB with its values");
  }
  return out;
}

// Plain pieces are looked for from the end, each as far behind as it can be: so those values that come first are longest.
std::optional<AzureValues> match_pattern(std::string_view pattern, std::string_view path) {
  const auto pieces = pieces_of(pattern);
  if (!pieces) return std::nullopt;
  if (pieces->size() == 1) return path == pieces->front().text ? std::optional(AzureValues()) : std::nullopt;
  if (!path.ends_with(pieces->back().text)) return std::nullopt;
  std::size_t end = path.size() - pieces->back().text.size();
  AzureValues values;
  for (std::size_t i = pieces->size() - 2; i > 0; i -= 2) {  // an expression, and what is before it
    const std::string& before = (*pieces)[i - 1].text;
    std::size_t at = 0;
    if (i == 1) {
      if (!path.starts_with(before) || before.size() > end) return std::nullopt;
    } else {
      if (before.size() > end) return std::nullopt;
      at = path.rfind(before, end - before.size());
      if (at == path.npos) return std::nullopt;
    }
    values.emplace_back((*pieces)[i].text, path.substr(at + before.size(), end - at - before.size()));
    if (i == 1) break;
    end = at;
  }
  std::ranges::reverse(values);
  return values;
}

}  // namespace mayfly::worker
