// Static int8: the ranges of activations are measured beforehand, by whoever has an engine and samples; here they become a model.
//
// In the QDQ form that engines fuse to 8-bit kernels: each measured value is quantised to uint8 where it is made and turned back
// where it is used; weights of Conv, MatMul and Gemm are int8, a scale for each column or filter; their biases int32.
// This is what makes convolutions fast; the graph needs opset 13. Pure: no engine, no file.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "optimize/moments.h"
#include "optimize/recipe.h"

namespace mayfly::optimize {

struct Range {
  float least = 0, most = 0;  // that the value takes; 0 is always put within
};
using Ranges = std::map<std::string, Range>;

// The values whose ranges quantise_static() uses, each once, in the graph's order. Whoever measures adds them as outputs.
[[nodiscard]] std::vector<std::string> tensors_to_measure(const Model& model);

// A layer with a value that has no range stays as it is, and Applied::left says so; so do those in `keep`.
// Error invalid_argument: a range that is no range, or an opset below 13.
// With `moments` of inputs_to_fit(model, FitLayers::all) the weights fit the samples, as optimize/fit_weights.h says, in whole numbers up
// to 63: processors without VNNI add two products with 255 in 16 bits, which larger ones overflow, and then answers are wrong by far more
// than the bit that is lost.
[[nodiscard]] Result<Applied> quantise_static(const Model& model, const Ranges& ranges, const std::set<std::string>& keep = {},
                                              const AllMoments* moments = nullptr);

// The model with these values as further outputs, for whoever measures. Error invalid_argument: a name that no node makes.
[[nodiscard]] Result<Model> with_outputs(const Model& model, const std::vector<std::string>& names);

// Whether most of the weights that could be 8 bits are convolutions': then static int8 is what gains, else dynamic.
[[nodiscard]] bool mostly_convolutions(const Model& model);

}  // namespace mayfly::optimize
