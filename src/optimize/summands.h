// The values that a sum before a normalisation adds: the engine makes one node of both (SkipLayerNormalization) where the model states that
// the summands have one shape, and only there; its normalisation alone takes three times as long. Exporters mostly state shapes, not all
// do, and no shape is found by rules alone where the model computes it. So whoever has an engine runs the model at several sizes and shows
// what was seen (worker/calibrate.h); here it becomes a statement of the model, ONNX's value_info. Pure: no engine, no file.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "optimize/model.h"

namespace mayfly::optimize {

// Summands of Add nodes whose sum only LayerNormalization takes, or what older exporters write for it, and that the model states no
// shape of; each once, in the graph's order. None where what is seen in a few runs need not hold in others: where inputs have more free
// dimensions than one for rows, the first of their shapes, and one of another name; with branches and loops; and with nodes whose
// results' sizes depend on values, as NonZero's.
[[nodiscard]] std::vector<std::string> summands_to_observe(const Model& model);

// A run: the sizes of the free dimensions, and what shapes the values had.
struct ShapesSeen {
  std::int64_t rows = 0, size = 0;
  std::map<std::string, std::vector<std::int64_t>> shapes;
};

// States the shapes of values of three dimensions, each of which is the rows, the size, or the same number in all runs. Of other values, of
// outputs, and of those that a run has not seen, it says nothing. It takes one run, another with other rows where they are free, and
// another with another size where that is. Returns how many values it states the shape of.
int state_shapes(Model& model, const std::vector<ShapesSeen>& runs);

}  // namespace mayfly::optimize
