// Which tool of this machine installs what a package names, or builds it: pip of the function's interpreter, npm of its Node.js, Maven
// with its JDK, the go command. Found as interpreters are (instances/runtimes.h): nothing is run, and what is missing is named.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct BuildTool {
  std::string program, script = {};        // as domain::BuildOrder has them
  std::vector<std::string> folders = {};   // what of the machine it must see, at the same place
  std::string version = {};                // of what it makes, where another needs another build; "": it does not
};

// Of an order of role build. not_found: says which is missing and how to come by it.
[[nodiscard]] Result<BuildTool> find_build_tool(const StartOrder& order);

}  // namespace mayfly::instances
