// The only place that reads a clock. The node's loop reads it once a turn and hands Instants on.
#pragma once
#include <ctime>

#include "base/time.h"

namespace mayfly::os {

inline Duration read_clock(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}
inline Instant monotonic_now() { return {read_clock(CLOCK_MONOTONIC)}; }
inline WallTime wall_now() { return {std::chrono::duration_cast<std::chrono::microseconds>(read_clock(CLOCK_REALTIME))}; }
inline Duration process_cpu_now() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

}  // namespace mayfly::os
