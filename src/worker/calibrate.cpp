#include "worker/calibrate.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "os/clock.h"
#include "worker/detail/sample_input.h"
#include "worker/made_up.h"
#include "worker/model.h"
#include "worker/trial.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kWatchedMax = 64;  // values at once: their memory is held during a run
constexpr std::uint64_t kSamplesMin = 4;
constexpr Duration kNoEnd = std::chrono::hours(24);  // the process that this is in has its own

// A model that is run from a file of its own, which is gone afterwards.
class Scratch {
 public:
  static Result<Scratch> load(Engine& engine, const optimize::Model& model, const std::string& path) {
    Scratch made(path);
    TRY_VOID(model.write(path));
    TRY_VOID(made.open(engine, {}));
    return made;
  }
  // With these values as further outputs; the copy of the model that it takes is gone before the engine makes its own.
  static Result<Scratch> watching(Engine& engine, const optimize::Model& model, const std::vector<std::string>& names,
                                  const std::string& path, const LoadOptions& load = {}) {
    Scratch made(path);
    {
      TRY(const optimize::Model watched, optimize::with_outputs(model, names));
      TRY_VOID(watched.write(path));
    }
    TRY_VOID(made.open(engine, load));
    return made;
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})), model_(std::move(other.model_)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    if (!path_.empty()) ::unlink(path_.c_str()), ::unlink((path_ + ".data").c_str());
  }
  Model& model() { return *model_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  Result<void> open(Engine& engine, const LoadOptions& load) {
    TRY(ModelData data, map_model(path_));
    TRY(model_, Model::load(engine, std::move(data), load));
    return {};
  }
  std::string path_;
  std::unique_ptr<Model> model_;
};

std::vector<float> floats_of(std::span<const std::byte> data) {
  std::vector<float> values(data.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), data.data(), values.size() * sizeof(float));
  return values;
}

using Sees = std::function<void(const std::string& name, std::span<const float> values, std::span<const std::int64_t> shape)>;

// Each sample once: how many there were time for. All float values that the model takes and gives are shown.
Result<std::uint64_t> run_over(Model& model, const gate::Samples& samples, Instant end, const Sees& sees) {
  const auto rows = static_cast<std::uint64_t>(samples.rows);
  std::uint64_t done = 0;
  for (; done < samples.count && (done < kSamplesMin || os::monotonic_now() < end); ++done) {
    const SampleInput input(samples, done, rows);
    const auto ran = model.run(input.views);
    if (!ran) return fail(ran.error().code, "sample " + std::to_string(done) + " does not run: " + ran.error().message);
    const auto& signature = model.signature();
    for (std::size_t i = 0; i < input.views.size(); ++i)
      if (signature.inputs[i].datatype == domain::Datatype::fp32)
        sees(signature.inputs[i].name, floats_of(input.views[i].data), input.views[i].shape);
    for (std::size_t o = 0; o < ran->size(); ++o)
      if (signature.outputs[o].datatype == domain::Datatype::fp32)
        sees(signature.outputs[o].name, floats_of((*ran)[o].data), (*ran)[o].shape);
  }
  return done;
}

// The names in groups of those that are watched at once.
std::vector<std::vector<std::string>> groups_of(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> groups;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i % kWatchedMax == 0) groups.emplace_back();
    groups.back().push_back(names[i]);
  }
  return groups;
}

// One run, and another for each kind of free dimension, with the next size of it: what is rounded up to a multiple is then seen to be.
std::vector<optimize::ShapesSeen> runs_of(const domain::Signature& signature, std::int64_t size) {
  bool rows_free = false, others_free = false;
  for (const domain::TensorSpec& spec : signature.inputs)
    for (std::size_t i = 0; i < spec.shape.size(); ++i) (i == 0 ? rows_free : others_free) |= spec.shape[i] < 0;
  std::vector<optimize::ShapesSeen> runs = {{.rows = 2, .size = size, .shapes = {}}};
  if (rows_free) runs.push_back({.rows = 3, .size = size, .shapes = {}});
  if (others_free) runs.push_back({.rows = 2, .size = size + 1, .shapes = {}});
  return runs;
}

Result<std::vector<float>> answers_of(Model& model, const gate::Samples& samples) {
  std::set<std::string> outputs;
  for (const auto& spec : model.signature().outputs) outputs.insert(spec.name);
  std::vector<float> all;
  TRY_VOID(run_over(model, samples, os::monotonic_now() + kNoEnd, [&](const std::string& name, std::span<const float> values, auto) {
    if (outputs.contains(name)) all.insert(all.end(), values.begin(), values.end());
  }));
  return all;
}

double distance_of(const std::vector<float>& original, const std::vector<float>& candidate) {
  double difference = 0, whole = 0;
  if (original.size() != candidate.size()) return std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < original.size(); ++i) {
    const auto a = static_cast<double>(original[i]), b = static_cast<double>(candidate[i]);
    difference += (a - b) * (a - b), whole += a * a;
  }
  const double distance = std::sqrt(difference / std::max(whole, 1e-30));
  return std::isfinite(distance) ? distance : std::numeric_limits<double>::max();
}

}  // namespace

