// Makes one candidate of `mayfly optimize`: reads the model, does the steps of a recipe, writes the result; and, where the gate refuses
// a quantised one, measures which of its layers move the answers most. Each function works in a process of its own; what it did
// comes back as JSON. Driven by the search (app/optimize_search.h).
#pragma once
#include <set>
#include <string>

#include "base/time.h"
#include "gate/samples.h"
#include "worker/child_work.h"
#include "worker/engine.h"

namespace mayfly::app {

struct CandidateOrder {
  std::string from, steps, to;              // to: scratch files get names that begin with it
  std::set<std::string> keep;               // layers that the first quantising step leaves
  const gate::Samples& calibration;
  Duration measure_max = std::chrono::seconds(60);  // for ranges or sensitivities
};

// Whether `steps` has a step whose layers can be kept back one by one: int8-dynamic, int8-static or int8-weights.
[[nodiscard]] bool quantises(const std::string& steps);
// Whether it has one that samples are measured for, which should then not be compared on: int8-static or int8-weights:fit.
[[nodiscard]] bool measures_samples(const std::string& steps);

// {"changed", "left": ["STEP at 'NODE': why"], "notes", "parameters"}. Error unimplemented: the steps change nothing.
[[nodiscard]] Result<std::string> make_candidate(worker::Engine& engine, const CandidateOrder& order, const worker::ChildLimits& limits);

// [{"layers": [names], "distance"}], those first that are worth most for their size.
[[nodiscard]] Result<std::string> find_sensitive(worker::Engine& engine, const CandidateOrder& order, const worker::ChildLimits& limits);

[[nodiscard]] Result<bool> is_convolutional(const std::string& path, const worker::ChildLimits& limits);

}  // namespace mayfly::app
