// The search of `mayfly optimize` without its first and last words: for the command (app/optimize.cpp), for the node's process
// (app/optimize_job.h) and for the deploy that orders one (app/deploy_optimized.cpp).
#pragma once
#include "app/commands.h"
#include "app/optimize_report.h"
#include "gate/samples.h"
#include "worker/engine.h"

namespace mayfly::app {

// "1%", "0.01": at most `most`. Error invalid_argument names the option.
[[nodiscard]] Result<double> share_of(const std::string& text, const char* option, double most);
[[nodiscard]] Result<void> check_optimize(const OptimizeOptions& options);  // of what was typed alone
// What --data names, as the model is given it.
[[nodiscard]] Result<gate::Samples> read_given_samples(const Context& context, const OptimizeOptions& options);
// The report; the best of it is written, if one passed, and `chosen`.
[[nodiscard]] Result<OptimizeReport> find_optimized(const Context& context, const OptimizeOptions& options);
// … of what has been checked.
[[nodiscard]] Result<OptimizeReport> find_optimized(worker::Engine& engine, const Context& context, const OptimizeOptions& options);

}  // namespace mayfly::app
