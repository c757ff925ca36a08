// The manifest's list `layers`: which layers its function has (domain/layer.h), each once, in order. What is written as an ARN becomes
// NAME:VERSION. Read by domain/manifest.cpp; whether a layer is there is not known here.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/detail/tree.h"

namespace mayfly::domain {

[[nodiscard]] Result<void> read_layers(const Tree& value, std::vector<std::string>& into);

}  // namespace mayfly::domain
