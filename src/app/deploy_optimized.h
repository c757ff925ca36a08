// mayfly deploy --optimize, and the part of `mayfly optimize` that it shares: the search without its last words.
#pragma once
#include "app/commands.h"
#include "app/optimize_report.h"

namespace mayfly::app {

// "1%", "0.01": at most `most`. Error invalid_argument names the option.
[[nodiscard]] Result<double> share_of(const std::string& text, const char* option, double most);
[[nodiscard]] Result<void> check_optimize(const OptimizeOptions& options);  // of what was typed alone
// The report; the best of it is written, if one passed, and `chosen`.
[[nodiscard]] Result<OptimizeReport> find_optimized(const Context& context, const OptimizeOptions& options);

// Deploys the original, which serves at once; then what was found of it, as a version beside it.
[[nodiscard]] Result<void> deploy_optimized(const Context& context, const DeployOptions& deploy, const OptimizeOptions& optimize);

}  // namespace mayfly::app
