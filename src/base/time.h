// Time as a value. Only os/ reads a real clock; everything else is handed an Instant.
#pragma once
#include <chrono>
#include <compare>
#include <cstdint>

namespace mayfly {

using Duration = std::chrono::nanoseconds;

// A point of monotonic time. It has no now(): that is what makes a test able to own time.
struct Instant {
  Duration since_boot{};
  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return {t.since_boot + d}; }
  friend constexpr Instant operator-(Instant t, Duration d) { return {t.since_boot - d}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return a.since_boot - b.since_boot; }
  static constexpr Instant never() { return {Duration::max()}; }
};

// A point of calendar time, for people and for bills; it may jump. Never used to measure a wait.
struct WallTime {
  std::chrono::microseconds since_epoch{};
  friend constexpr auto operator<=>(WallTime, WallTime) = default;
};

constexpr std::int64_t to_us(Duration d) { return std::chrono::duration_cast<std::chrono::microseconds>(d).count(); }
constexpr double to_ms(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }
constexpr double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
constexpr Duration from_seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

}  // namespace mayfly
