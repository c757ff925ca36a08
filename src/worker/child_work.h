// Work in a process of its own, forked from this one: it has a heap that nothing else has touched, what it takes is given back when it
// ends, and what it dies of is an error of this work alone. For the command line, whose process has one thread; jobs in sandboxes
// have their own (worker/tune.cpp). The result is bytes; the caller knows what they mean.
#pragma once
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::worker {

struct ChildLimits {
  Duration time_max = std::chrono::minutes(10);
  std::function<bool()> stops = [] { return false; };  // asked while waiting: true ends the work
};

// Error: what the work returned; deadline_exceeded; cancelled, where `stops` says so; internal, where the process died.
[[nodiscard]] Result<std::string> in_a_process(const std::function<Result<std::string>()>& work, const ChildLimits& limits);

}  // namespace mayfly::worker
