// Who leaves when memory is short: GreedyDual-Size-Frequency (Cherkasova, 1998), as FaasCache applies it
// to functions (Fuerst and Sharma, "FaasCache: Keeping Serverless Computing Alive with Greedy-Dual
// Caching", ASPLOS 2021). What is worth least leaves first:
//
//   worth = clock at its last use + calls × cost to restore / memory it frees
//
// The clock rises to the worth of what left last, so that what was useful long ago ages without a timer.
// The caller measures memory and cost, stamps each candidate with clock() when it is used, stops what
// plan() names, and never gets a pinned one back. A value; ties go to the smaller process number.
#pragma once
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "base/units.h"

namespace mayfly::autoscale {

struct Candidate {
  ProcessId process;
  Bytes memory;              // that leaves with it: what it shares with others stays
  Duration restore{};        // to have it again: a fork, a start, a template's load
  double calls = 1;          // of its function, lately: how likely it is needed again
  double used_at = 0;        // Evictor::clock() when it was last used
  bool pinned = false;       // in use, starting, or kept by `min` or `reserved`
};

class Evictor {
 public:
  struct Plan {
    std::vector<ProcessId> leave;  // in this order
    Bytes freed;
    bool enough = false;           // false: all that is not pinned leaves, and it does not suffice
  };

  [[nodiscard]] double clock() const { return clock_; }
  // Who goes so that `wanted` bytes are free. Only as many as that takes.
  [[nodiscard]] Plan plan(std::span<const Candidate> candidates, Bytes wanted);

 private:
  double clock_ = 0;         // milliseconds per MiB
};

[[nodiscard]] double worth(const Candidate& candidate);

}  // namespace mayfly::autoscale
