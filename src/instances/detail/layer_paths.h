// Where the programs of a function with layers look for what these hold: as AWS Lambda's runtimes are told, by the variables of its
// environment. What the user's own environment says comes first; the package in /var/task is before all of it. Pure.
#pragma once
#include <string_view>

#include "domain/code_order.h"

namespace mayfly::instances {

constexpr const char* kLayersFolder = "/opt";

// runtime, handler: the manifest's. Java's class path is among the order's arguments already.
void add_layer_paths(domain::CodeOrder& code, std::string_view runtime, std::string_view handler);

}  // namespace mayfly::instances
