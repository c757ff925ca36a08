// How the commands speak to people: colours, tables, numbers, a progress bar. Colours and bars appear only
// on a terminal, and no colours where NO_COLOR is set or TERM is "dumb". Driven by the commands; prints to
// stdout (answers) and stderr (progress), reads nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace mayfly::app {

enum class Tone { plain, strong, faint, good, warn, bad };

struct Terminal {
  bool out_is_terminal = false, err_is_terminal = false, in_is_terminal = false;
  bool colors = false;  // on stdout
  int width = 80;       // columns, as $COLUMNS says

  [[nodiscard]] static Terminal detect();
  [[nodiscard]] std::string paint(Tone tone, std::string_view text) const;
};

// Columns as wide as their widest cell, two spaces apart, without a rule or a frame. A column whose cells (but
// the head) are all numbers, with or without a unit, is aligned to the right. Cells may hold UTF-8 and colours.
class Table {
 public:
  explicit Table(std::vector<std::string> head) : head_(std::move(head)) {}
  void add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  [[nodiscard]] std::string text(const Terminal& terminal) const;  // each line ends with a newline

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns on a terminal that the text takes: escape sequences none, each code point one.
[[nodiscard]] std::size_t columns_of(std::string_view text);
[[nodiscard]] std::string grouped(std::uint64_t number);                       // "1,234,567"
[[nodiscard]] std::string percent(double share);                               // 0.9 -> "90%", 0.125 -> "12.5%"
[[nodiscard]] std::string plural(std::uint64_t count, std::string_view noun);  // "1 row", "2 rows"
[[nodiscard]] std::string clock_of(std::string_view rfc3339);                  // "2026-11-24 05:46:03"
// What others wrote, safe to print: control characters as "\x1b", so that it can't drive the terminal.
[[nodiscard]] std::string printable(std::string_view text);

// A line on stderr that is redrawn; appears only on a terminal and only once a second has passed since it was made.
class Progress {
 public:
  Progress(const Terminal& terminal, std::string label, Instant now);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(std::uint64_t done, std::uint64_t all, Instant now);  // bytes: a bar, the share, the rate
  void say(std::string_view text, Instant now);                   // "compiling"
  void clear();

 private:
  bool due(Instant now);
  void draw(const std::string& line);

  const bool enabled_;
  const int width_;
  const std::string label_;
  const Instant begun_;
  Instant drawn_{};
  bool visible_ = false;
};

}  // namespace mayfly::app
