// How a function that serves HTTP is started: its runtime's name and handler to a command, as inside the sandbox. For `http` that
// is the manifest's own; the others name what their cloud would run: Google's Functions Framework of a language, which lies in
// the package, or an Azure Functions custom handler, which only the sandbox looks for, because its host.json is a user's.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct HttpProgram {
  std::vector<std::string> arguments;    // the program first, absolute
  std::vector<std::string> folders;      // bound read-only at the same place
  std::vector<std::string> environment;  // "NAME=value", what the contract says beyond PORT
};

// not_found: says which program is missing. `path` and `home` as for find_runtime().
[[nodiscard]] Result<HttpProgram> find_http_program(const StartOrder& order, std::string_view path, std::string_view home);

// The same of a container, whichever contract it speaks: nothing of the machine's; the program may be a name. The handler, if there is
// one, is the arguments instead of the image's command.
[[nodiscard]] HttpProgram container_program(const StartOrder& order);

}  // namespace mayfly::instances
