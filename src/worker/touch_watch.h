// Which parts of a mapping a process touches, exactly: the mapping is made unreadable, each first touch of a unit is a fault that is
// noted and lets the unit be read. It needs no /proc and no privilege, and does not see what others keep in the page cache, as mincore()
// does; a fault costs some microseconds (docs/decisions/0030). For the measurement behind a deploy: one at a time in a process,
// whose forks share what it has noted.
#pragma once
#include <cstddef>

#include "base/result.h"
#include "domain/working_set.h"
#include "os/fd.h"

namespace mayfly::worker {

class TouchWatch {
 public:
  // For a file of `size` bytes. Made before the fork that is watched.
  [[nodiscard]] static Result<TouchWatch> make(std::size_t size);
  // From now on, in this process, until it ends; `mapping` is read-only and stays where it is. The watch must outlive its use.
  [[nodiscard]] Result<void> watch(const os::Mapping& mapping);
  // What was touched until now, in this process or a fork.
  [[nodiscard]] domain::WorkingSet touched() const;

 private:
  os::Mapping notes_;                  // a byte for each unit, shared with forks
  std::size_t size_ = 0, unit_ = 0;
};

}  // namespace mayfly::worker
