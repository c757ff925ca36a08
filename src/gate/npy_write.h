// Writes numpy's .npy form, version 1.0, which numpy.load and gate/npy.h read. BF16, which numpy has no name for, becomes FP32, which
// holds all its values; texts become `S`, bytes of the length of the longest.
#pragma once
#include <string>

#include "base/result.h"
#include "gate/array.h"

namespace mayfly::gate {

// Error exhausted: texts that take more than 1 GiB when all are as long as the longest.
[[nodiscard]] Result<std::string> to_npy(const Array& array);

}  // namespace mayfly::gate
