// What a sandbox for code is made of: what of the machine it sees, and what its host process is told. Looks for programs of the machine.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct Prepared {
  std::string binds;                              // lines of a SandboxOrder
  std::string order;                              // a domain::CodeOrder
  std::uint64_t output_max = 0;                   // bytes that it may write to the node's disk
};

[[nodiscard]] Result<Prepared> prepare_unpack(const StartOrder& order);
// models: the socket for calls of models, "" for none.
[[nodiscard]] Result<Prepared> prepare_code(const StartOrder& order, const std::string& models);

}  // namespace mayfly::instances
