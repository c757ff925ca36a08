// Takes samples out of a set for calibration, so that what a model is tuned on is not what it is judged by. Pure.
#pragma once
#include "gate/samples.h"

namespace mayfly::gate {

struct Parts {
  Samples calibration, rest;
  bool apart = false;  // false: the set is too small, and `rest` is all of it
};

// At most `most` samples, spread evenly over the set, since files are often sorted by class. They leave the rest only where that keeps
// `rest_least` samples; else they are of both.
[[nodiscard]] Parts split(const Samples& samples, std::uint64_t most, std::uint64_t rest_least);

}  // namespace mayfly::gate
