// Which program of this machine runs a function's code, and what of the machine it must see: a runtime's name, as Lambda
// has them, to a command and the folders that are bound into the sandbox.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::instances {

struct Runtime {
  std::string program;                     // absolute, as inside the sandbox; what is behind it is the worker's
  std::vector<std::string> folders;        // bound read-only at the same place
};

// "python3.11": the interpreter of this name on `path` (as PATH), in /usr/bin, or of pyenv below `home`; scripts in its place,
// like pyenv's shims, are passed over. "provided…": the function's own /var/task/bootstrap.
// not_found: says which is missing and which are there.
[[nodiscard]] bool is_program(const std::filesystem::path& file);  // for this machine to run: no script
[[nodiscard]] Result<Runtime> find_runtime(std::string_view name, std::string_view path, std::string_view home);

}  // namespace mayfly::instances
