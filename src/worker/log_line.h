// What a line says of itself, where it is one that programs write for machines: a JSON object with a level (Lambda's JSON format, Google's
// severity, pino's and bunyan's numbers), or a plain one of the runtimes' logging ("[ERROR]\t…", "time\tid\tLEVEL\t…", "ERROR:name:…").
// Pure; read in the sandbox, for the node reads no word of a line. What it can't read it leaves: the line is kept as it was printed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/time.h"
#include "domain/printed.h"

namespace mayfly::worker {

struct LineFacts {
  domain::Level level = domain::Level::none;
  WallTime time{};                                  // zero: it says none
  std::uint64_t request_high = 0, request_low = 0;  // of the call that it names, a UUID; zeros: it names none
};

constexpr std::size_t kLineMax = 16 * 1024;         // a longer line is read and told in pieces

[[nodiscard]] LineFacts read_line(std::string_view line);

}  // namespace mayfly::worker
