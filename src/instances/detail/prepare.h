// What a sandbox for programs is made of and what its host is told, by its role: a function's code, an archive to unpack, a package
// whose dependencies are to be installed.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct Prepared {
  std::string binds;                              // lines of a SandboxOrder
  std::string order;                              // a domain::CodeOrder or domain::BuildOrder
  std::uint64_t output_max = 0;                   // bytes that it may write to the node's disk
  bool machine_network = false;                   // in place of one of its own
};

// models: the socket for calls of models, "" for none. debug: code starts with its language's debugger.
[[nodiscard]] Result<Prepared> prepare(const StartOrder& order, const std::string& models, bool debug = false);

}  // namespace mayfly::instances
