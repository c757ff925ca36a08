#include "app/optimize_candidate.h"

#include <algorithm>
#include <map>
#include <optional>

#include "app/client.h"
#include "optimize/calibration.h"
#include "optimize/fit_weights.h"
#include "optimize/model.h"
#include "optimize/recipe.h"
#include "optimize/static_int8.h"
#include "worker/calibrate.h"

namespace mayfly::app {
namespace {

constexpr std::size_t kLeftMax = 1000, kNotesMax = 100;

bool measures_step(const optimize::Step& step) { return step.name == optimize::kFitStep || optimize::calibration_of(step.name); }
bool quantises_step(const optimize::Step& step) {
  return step.name == "int8-dynamic" || step.name == "int8-weights" || measures_step(step);
}

bool any_of_steps(const std::string& text, bool (*is)(const optimize::Step&)) {
  const auto parsed = optimize::parse_recipe(text);
  return parsed && std::ranges::any_of(*parsed, is);
}

// Does the steps on a model, and collects what they say.
class Maker {
 public:
  Maker(worker::Engine& engine, const CandidateOrder& order) : engine_(engine), order_(order) {}

  Result<optimize::Applied> one(const optimize::Model& model, const optimize::Step& step, const std::set<std::string>& keep) {
    auto applied = applied_of(model, step, keep);
    if (!applied) return fail(applied.error().code, step.name + ": " + applied.error().message);
    return applied;
  }

  Result<std::string> make() {
    TRY(optimize::Model model, optimize::Model::read(order_.from));
    TRY(const auto steps, steps_of(order_.steps));
    Json left = Json::array(), notes = Json::array();
    int changed = 0;
    const auto first = std::ranges::find_if(steps, quantises_step);
    for (auto step_at = steps.begin(); step_at != steps.end(); ++step_at) {
      const optimize::Step& step = *step_at;
      TRY(auto applied, one(model, step, step_at == first ? order_.keep : std::set<std::string>{}));
      for (const optimize::Left& place : applied.left)
        if (left.size() < kLeftMax) left.push_back(step.name + " at '" + place.node + "': " + place.why);
      for (const std::string& note : applied.notes)
        if (notes.size() < kNotesMax) notes.push_back(step.name + ": " + note);
      changed += applied.changed;
      model = std::move(applied.model);
    }
    if (!steps.empty() && changed == 0)
      return fail(Code::unimplemented, "it changes nothing in this model" + (left.empty() ? "" : ": " + left[0].get<std::string>()));
    // Where the model does not run so, nothing is stated, and it is as quick as it was.
    if (const auto runs = worker::observe_shapes(engine_, model, order_.to + ".shapes.onnx")) optimize::state_shapes(model, *runs);
    TRY_VOID(model.write(order_.to));
    return Json{{"changed", changed}, {"left", std::move(left)}, {"notes", std::move(notes)}, {"parameters", model.parameters()}}.dump();
  }

  Result<std::string> sensitive() {
    TRY(const optimize::Model original, optimize::Model::read(order_.from));
    TRY(const auto steps, steps_of(order_.steps));
    const auto first = std::ranges::find_if(steps, quantises_step);
    if (first == steps.end()) return fail(Code::invalid_argument, "no step of '" + order_.steps + "' quantises layers");
    optimize::Model before = original.copy();
    for (auto step = steps.begin(); step != first; ++step) {
      TRY(auto applied, one(before, *step, {}));
      before = std::move(applied.model);
    }
    TRY(const auto all, one(before, *first, {}));
    if (all.done.size() < 2)
      return fail(Code::unimplemented, "'" + first->name + "' puts " + std::to_string(all.done.size()) +
                                           " of its layers into 8 bits: it takes two to keep one of them and gain anything");
    const auto quantised = [&](const std::set<std::string>& keep) -> Result<optimize::Model> {
      TRY(auto applied, one(before, *first, keep));
      return std::move(applied.model);
    };
    TRY(auto found, worker::sensitivity_of(engine_, before, all.done, quantised, order_.calibration,
                                                 {.scratch = order_.to + ".layer.onnx", .time_max = order_.measure_max}));
    // What most is won by for each byte comes first: the squares of errors add up, nearly.
    const auto worth = [&](const worker::Sensitivity& one) {
      std::uint64_t values = 1;
      for (const std::string& layer : one.layers) values += before.parameters_of(layer);
      return one.distance * one.distance / static_cast<double>(values);
    };
    std::ranges::stable_sort(found, std::ranges::greater(), worth);
    Json out = Json::array();
    for (const worker::Sensitivity& one : found) out.push_back({{"layers", one.layers}, {"distance", one.distance}});
    return out.dump();
  }

