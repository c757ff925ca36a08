// A hostile model, for tests: it tries to leave the sandbox in every way we know, as an instance would be able to,
// and reports what it managed. Run by run_process() for Role::probe, behind the instance's filter.
#pragma once
#include <string>
#include <vector>

#include "os/fd.h"

namespace mayfly::worker {

struct ProbeReport {
  std::vector<std::string> managed;  // what should have been impossible; empty is good
  int tried = 0;
};

// `model` is a descriptor of the model's file, `ring` of the ring's memory.
[[nodiscard]] ProbeReport probe_sandbox(int model, int ring);
[[nodiscard]] std::string to_json(const ProbeReport& report);

}  // namespace mayfly::worker
