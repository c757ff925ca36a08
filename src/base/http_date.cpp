#include "base/http_date.h"

#include <chrono>
#include <cstdio>

#include "base/units.h"

namespace mayfly {

std::string http_date(WallTime time) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto point = std::chrono::sys_time<std::chrono::microseconds>(time.since_epoch);
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const std::string clock = rfc3339(time).substr(11, 8);
  char text[40];
  std::snprintf(text, sizeof text, "%s, %02u %s %04d ", kDays[std::chrono::weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()));
  return text + clock + " GMT";
}

}  // namespace mayfly
