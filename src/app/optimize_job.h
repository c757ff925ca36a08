// The search that a node orders (control/node_optimize.cpp), in a sandbox of its own, which has no network and sees one model, its samples
// and a folder: `mayfly optimize` with the order's words. What it prints is its progress. One that was ended goes on in that folder.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/optimization.h"
#include "worker/engine.h"

namespace mayfly::app {

// A worker::OptimizeWork. The report as domain::parse_optimization_found reads it; of long lists in it the first few.
[[nodiscard]] Result<std::string> run_optimization(worker::Engine& engine, std::string_view job);

// Whether its recipes are such. invalid_argument.
[[nodiscard]] Result<void> check_optimization(const domain::OptimizationOrder& order);

}  // namespace mayfly::app
