#include "domain/printed.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"

namespace mayfly::domain {
namespace {

constexpr char kMark = '\x1e';

template <class T>
bool read_hex(std::string_view digits, T& into) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), into, 16);
  return error == std::errc() && end == digits.data() + digits.size();
}

bool same(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() &&
         std::ranges::equal(a, lower, {}, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
}

}  // namespace

std::string_view name(Stream stream) {
  constexpr std::string_view kNames[] = {"platform", "stdout", "stderr", "extension"};
  return kNames[std::min<std::size_t>(static_cast<std::size_t>(stream), 3)];
}

std::string_view name(Level level) {
  constexpr std::string_view kNames[] = {"info", "trace", "debug", "info", "warn", "error", "fatal"};
  return kNames[std::min<std::size_t>(static_cast<std::size_t>(level), 6)];
}

Level read_level(std::string_view text) {
  struct Name {
    std::string_view text;
    Level level;
  };
  constexpr Name kNames[] = {{"trace", Level::trace},       {"debug", Level::debug},     {"info", Level::info},
                             {"information", Level::info},  {"notice", Level::info},     {"default", Level::info},
                             {"warn", Level::warn},         {"warning", Level::warn},    {"error", Level::error},
                             {"err", Level::error},         {"severe", Level::error},    {"fatal", Level::fatal},
                             {"critical", Level::fatal},    {"alert", Level::fatal},     {"emergency", Level::fatal},
                             {"panic", Level::fatal}};
  for (const Name& each : kNames)
    if (same(text, each.text)) return each.level;
  return Level::none;
}

void append_printed(std::string& out, const Printed& line) {
  out += kMark;
  out += static_cast<char>('0' + static_cast<int>(line.stream));
  out += static_cast<char>('0' + static_cast<int>(line.level));
  char digits[56];
  put_hex(put_hex(put_hex(put_hex(digits, line.request_high, 16), line.request_low, 16),
                  static_cast<std::uint64_t>(line.time.since_epoch.count()), 16), static_cast<std::uint32_t>(line.pid), 8);
  out.append(digits, sizeof digits);
  const std::size_t at = out.size();
  out.append(line.text.substr(0, kPrintedMax - kPrintedHead - 1));
  std::replace(out.begin() + static_cast<std::ptrdiff_t>(at), out.end(), '\n', ' ');
  out += '\n';
}

Printed read_printed(std::string_view line) {
  const Printed unknown{.text = line};
  if (line.size() < kPrintedHead || line[0] != kMark) return unknown;
  Printed read{.text = line.substr(kPrintedHead)};
  const int stream = line[1] - '0', level = line[2] - '0';
  std::uint64_t time = 0;
  std::uint32_t pid = 0;
  if (stream < 0 || stream > 3 || level < 0 || level > 6 || !read_hex(line.substr(3, 16), read.request_high) ||
      !read_hex(line.substr(19, 16), read.request_low) || !read_hex(line.substr(35, 16), time) || !read_hex(line.substr(51, 8), pid))
    return unknown;
  read.stream = static_cast<Stream>(stream);
  read.level = static_cast<Level>(level);
  read.time = {std::chrono::microseconds(static_cast<std::int64_t>(time & 0x7fff'ffff'ffff'ffff))};
  read.pid = static_cast<int>(pid & 0x7fff'ffff);
  return read;
}

std::string_view last_lines(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  text.remove_prefix(text.size() - bytes_max - 1);  // and one more: a line may begin just there
  const std::size_t end = text.find('\n');
  return text.substr(end == text.npos || end + 1 == text.size() ? 1 : end + 1);
}

}  // namespace mayfly::domain
