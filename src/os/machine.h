// The machine that this process runs on: memory, processors, limits. Read once at the start.
#pragma once
#include "base/units.h"

namespace mayfly::os {

[[nodiscard]] Bytes machine_memory();
// Processors that this process may use; at least 1. Asks by one system call: it works inside a sandbox too.
[[nodiscard]] int usable_cores();
// As many open descriptors as this process may have.
void raise_descriptor_limit();

}  // namespace mayfly::os
