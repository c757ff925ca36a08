// Optimises a model for this CPU and writes it as one flat file, which is mapped and used in place.
#pragma once
#include <string>

#include "base/result.h"
#include "worker/model.h"

namespace mayfly::worker {

// To `path`, where nothing is yet; files that it makes beside it, under names that begin with it, are gone afterwards.
//
// Where a model does not state the shapes that let the engine join sums and normalisations, they are observed and stated first
// (optimize/summands.h), but not in models over 1 GiB or with weights in files of their own.
//
// Where weights are only stored in 8 bits, and computed with in 32, there are two ways: they stay so, and each run turns them back, or uses
// what kernels the engine has for them; or they are floats in the flat file, which is up to four times as large. Which is quicker depends
// on the processor and on the layers, so both are made and run; floats must win by a quarter. Models over 64 MiB keep them stored.
[[nodiscard]] Result<void> save_compiled(Engine& engine, const ModelData& data, const std::string& path);

}  // namespace mayfly::worker
