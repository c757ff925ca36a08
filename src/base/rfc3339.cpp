#include "base/rfc3339.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace mayfly {

Result<WallTime> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  const auto wrong = [&] {
    return fail(Code::invalid_argument,
                "'" + std::string(text.substr(0, 64)) + "' is not a time: write it as RFC 3339, for example 2026-11-24T05:46:03Z");
  };
  const std::string copy(text.substr(0, 64));
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, end = 0;
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s, &end) != 6 || end < 19) return wrong();
  std::string_view rest = text.substr(static_cast<std::size_t>(end));
  std::int64_t us = 0;
  if (rest.starts_with('.')) {
    std::size_t digits = 1;
    std::int64_t unit = 100'000;
    for (; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9'; ++digits, unit /= 10) us += (rest[digits] - '0') * unit;
    if (digits == 1) return wrong();
    rest.remove_prefix(digits);
  }
  int offset_minutes = 0;
  if (rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':') {
    int oh = 0, om = 0;
    if (std::sscanf(std::string(rest.substr(1)).c_str(), "%2d:%2d", &oh, &om) != 2 || oh > 23 || om > 59) return wrong();
    offset_minutes = (oh * 60 + om) * (rest[0] == '-' ? -1 : 1);
  } else if (rest != "Z" && rest != "z") {
    return wrong();
  }
  const year_month_day date(year(y), month(static_cast<unsigned>(mo)), day(static_cast<unsigned>(d)));
  if (mo < 1 || d < 1 || !date.ok() || y < 1970 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 60) return wrong();
  return WallTime{microseconds(us) + sys_days(date).time_since_epoch() + hours(h) + minutes(mi - offset_minutes) + seconds(s)};
}

}  // namespace mayfly
