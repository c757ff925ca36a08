#include "worker/prefetch.h"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace mayfly::worker {
namespace {

// A fault on a page that is not there reads up to the disk's read-ahead around it, and that, of a short range, is mostly what nobody asked
// for: asked for by MADV_WILLNEED, just the range is read, and not waited for. One such call reads no more than the read-ahead, so longer
// ranges are left to the faults, which read large pieces in order.
constexpr std::uint64_t kShort = 1 << 20;
constexpr std::uint64_t kProbesMax = 64;

// Whether the page at `offset` can be read without the disk. Where the file system can't say, no.
bool is_cached(int fd, std::uint64_t offset) {
  std::array<char, 1> byte;
  iovec into{byte.data(), byte.size()};
  return ::preadv2(fd, &into, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

// A few pages of it say so, evenly from all of it.
bool is_all_cached(int fd, const domain::WorkingSet& set, std::uint64_t bytes) {
  const std::uint64_t step = std::max(bytes / kProbesMax, domain::kWorkingSetUnit);
  std::uint64_t passed = 0, next = 0;
  for (const domain::PageRange& range : set.ranges) {
    for (; next < passed + range.size; next += step)
      if (!is_cached(fd, range.offset + (next - passed))) return false;
    passed += range.size;
  }
  return true;
}

}  // namespace

std::uint64_t prefetch(int fd, const os::Mapping& mapping, const domain::WorkingSet& set, std::uint64_t bytes_max) {
  if (set.file_size != mapping.size() || set.ranges.empty()) return 0;
  const std::uint64_t wanted = std::min(domain::total_size(set), bytes_max);
  if (wanted == 0 || is_all_cached(fd, set, wanted)) return 0;
  const auto each = [&](int advice, std::uint64_t size_max) {
    std::uint64_t left = wanted;
    for (const domain::PageRange& range : set.ranges) {
      const std::uint64_t size = std::min(range.size, left);
      if (size == 0) return;
      left -= size;
      if (size <= size_max) ::madvise(mapping.data() + range.offset, size, advice);  // what can't be read ahead is read when it is touched
    }
  };
  each(MADV_WILLNEED, kShort);
  each(MADV_POPULATE_READ, UINT64_MAX);
  return wanted;
}

void read_singly_beside(const os::Mapping& mapping, const domain::WorkingSet& set) {
  if (set.file_size != mapping.size() || set.ranges.empty()) return;
  std::uint64_t at = 0;
  const auto until = [&](std::uint64_t end) {
    if (end > at) ::madvise(mapping.data() + at, end - at, MADV_RANDOM);
  };
  for (const domain::PageRange& range : set.ranges) {
    until(range.offset);
    at = range.offset + range.size;
  }
  until(set.file_size);
}

}  // namespace mayfly::worker
