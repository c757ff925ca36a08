// int8-weights:fit: weights stored in 8 bits, as int8-weights does it, but chosen so that what the layers compute changes least on samples.
//
// Two things are done by what the inputs of each layer were like (optimize/moments.h). The weights of a row are rounded one after the
// other, and the later ones make up for the errors of the former (GPTQ: Frantar et al., 2022). What error is left in the mean is taken off
// the layer's bias (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019). Of the nearest numbers
// alone the errors of a layer's weights add up wherever inputs are far from 0, as they are behind a Relu.
// Pure: no engine, no file; worker/calibrate.h measures.
#pragma once
#include <set>
#include <string>

#include "optimize/moments.h"
#include "optimize/recipe.h"

namespace mayfly::optimize {

inline constexpr std::string_view kFitStep = "int8-weights:fit";

// A layer without moments is rounded to the nearest, as by int8-weights; a note says how many were fitted. Those in `keep` stay.
// Error invalid_argument: an opset below 13.
[[nodiscard]] Result<Applied> fit_weights(const Model& model, const AllMoments& moments, const std::set<std::string>& keep = {});

}  // namespace mayfly::optimize
