// The disk of the node's data directory, as a job in a sandbox sees it through a folder that is bound there: whether the job may write on.
#pragma once
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdint>

#include "base/units.h"
#include "os/fd.h"

namespace mayfly::worker {

struct DiskRoom {
  Bytes all, left;
  Bytes kept;                // for the node, which needs room to go on: a job ends before it has taken that
  bool is_enough() const { return left.count > kept.count; }
};

[[nodiscard]] inline Result<DiskRoom> disk_room(const char* folder) {
  struct statvfs disk {};
  if (::statvfs(folder, &disk) != 0) return fail(os::os_error("statvfs", folder));
  const std::uint64_t all = std::uint64_t{disk.f_blocks} * disk.f_frsize, left = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  return DiskRoom{.all = {all}, .left = {left}, .kept = {std::min<std::uint64_t>(all / 20, 1ULL << 30)}};
}

// Error exhausted: it may not, and how much is left.
[[nodiscard]] inline Result<void> check_disk_room(const char* folder) {
  TRY(const DiskRoom room, disk_room(folder));
  if (room.is_enough()) return {};
  return fail(Code::exhausted, "the disk of the node's data directory is nearly full, " + to_text(room.left) + " of " + to_text(room.all) +
                                   " are left, and " + to_text(room.kept) + " are kept for the node: make room there");
}

}  // namespace mayfly::worker