Result<Calibrated> calibrate(Engine& engine, const optimize::Model& model, const gate::Samples& samples, const CalibrateOptions& options) {
  if (samples.count == 0) return fail(Code::invalid_argument, "there are no samples to measure ranges on: give some with --data");
  const auto groups = groups_of(optimize::tensors_to_measure(model));
  const int passes = options.method == optimize::Calibration::min_max ? 1 : 2;
  Calibrated out{.samples = samples.count};
  for (const std::vector<std::string>& group : groups) {
    TRY(Scratch run, Scratch::watching(engine, model, group, options.scratch));
    std::map<std::string, optimize::Observed> observed;
    for (const std::string& name : group) observed[name];
    gate::Samples some = samples;
    for (int pass = 0; pass < passes; ++pass) {
      // The second pass goes over what the first has seen, however long it takes.
      const auto share = options.time_max / static_cast<int>(groups.size()) / passes;
      const Instant end = pass == 0 ? os::monotonic_now() + share : os::monotonic_now() + kNoEnd;
      TRY(some.count, run_over(run.model(), some, end, [&](const std::string& name, std::span<const float> values, auto) {
        const auto found = observed.find(name);
        if (found == observed.end()) return;
        if (pass == 0) found->second.look(values);
        else found->second.count(values);
      }));
      out.samples = std::min(out.samples, some.count);
    }
    for (const auto& [name, one] : observed)
      if (const auto range = one.range(options.method)) out.ranges[name] = *range;
  }
  return out;
}

Result<Measured> measure_moments(Engine& engine, const optimize::Model& model, const gate::Samples& samples,
                                 const CalibrateOptions& options) {
  if (samples.count == 0) return fail(Code::invalid_argument, "there are no samples to fit weights to: give some with --data");
  std::map<std::string, std::vector<optimize::Moments*>> by_value;
  Measured out{.samples = samples.count};
  std::vector<std::string> names;
  for (const optimize::FitInput& input : optimize::inputs_to_fit(model, options.layers)) {
    auto& users = by_value[input.value];
    if (users.empty()) names.push_back(input.value);
    users.push_back(&out.moments.try_emplace(input.key, input.patches).first->second);
  }
  const auto groups = groups_of(names);
  for (const std::vector<std::string>& group : groups) {
    TRY(Scratch run, Scratch::watching(engine, model, group, options.scratch));
    const std::set<std::string> here(group.begin(), group.end());
    const Instant end = os::monotonic_now() + options.time_max / static_cast<int>(groups.size());
    TRY(const std::uint64_t seen, run_over(run.model(), samples, end, [&](const std::string& name, auto values, auto shape) {
      if (!here.contains(name)) return;
      for (optimize::Moments* one : by_value.at(name)) one->look(values, shape);
    }));
    out.samples = std::min(out.samples, seen);
  }
  return out;
}

Result<std::vector<optimize::ShapesSeen>> observe_shapes(Engine& engine, const optimize::Model& model, const std::string& scratch,
                                                         std::uint64_t size_max) {
  std::vector<optimize::ShapesSeen> runs;
  if (model.size() > size_max) return runs;
  for (const std::vector<std::string>& group : groups_of(optimize::summands_to_observe(model))) {
    TRY(Scratch run, Scratch::watching(engine, model, group, scratch, {.pack_weights = false, .optimise = Optimise::nothing}));
    const domain::Signature& signature = run.model().signature();
    if (runs.empty()) {
      TRY(const std::int64_t size, find_size(run.model()));
      runs = runs_of(signature, size);
    }
    for (optimize::ShapesSeen& seen : runs) {
      TRY(const MadeUpInput input, MadeUpInput::make(signature, 0, seen.rows, seen.size));
      TRY(const auto outputs, run.model().run(input.tensors()));
      for (std::size_t i = 0; i < outputs.size(); ++i) seen.shapes[signature.outputs[i].name] = outputs[i].shape;
    }
  }
  return runs;
}

Result<std::vector<Sensitivity>> sensitivity_of(
    Engine& engine, const optimize::Model& original, const std::vector<std::string>& layers,
    const std::function<Result<optimize::Model>(const std::set<std::string>& keep)>& quantised, const gate::Samples& samples,
    const SensitivityOptions& options) {
  const Instant end = os::monotonic_now() + options.time_max;
  gate::Samples few = samples;
  few.count = std::min(few.count, options.samples_max);
  TRY(Scratch first, Scratch::load(engine, original, options.scratch));
  TRY(const std::vector<float> right, answers_of(first.model(), few));
  std::vector<Sensitivity> out;
  const std::size_t tries = std::min(layers.size(), options.tries_max);
  for (std::size_t i = 0; i < tries && os::monotonic_now() < end; ++i) {
    const auto begin = layers.begin() + static_cast<std::ptrdiff_t>(i * layers.size() / tries);
    const auto last = layers.begin() + static_cast<std::ptrdiff_t>((i + 1) * layers.size() / tries);
    Sensitivity one{.layers = {begin, last}};
    std::set<std::string> keep(layers.begin(), layers.end());
    for (const std::string& layer : one.layers) keep.erase(layer);
    TRY(const optimize::Model model, quantised(keep));
    TRY(Scratch run, Scratch::load(engine, model, options.scratch));
    TRY(const std::vector<float> answers, answers_of(run.model(), few));
    one.distance = distance_of(right, answers);
    out.push_back(std::move(one));
  }
  std::ranges::stable_sort(out, std::ranges::greater(), &Sensitivity::distance);
  return out;
}

}  // namespace mayfly::worker
