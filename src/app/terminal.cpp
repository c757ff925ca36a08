#include "app/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/units.h"

namespace mayfly::app {
namespace {

constexpr Duration kQuiet = std::chrono::seconds(1);
constexpr Duration kRedraw = std::chrono::milliseconds(100);

std::string pad(const std::string& text, std::size_t width, bool right) {
  const std::size_t used = columns_of(text);
  const std::string space(width > used ? width - used : 0, ' ');
  return right ? space + text : text + space;
}

// A number, maybe with its sign of money before it or a unit of a few letters behind: "1,234", "26.5 KB", "$0.02".
bool numeric(std::string_view text) {
  if (text.empty() || text == "-") return true;
  for (const std::string_view sign : {"$", "€"})
    if (text.starts_with(sign)) text.remove_prefix(sign.size());
  const auto digits = std::min(text.find_first_not_of("0123456789.,"), text.size());
  return digits > 0 && columns_of(text.substr(digits)) <= 4 && text.find_first_of(":-", digits) == std::string_view::npos;
}

// Bytes of the character that `text` begins with; 0 where a terminal may take it for an order: control characters, those from
// U+0080 to U+009F among them, and what is not UTF-8, which some terminals read as these.
std::size_t plain_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
  const std::size_t size = byte(0) < 0xc2 ? 0 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : byte(0) < 0xf5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  return byte(0) == 0xc2 && byte(1) < 0xa0 ? 0 : size;
}

}  // namespace

Terminal Terminal::detect() {
  Terminal terminal;
  terminal.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  terminal.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  terminal.in_is_terminal = ::isatty(STDIN_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  terminal.colors = terminal.out_is_terminal && !(no_color && *no_color) && term && std::string_view(term) != "dumb";
  if (const char* columns = std::getenv("COLUMNS")) {
    const std::string_view text(columns);
    int width = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), width).ec == std::errc() && width >= 40 && width <= 1000)
      terminal.width = width;
  }
  return terminal;
}

std::string Terminal::paint(Tone tone, std::string_view text) const {
  if (!colors || tone == Tone::plain) return std::string(text);
  constexpr std::string_view kCodes[] = {"0", "1", "2", "32", "33", "31"};
  return "\x1b[" + std::string(kCodes[static_cast<std::size_t>(tone)]) + "m" + std::string(text) + "\x1b[0m";
}

void Table::add(std::vector<std::string> row) {
  row.resize(head_.size());
  rows_.push_back(std::move(row));
}

std::string Table::text(const Terminal& terminal) const {
  std::string out;
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t c = 0; c < head_.size(); ++c) {
    widths.push_back(columns_of(head_[c]));
    bool numbers = !rows_.empty();
    for (const auto& row : rows_) {
      widths[c] = std::max(widths[c], columns_of(row[c]));
      numbers = numbers && numeric(row[c]);
    }
    right.push_back(numbers);
  }
  const auto line = [&](const std::vector<std::string>& cells, Tone tone) {
    std::string text;
    for (std::size_t c = 0; c < cells.size(); ++c) text += (c ? "  " : "") + pad(cells[c], widths[c], right[c]);
    text.erase(text.find_last_not_of(' ') + 1);
    out += terminal.paint(tone, text) + "\n";
  };
  line(head_, Tone::faint);
  for (const auto& row : rows_) line(row, Tone::plain);
  return out;
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      const auto end = text.find('m', i);
      if (end == std::string_view::npos) break;
      i = end;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++columns;
    }
  }
  return columns;
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", share * 100);
  std::string_view trimmed(text);
  while (trimmed.ends_with('0')) trimmed.remove_suffix(1);
  if (trimmed.ends_with('.')) trimmed.remove_suffix(1);
  return std::string(trimmed) + "%";
}

std::string plural(std::uint64_t count, std::string_view noun) {
  return grouped(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string clock_of(std::string_view rfc3339) {
  std::string text = printable(rfc3339.substr(0, 19));
  if (text.size() > 10 && text[10] == 'T') text[10] = ' ';
  return text;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = plain_character(text);
    if (size > 0) {
      out += text.substr(0, size);
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(text[0]));
      out += escape;
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

Progress::Progress(const Terminal& terminal, std::string label, Instant now)
    : enabled_(terminal.err_is_terminal), width_(terminal.width), label_(std::move(label)), begun_(now) {}

bool Progress::due(Instant now) {
  if (!enabled_ || now - begun_ < kQuiet || (visible_ && now - drawn_ < kRedraw)) return false;
  drawn_ = now;
  return true;
}

void Progress::draw(const std::string& line) {
  std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
  std::fflush(stderr);
  visible_ = true;
}

void Progress::show(std::uint64_t done, std::uint64_t all, Instant now) {
  if (!due(now)) return;
  const double share = all == 0 ? 1 : static_cast<double>(done) / static_cast<double>(all);
  const double rate = static_cast<double>(done) / std::max(1e-3, to_seconds(now - begun_));
  const std::string tail = "  " + percent(std::floor(share * 100) / 100) + " of " + to_text(Bytes{all}) + "  " +
                           to_text(Bytes{static_cast<std::uint64_t>(rate)}) + "/s";
  const auto fixed = static_cast<int>(columns_of(label_) + columns_of(tail)) + 4;
  const int cells = std::clamp(width_ - fixed, 5, 40);
  const int filled = static_cast<int>(share * cells);
  std::string bar;
  for (int i = 0; i < cells; ++i) bar += i < filled ? "━" : " ";
  draw(label_ + "  [" + bar + "]" + tail);
}

void Progress::say(std::string_view text, Instant now) {
  if (due(now)) draw(label_ + "  " + std::string(text));
}

void Progress::clear() {
  if (visible_) std::fputs("\r\x1b[K", stderr);
  visible_ = false;
}

}  // namespace mayfly::app
