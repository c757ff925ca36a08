// Reads a sample set for `mayfly optimize --data`: an .npz with an array for each input (and `label`), a single .npy, a .csv, or a folder
// of pictures. Reads the disk, all of it into memory, at most 1 GiB; what is in it is checked by gate/samples.h against what the model
// takes.
#pragma once
#include <string>

#include "app/optimize_pictures.h"
#include "base/result.h"
#include "domain/tensor.h"
#include "gate/samples.h"

namespace mayfly::app {

// Error: not_found, or invalid_argument with what is wrong and what would be right.
[[nodiscard]] Result<gate::Samples> read_samples(const std::string& path, const domain::Signature& signature,
                                                 const PictureOptions& pictures);

}  // namespace mayfly::app
