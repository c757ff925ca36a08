#include "domain/working_set.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>

#include "base/hex.h"

namespace mayfly::domain {
namespace {

constexpr std::string_view kMark = "W1";
constexpr std::size_t kChecksumBytes = 4;

using Octets = std::vector<unsigned char>;

// FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv: against accidents, not against who means it.
std::uint32_t checksum(std::span<const unsigned char> bytes) {
  std::uint32_t hash = 2166136261U;
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 16777619U;
  return hash;
}

// Seven bits a byte, the lowest first; the eighth says that more follow.
void put_number(Octets& bytes, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<unsigned char>(value | 0x80));
  bytes.push_back(static_cast<unsigned char>(value));
}

class Reader {
 public:
  explicit Reader(std::span<const unsigned char> bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }
  Result<std::uint64_t> number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 63 && !rest_.empty(); shift += 7) {
      const unsigned char byte = rest_.front();
      rest_ = rest_.subspan(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return fail(Code::invalid_argument, "a record of touched pages with a number that does not end");
  }

 private:
  std::span<const unsigned char> rest_;
};

Result<Octets> read_hex(std::string_view text) {
  if (text.size() > kWorkingSetTextMax || text.size() % 2 != 0)
    return fail(Code::invalid_argument, "a record of touched pages of " + std::to_string(text.size()) + " digits");
  Octets bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* const at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, bytes[i], 16).ptr != at + 2)
      return fail(Code::invalid_argument, "a record of touched pages that is not hexadecimal");
  }
  return bytes;
}

// The smallest gaps go until few enough ranges are left.
void join_nearest(std::vector<PageRange>& ranges) {
  if (ranges.size() <= kWorkingSetRangesMax) return;
  const auto gap = [&](std::size_t i) { return ranges[i].offset - (ranges[i - 1].offset + ranges[i - 1].size); };
  std::vector<std::size_t> joints(ranges.size() - 1);
  std::iota(joints.begin(), joints.end(), 1);
  const auto kept = static_cast<std::ptrdiff_t>(kWorkingSetRangesMax - 1);
  std::ranges::nth_element(joints, joints.begin() + kept, [&](std::size_t a, std::size_t b) { return gap(a) > gap(b); });
  joints.resize(kWorkingSetRangesMax - 1);
  std::ranges::sort(joints);
  std::vector<PageRange> joined{ranges[0]};
  auto next = joints.begin();
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (next != joints.end() && *next == i) {
      ++next;
      joined.push_back(ranges[i]);
    } else {
      joined.back().size = ranges[i].offset + ranges[i].size - joined.back().offset;
    }
  }
  ranges = std::move(joined);
}

}  // namespace

WorkingSet working_set_of(std::uint64_t file_size, std::vector<PageRange> touched) {
  if (file_size == 0 || file_size > kWorkingSetFileMax) return {};
  WorkingSet set{.file_size = file_size};
  std::ranges::sort(touched, {}, &PageRange::offset);
  for (const PageRange& range : touched) {
    if (range.size == 0 || range.offset >= file_size) continue;
    const std::uint64_t begin = range.offset / kWorkingSetUnit * kWorkingSetUnit;
    const std::uint64_t last = range.offset + std::min(range.size, file_size - range.offset) - 1;
    const std::uint64_t end = std::min(file_size, (last / kWorkingSetUnit + 1) * kWorkingSetUnit);
    if (!set.ranges.empty() && begin <= set.ranges.back().offset + set.ranges.back().size) {
      PageRange& before = set.ranges.back();
      before.size = std::max(before.offset + before.size, end) - before.offset;
    } else {
      set.ranges.push_back({begin, end - begin});
    }
  }
  join_nearest(set.ranges);
  return set;
}

std::uint64_t total_size(const WorkingSet& set) {
  std::uint64_t total = 0;
  for (const PageRange& range : set.ranges) total += range.size;
  return total;
}

std::string to_text(const WorkingSet& set) {
  Octets bytes(kMark.begin(), kMark.end());
  put_number(bytes, set.file_size);
  put_number(bytes, set.ranges.size());
  std::uint64_t at = 0;                // in units
  for (const PageRange& range : set.ranges) {
    const std::uint64_t begin = range.offset / kWorkingSetUnit;
    const std::uint64_t units = (range.size + kWorkingSetUnit - 1) / kWorkingSetUnit;
    put_number(bytes, begin - at);
    put_number(bytes, units);
    at = begin + units;
  }
  const std::uint32_t sum = checksum(bytes);
  for (std::size_t i = 0; i < kChecksumBytes; ++i) bytes.push_back(static_cast<unsigned char>(sum >> (8 * i)));
  return hex_of(bytes);
}

Result<WorkingSet> parse_working_set(std::string_view text) {
  TRY(const Octets bytes, read_hex(text));
  const std::span<const unsigned char> all(bytes);
  if (bytes.size() < kMark.size() + kChecksumBytes || !std::equal(kMark.begin(), kMark.end(), bytes.begin()))
    return fail(Code::invalid_argument, "not a record of touched pages of a form that is known");
  const auto body = all.first(bytes.size() - kChecksumBytes);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < kChecksumBytes; ++i) sum |= static_cast<std::uint32_t>(bytes[body.size() + i]) << (8 * i);
  if (sum != checksum(body)) return fail(Code::data_loss, "a record of touched pages whose checksum does not fit");
  Reader reader(body.subspan(kMark.size()));
  WorkingSet set;
  TRY(set.file_size, reader.number());
  TRY(const std::uint64_t count, reader.number());
  if (set.file_size == 0 || set.file_size > kWorkingSetFileMax || count > kWorkingSetRangesMax)
    return fail(Code::invalid_argument, "a record of touched pages with " + std::to_string(count) + " ranges of a file of " +
                                            std::to_string(set.file_size) + " bytes");
  const std::uint64_t units_max = (set.file_size + kWorkingSetUnit - 1) / kWorkingSetUnit;
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    TRY(const std::uint64_t gap, reader.number());
    TRY(const std::uint64_t units, reader.number());
    if (units == 0 || (i > 0 && gap == 0) || gap > units_max || units > units_max || at + gap + units > units_max)
      return fail(Code::invalid_argument, "a record of touched pages with a range outside of its file");
    const std::uint64_t begin = (at + gap) * kWorkingSetUnit;
    set.ranges.push_back({begin, std::min(units * kWorkingSetUnit, set.file_size - begin)});
    at += gap + units;
  }
  if (!reader.done()) return fail(Code::invalid_argument, "a record of touched pages with more behind its end");
  return set;
}

}  // namespace mayfly::domain
