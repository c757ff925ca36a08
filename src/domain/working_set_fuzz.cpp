// Records of touched pages: whatever the text, what is read lies within its file, and is written as it was read.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "domain/working_set.h"

namespace {

using namespace mayfly::domain;

void check(const WorkingSet& set) {
  ASSERT(set.ranges.size() <= kWorkingSetRangesMax, "few ranges");
  std::uint64_t end = 0;
  for (const PageRange& range : set.ranges) {
    ASSERT(range.size > 0 && range.offset % kWorkingSetUnit == 0 && (end == 0 || range.offset > end), "ranges ascend and lie apart");
    end = range.offset + range.size;
    ASSERT(end <= set.file_size, "ranges lie within the file");
  }
  const std::string text = to_text(set);
  ASSERT(text.size() <= kWorkingSetTextMax, "a record is bounded");
  const auto again = parse_working_set(text);
  ASSERT(again && *again == set, "a record is read as it was written");
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static const std::string kTwo = to_text(working_set_of(1 << 20, {{0, 1}, {500'000, 100'000}})), kNone = to_text(working_set_of(9, {}));
  static const char* const kSeeds[] = {kTwo.c_str(), kNone.c_str(), "5731", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (const auto set = parse_working_set({reinterpret_cast<const char*>(data), size})) check(*set);
  // The checksum keeps most inputs out: bytes as ranges, too.
  std::vector<PageRange> ranges;
  for (std::size_t i = 0; i + 4 <= size; i += 4)
    ranges.push_back({(data[i] | static_cast<std::uint64_t>(data[i + 1]) << 8) * 20'000,
                      (data[i + 2] | static_cast<std::uint64_t>(data[i + 3]) << 8) * 3});
  if (const WorkingSet made = working_set_of(1'000'000'007, std::move(ranges)); made.file_size > 0) check(made);
  return 0;
}
