// mayfly deploy --optimize.
#pragma once
#include "app/commands.h"

namespace mayfly::app {

// Deploys the original, which serves at once, and has the node search for a smaller one in the background; follows that where asked to.
[[nodiscard]] Result<void> deploy_optimized(const Context& context, const DeployOptions& deploy, const OptimizeOptions& optimize);

}  // namespace mayfly::app
