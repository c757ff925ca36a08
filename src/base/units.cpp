#include "base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <span>

namespace mayfly {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array kByteUnits = {Unit{"B", 1},      Unit{"KB", 1e3},   Unit{"MB", 1e6},        Unit{"GB", 1e9},
                                   Unit{"TB", 1e12},  Unit{"KiB", 1024}, Unit{"MiB", 1024 * 1024.0},
                                   Unit{"GiB", 1024 * 1024 * 1024.0}, Unit{"TiB", 1024.0 * 1024 * 1024 * 1024}};
constexpr std::array kTimeUnits = {Unit{"ns", 1},     Unit{"us", 1e3},   Unit{"ms", 1e6},  Unit{"s", 1e9},
                                   Unit{"m", 60e9},   Unit{"h", 3600e9}, Unit{"d", 86400e9}};

Result<double> parse(std::string_view text, std::span<const Unit> units, const char* what, const char* example) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (error == std::errc() && std::isfinite(value) && value >= 0) {
    for (const Unit& u : units)
      if (u.name == unit && value * u.factor < 9.2e18) return value * u.factor;
  }
  std::string names;
  for (const Unit& u : units) names += (names.empty() ? "" : ", ") + std::string(u.name);
  return fail(Code::invalid_argument, "'" + std::string(text) + "' is not " + what + ": write a number with one of " +
                                          names + ", for example " + example);
}

// Three digits, with the largest unit in which they do not round to a number below 1.
std::string print(double value, std::span<const Unit> units) {
  const Unit* unit = &units.front();
  for (const Unit& u : units)
    if (value >= u.factor * 0.9995) unit = &u;
  const double shown = value / unit->factor;
  char text[48];
  std::snprintf(text, sizeof text, shown < 9.995 ? "%.2f %.*s" : shown < 99.95 ? "%.1f %.*s" : "%.0f %.*s", shown,
                static_cast<int>(unit->name.size()), unit->name.data());
  return text;
}

}  // namespace

Result<Bytes> parse_bytes(std::string_view text) {
  TRY(const double value, parse(text, kByteUnits, "a size", "512MiB"));
  return Bytes{static_cast<std::uint64_t>(value)};
}

Result<Duration> parse_duration(std::string_view text) {
  TRY(const double value, parse(text, kTimeUnits, "a duration", "250ms"));
  return Duration(static_cast<Duration::rep>(value));
}

std::string to_text(Bytes bytes) {
  static constexpr std::array kUnits = {Unit{"KB", 1e3}, Unit{"MB", 1e6}, Unit{"GB", 1e9}};
  if (bytes.count < 1000) return std::to_string(bytes.count) + " B";
  return print(static_cast<double>(bytes.count), kUnits);
}

std::string to_text(Duration duration) {
  // Minutes from two on, hours from two on: "90 s" says more than "1.50 min".
  static constexpr std::array kShort = {Unit{"µs", 1e3}, Unit{"ms", 1e6}, Unit{"s", 1e9}};
  static constexpr std::array kMinutes = {Unit{"min", 60e9}};
  static constexpr std::array kHours = {Unit{"h", 3600e9}};
  const auto ns = static_cast<double>(duration.count());
  if (ns < 0 && duration > Duration::min()) return "-" + to_text(-duration);
  if (ns < 1e3) return std::to_string(duration.count()) + " ns";
  if (ns < 119.5e9) return print(ns, kShort);
  return print(ns, ns < 119.5 * 60e9 ? std::span<const Unit>(kMinutes) : std::span<const Unit>(kHours));
}

std::string rfc3339(WallTime time) {
  const std::time_t seconds = time.since_epoch.count() / 1'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[80];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(time.since_epoch.count() / 1000 % 1000));
  return text;
}

}  // namespace mayfly
