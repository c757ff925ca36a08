// Cgroups: how a group is frozen, and its memory written to swap.
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>

#include "os/cgroup.h"

namespace mayfly::os {
namespace {

constexpr int kRoundsMax = 10;             // of gathering what goes on to fork
constexpr std::size_t kRangesAtOnce = 512;  // of memory, in one system call

bool has_swap() {
  std::ifstream file("/proc/swaps");
  std::string line;
  return std::getline(file, line) && std::getline(file, line);
}

// What a process has of its own: anonymous, or changed in memory alone.
std::vector<iovec> own_memory(int pid) {
  std::vector<iovec> ranges;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t dash = line.find('-'), space = line.find(' ');
    if (dash == line.npos || space == line.npos || line.substr(space + 1, 2) != "rw" || line[space + 4] != 'p') continue;
    std::uintptr_t begin = 0, end = 0;
    std::from_chars(line.data(), line.data() + dash, begin, 16);
    std::from_chars(line.data() + dash + 1, line.data() + space, end, 16);
    if (end > begin) ranges.push_back({reinterpret_cast<void*>(begin), end - begin});
  }
  return ranges;
}

}  // namespace

std::string Cgroups::freezer_leaf(std::uint64_t number) const { return freezer_ + "/s" + std::to_string(number); }

void Cgroups::freeze(const Group& group) {
  if (!group || !can_freeze()) return;
  {
    const std::lock_guard lock(mutex_);
    if (!frozen_.insert(group.number_).second) return;
  }
  post([this, number = group.number_] { return freeze_now(number); });
}

// Nothing that was asked for before may be in its way; what is still to freeze it finds that it need not.
void Cgroups::thaw(const Group& group) {
  if (!group) return;
  {
    const std::lock_guard lock(mutex_);
    if (frozen_.erase(group.number_) == 0) return;
  }
  post([this, number = group.number_]() -> Result<void> {
    const std::string path = freezer_leaf(number) + "/cgroup.freeze";
    if (::access(path.c_str(), F_OK) != 0) return {};
    TRY_VOID(write_file(path, "0"));
    return unified_ ? write_file(leaf(roots_.front(), number) + "/memory.swap.max", "0") : Result<void>();
  }, /*first=*/true);
}

bool Cgroups::is_to_be_frozen(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  return frozen_.contains(number);
}

// Until a look finds nobody new: what is being moved may fork.
Result<void> Cgroups::gather(std::uint64_t number) const {
  if (unified_) return {};
  const std::string place = freezer_leaf(number);
  if (::mkdir(place.c_str(), 0755) != 0 && errno != EEXIST) return fail(os_error("mkdir", place));
  std::vector<int> moved;
  for (int round = 0; round < kRoundsMax; ++round) {
    bool any = false;
    for (const int pid : members(number)) {
      if (std::ranges::find(moved, pid) != moved.end()) continue;
      any = true;
      moved.push_back(pid);
      const auto put = write_file(place + "/cgroup.procs", std::to_string(pid));
      if (!put && ::access(("/proc/" + std::to_string(pid)).c_str(), F_OK) == 0) return put;  // else: dead meanwhile
    }
    if (!any) return {};
  }
  return {};
}

Result<void> Cgroups::freeze_now(std::uint64_t number) {
  if (!is_to_be_frozen(number)) return {};
  TRY_VOID(gather(number));
  TRY_VOID(write_file(freezer_leaf(number) + "/cgroup.freeze", "1"));
  if (!has_swap()) return {};
  // Jobs of their own: a call that comes meanwhile thaws between them.
  for (const int pid : members(number)) post([this, number, pid] { return page_out(number, pid); });
  return {};
}

Result<void> Cgroups::page_out(std::uint64_t number, int pid) {
  const auto here = members(number);
  if (!is_to_be_frozen(number) || std::ranges::find(here, pid) == here.end()) return {};
  // Otherwise its limit keeps it out of swap, which is for those that work.
  if (unified_) TRY_VOID(write_file(leaf(roots_.front(), number) + "/memory.swap.max", "max"));
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return {};                 // dead meanwhile
  const std::vector<iovec> ranges = own_memory(pid);
  for (std::size_t at = 0; at < ranges.size(); at += kRangesAtOnce) {
    const std::size_t count = std::min(kRangesAtOnce, ranges.size() - at);
    // The kernel tells how far it came, or that it may not: then the memory stays where it is, and nothing else changes.
    if (::syscall(SYS_process_madvise, process.get(), &ranges[at], count, MADV_PAGEOUT, 0) < 0) return {};
  }
  return {};
}

}  // namespace mayfly::os
