// Runs a model that is being optimised to see its values: the ranges of its activations (for static int8), what its layers' inputs are like
// (for weights that fit them), and how far its answers move when some layers are quantised (to find the sensitive ones). Loads the engine's
// model in the calling process, which is therefore a child of the command (worker/child_work.h). Bounded in samples, in time, and in how
// many values are watched at once.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "gate/samples.h"
#include "optimize/calibration.h"
#include "optimize/moments.h"
#include "optimize/summands.h"
#include "worker/engine.h"

namespace mayfly::worker {

struct CalibrateOptions {
  optimize::Calibration method = optimize::Calibration::min_max;             // of calibrate()
  optimize::FitLayers layers = optimize::FitLayers::worth_storing;           // of measure_moments()
  std::string scratch;                              // a path for models that are run, written and removed
  Duration time_max = std::chrono::seconds(60);     // afterwards fewer samples have to do
};

struct Calibrated {
  optimize::Ranges ranges;
  std::uint64_t samples = 0;  // that each range comes from, at least
};

// Ranges of what optimize::tensors_to_measure() names, over the samples. Error: what the engine says where the model does not run.
[[nodiscard]] Result<Calibrated> calibrate(Engine& engine, const optimize::Model& model, const gate::Samples& samples,
                                           const CalibrateOptions& options);

struct Measured {
  optimize::AllMoments moments;
  std::uint64_t samples = 0;  // that each comes from, at least
};

// Moments of what optimize::inputs_to_fit() names, over the samples.
[[nodiscard]] Result<Measured> measure_moments(Engine& engine, const optimize::Model& model, const gate::Samples& samples,
                                               const CalibrateOptions& options);

// The shapes of what optimize::summands_to_observe() names, in up to three runs on made-up input; none where it names nothing, or where the
// model has more than `size_max` bytes: the engine would hold it once more. `scratch` as above. Error: what the engine says where the model
// does not run with 2 and 3 rows, or with a size and the next.
[[nodiscard]] Result<std::vector<optimize::ShapesSeen>> observe_shapes(Engine& engine, const optimize::Model& model,
                                                                       const std::string& scratch,
                                                                       std::uint64_t size_max = optimize::kInlineBytesMax);

struct Sensitivity {
  std::vector<std::string> layers;  // one, or neighbours where there are more layers than are tried
  double distance = 0;              // of the answers, when these alone are quantised: |difference| / |original|
};

struct SensitivityOptions {
  std::string scratch;
  Duration time_max = std::chrono::seconds(60);  // groups that it does not suffice for are left out
  std::size_t tries_max = 48;                    // groups
  std::uint64_t samples_max = 8;
};

// `quantised(keep)` makes the candidate in which the layers of `keep` stay. The worst first.
[[nodiscard]] Result<std::vector<Sensitivity>> sensitivity_of(
    Engine& engine, const optimize::Model& original, const std::vector<std::string>& layers,
    const std::function<Result<optimize::Model>(const std::set<std::string>& keep)>& quantised, const gate::Samples& samples,
    const SensitivityOptions& options);

}  // namespace mayfly::worker
