// A line that a function's program printed, as its host (worker/code_output.h) tells the node: what is known of it goes before the
// text, in fields of a fixed place, so that the node reads no word of what a user printed. Records travel through the pipe of a sandbox's
// standard error, among lines of others (its init, what carries its connections), which have no such fields.
//
//   \x1e, stream, level, 32 digits of the call's id, 16 of the time in microseconds, 8 of the host's pid inside, the text, \n
//
// Promises: append_printed() makes one line of kPrintedMax bytes at most, whatever the text holds, so that one write() puts it into a
// pipe whole; read_printed() takes what that made, any other line as text of which nothing is known. A sandbox can lie, of itself alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace mayfly::domain {

enum class Stream : std::uint8_t { platform = 0, out = 1, err = 2, extension = 3 };  // platform: Mayfly's own words of it
[[nodiscard]] std::string_view name(Stream stream);                                  // "platform", "stdout", …

enum class Level : std::uint8_t { none = 0, trace = 1, debug = 2, info = 3, warn = 4, error = 5, fatal = 6 };
[[nodiscard]] std::string_view name(Level level);                                    // none: "info", as of what says nothing
// Whatever case; also the names of others: "warning", "critical", "notice", "emergency" and the like. none: it is no level.
[[nodiscard]] Level read_level(std::string_view text);

struct Printed {
  std::string_view text;
  Stream stream = Stream::platform;
  Level level = Level::none;
  std::uint64_t request_high = 0, request_low = 0;  // of the call that it belongs to; zeros: of none, or nobody knows
  WallTime time{};                                  // zero: nobody said
  int pid = 0;                                      // of its host, inside the sandbox; 0: nobody said
};

constexpr std::size_t kPrintedMax = 4096;           // a pipe's atomic write
constexpr std::size_t kPrintedHead = 59;
constexpr std::size_t kPrintedText = 2048;          // longer texts are told in pieces
constexpr std::size_t kLastLinesMax = 4096;         // of a call, beside its reply: what Lambda's LogResult holds

void append_printed(std::string& out, const Printed& line);
[[nodiscard]] Printed read_printed(std::string_view line);  // without its \n; the text lies in `line`

// The last whole lines of at most so many bytes; the last line's end where that alone is longer.
[[nodiscard]] std::string_view last_lines(std::string_view text, std::size_t bytes_max);

}  // namespace mayfly::domain
