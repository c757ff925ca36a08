// The manifest's `optimize`: as an order of a client is (domain/optimization.h), or its recipe alone. Read by domain/manifest.cpp.
#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "domain/detail/tree.h"
#include "domain/optimization.h"

namespace mayfly::domain {

[[nodiscard]] Result<void> read_optimize(const Tree& value, std::optional<OptimizationOrder>& into);
[[nodiscard]] std::string to_manifest(const OptimizationOrder& order);  // JSON that read_optimize reads

}  // namespace mayfly::domain
