// Which parts of a version's mapped file its first answer touches: ranges of whole units, found by the measurement behind a deploy
// (worker/tune.cpp) and kept with it, so that the next cold start reads just these (worker/prefetch.h).
//
// As text it is at most kWorkingSetTextMax hexadecimal digits: a mark, the file's size, the number of ranges, then for each the
// distance from the one before and the length, all as variable-length numbers, and a checksum (FNV-1a, 32 bits). Who reads it trusts
// nothing: a record that is not whole, or of a file of another size, is an error; a wrong one that passes costs time and no more.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::domain {

// As much as the kernel maps around a fault (fault_around_bytes), so finer would change nothing.
constexpr std::uint64_t kWorkingSetUnit = 64 << 10;
constexpr std::size_t kWorkingSetRangesMax = 512;
constexpr std::uint64_t kWorkingSetFileMax = 1ULL << 40;
constexpr std::size_t kWorkingSetTextMax = 8320;   // two digits for each of 2 + 6 + 2 + 512 * 2 * 4 + 4 bytes

struct PageRange {
  std::uint64_t offset = 0, size = 0;  // multiples of the unit, but for the file's end
  friend bool operator==(const PageRange&, const PageRange&) = default;
};

struct WorkingSet {
  std::uint64_t file_size = 0;
  std::vector<PageRange> ranges;       // ascending, none touches the next
  friend bool operator==(const WorkingSet&, const WorkingSet&) = default;
};

// Of any ranges, in any order: whole units within the file, joined where they meet; where there are too many, across the smallest
// gaps. Nothing where the file is empty or larger than a record may say.
[[nodiscard]] WorkingSet working_set_of(std::uint64_t file_size, std::vector<PageRange> touched);
[[nodiscard]] std::uint64_t total_size(const WorkingSet& set);

[[nodiscard]] std::string to_text(const WorkingSet& set);
[[nodiscard]] Result<WorkingSet> parse_working_set(std::string_view text);

}  // namespace mayfly::domain
