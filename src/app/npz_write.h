// Writes arrays as an .npz, numpy's zip of .npy files, which numpy.load, and --data of `mayfly optimize`, read. Not compressed, as
// numpy.savez does.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "gate/samples.h"

namespace mayfly::app {

// Appears whole, by a rename; readable by its owner alone, as samples may be anybody's. What was there is replaced.
[[nodiscard]] Result<void> write_npz(const std::string& path, const std::vector<gate::Array>& arrays);

// The inputs, and `label` where labels are known: whole numbers where all are, else texts.
[[nodiscard]] Result<void> write_samples(const std::string& path, const gate::Samples& samples);

}  // namespace mayfly::app
