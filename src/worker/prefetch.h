// Reads ahead what a cold start will touch of its mapped file (domain/working_set.h), before the engine loads it: few large reads
// instead of one after each fault, and nothing around them. What is in the page cache already is left alone, since mapping it ahead costs
// what the faults cost (docs/measurements.md). The order is a matter of time alone: whatever it says, answers are the same.
#pragma once
#include <cstdint>

#include "domain/working_set.h"
#include "os/fd.h"

namespace mayfly::worker {

// `fd` is the file that `mapping` maps. At most `bytes_max`, in the file's order: more would push out what came first. Returns how
// many bytes were asked for: 0 where nothing was to be done.
std::uint64_t prefetch(int fd, const os::Mapping& mapping, const domain::WorkingSet& set, std::uint64_t bytes_max);

// What the record does not name is looked up here and there, as rows of a table are: a page is read alone, and not what the disk would
// read around it, which would push out what a process with little room has. For files that do not fit.
void read_singly_beside(const os::Mapping& mapping, const domain::WorkingSet& set);

}  // namespace mayfly::worker