 private:
  static Result<std::vector<optimize::Step>> steps_of(const std::string& text) {
    if (text.empty()) return std::vector<optimize::Step>{};
    return optimize::parse_recipe(text);
  }

  Result<optimize::Applied> applied_of(const optimize::Model& model, const optimize::Step& step, const std::set<std::string>& keep) {
    if (step.name == optimize::kFitStep) return fitted_of(model, keep);
    const auto method = optimize::calibration_of(step.name);
    if (!method) return optimize::apply(model, step, keep);
    if (!calibrated_) {
      TRY(calibrated_, worker::calibrate(engine_, model, order_.calibration,
                                         {.method = *method, .scratch = order_.to + ".ranges.onnx", .time_max = order_.measure_max}));
    }
    const bool fits = step.name == optimize::kStaticFitStep;
    if (fits) TRY_VOID(measure(model, optimize::FitLayers::all));
    TRY(auto applied, optimize::quantise_static(model, calibrated_->ranges, keep, fits ? &measured_->moments : nullptr));
    applied.notes.push_back("ranges of " + std::to_string(calibrated_->ranges.size()) + " values, measured on " +
                            std::to_string(calibrated_->samples) + (order_.calibration.generated ? " made-up samples" : " samples"));
    return applied;
  }

  Result<optimize::Applied> fitted_of(const optimize::Model& model, const std::set<std::string>& keep) {
    TRY_VOID(measure(model, optimize::FitLayers::worth_storing));
    TRY(auto applied, optimize::fit_weights(model, measured_->moments, keep));
    applied.notes.push_back("inputs measured on " + std::to_string(measured_->samples) +
                            (order_.calibration.generated ? " made-up samples" : " samples"));
    return applied;
  }

  Result<void> measure(const optimize::Model& model, optimize::FitLayers layers) {
    if (measured_) return {};
    TRY(measured_, worker::measure_moments(engine_, model, order_.calibration,
                                           {.layers = layers, .scratch = order_.to + ".inputs.onnx", .time_max = order_.measure_max}));
    return {};
  }

  worker::Engine& engine_;
  const CandidateOrder& order_;
  std::optional<worker::Calibrated> calibrated_;
  std::optional<worker::Measured> measured_;
};

}  // namespace

bool quantises(const std::string& steps) {
  return any_of_steps(steps, quantises_step);
}

bool measures_samples(const std::string& steps) { return any_of_steps(steps, measures_step); }

Result<std::string> make_candidate(worker::Engine& engine, const CandidateOrder& order, const worker::ChildLimits& limits) {
  return worker::in_a_process([&] { return Maker(engine, order).make(); }, limits);
}

Result<std::string> find_sensitive(worker::Engine& engine, const CandidateOrder& order, const worker::ChildLimits& limits) {
  return worker::in_a_process([&] { return Maker(engine, order).sensitive(); }, limits);
}

Result<bool> is_convolutional(const std::string& path, const worker::ChildLimits& limits) {
  TRY(const std::string answer, worker::in_a_process([&]() -> Result<std::string> {
    TRY(const optimize::Model model, optimize::Model::read(path));
    return std::string(optimize::mostly_convolutions(model) ? "yes" : "no");
  }, limits));
  return answer == "yes";
}

}  // namespace mayfly::app
