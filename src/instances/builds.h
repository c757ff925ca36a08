// How a package's dependencies are installed on this machine: the tool, and what of the machine a build may see. That is the tool and
// its interpreter, how names are resolved, and how registries are reached: the configuration of the node's own user, since a company's
// mirror, its proxy and its certificates stand there. Nothing else of the node's environment.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/build.h"
#include "instances/launcher.h"

namespace mayfly::instances {

struct Build {
  domain::BuildOrder order;
  std::vector<std::string> shown;   // files and folders of the machine, at the same place
};

// Of an order of role build. not_found: says which tool is missing and how to come by it.
[[nodiscard]] Result<Build> plan_build(const StartOrder& order);

// What runs the tool, as a text that changes with it: what was installed by one need not fit the other.
[[nodiscard]] Result<std::string> builder_of(const StartOrder& order);

// Of the node's own environment; "" where it is not there.
[[nodiscard]] std::string environment_value(const char* name);

}  // namespace mayfly::instances
