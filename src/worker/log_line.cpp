#include "worker/log_line.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/hex.h"
#include "base/rfc3339.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using domain::Level;
using Json = nlohmann::json;

bool take_id(std::string_view text, LineFacts& into) {
  const auto id = read_uuid(text);
  if (!id) return false;
  std::tie(into.request_high, into.request_low) = *id;
  return true;
}

// pino's and bunyan's: 10, 20 … 60.
Level level_of_number(double number) {
  if (!(number >= 10 && number < 70)) return Level::none;
  constexpr Level kLevels[] = {Level::trace, Level::debug, Level::info, Level::warn, Level::error, Level::fatal};
  return kLevels[static_cast<int>(number) / 10 - 1];
}

template <class Read>
void first_of(const Json& object, std::initializer_list<const char*> keys, const Read& read) {
  for (const char* key : keys)
    if (const auto at = object.find(key); at != object.end() && read(*at)) return;
}

LineFacts read_object(const Json& object) {
  LineFacts facts;
  first_of(object, {"level", "severity", "levelname", "log.level", "lvl", "Level"}, [&](const Json& value) {
    if (value.is_string()) facts.level = domain::read_level(value.get_ref<const std::string&>());
    else if (value.is_number()) facts.level = level_of_number(value.get<double>());
    return facts.level != Level::none;
  });
  first_of(object, {"timestamp", "time", "@timestamp", "ts"}, [&](const Json& value) {
    if (value.is_string()) {
      if (const auto time = parse_rfc3339(value.get_ref<const std::string&>()); time && *time > WallTime{}) facts.time = *time;
    } else if (value.is_number()) {  // seconds, or milliseconds
      const double number = value.get<double>(), us = number > 1e11 ? number * 1e3 : number * 1e6;
      if (us > 0 && us < 1e17) facts.time = {std::chrono::microseconds(static_cast<std::int64_t>(us))};
    }
    return facts.time != WallTime{};
  });
  first_of(object, {"requestId", "request_id", "AWSRequestId", "aws_request_id", "awsRequestId", "invocationId", "function_request_id"},
           [&](const Json& value) { return value.is_string() && take_id(value.get_ref<const std::string&>(), facts); });
  return facts;
}

LineFacts read_plain(std::string_view line) {
  constexpr std::size_t kLevelMax = 16;
  LineFacts facts;
  if (line.starts_with('[')) {
    const std::size_t close = line.substr(0, kLevelMax).find(']');
    if (close != line.npos) facts.level = domain::read_level(line.substr(1, close - 1));
    return facts;
  }
  const std::size_t colon = line.substr(0, kLevelMax).find(':');
  if (colon != line.npos && std::ranges::all_of(line.substr(0, colon), [](char c) { return c >= 'A' && c <= 'Z'; }))
    facts.level = domain::read_level(line.substr(0, colon));
  const std::size_t first = line.find('\t'), second = first == line.npos ? first : line.find('\t', first + 1),
                    third = second == line.npos ? second : line.find('\t', second + 1);
  if (third == line.npos) return facts;
  const auto time = parse_rfc3339(line.substr(0, first));
  const Level level = domain::read_level(line.substr(second + 1, third - second - 1));
  if (!time || *time < WallTime{} || level == Level::none) return facts;
  facts.time = *time;
  facts.level = level;
  static_cast<void>(take_id(line.substr(first + 1, second - first - 1), facts));
  return facts;
}

}  // namespace

LineFacts read_line(std::string_view line) {
  const std::size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
  line.remove_prefix(begin);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  if (!line.starts_with('{')) return read_plain(line);
  if (!line.ends_with('}') || line.size() > kLineMax) return {};
  const Json object = domain::parse_json<Json>(line);
  return object.is_object() ? read_object(object) : LineFacts();
}

}  // namespace mayfly::worker
