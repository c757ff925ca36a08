#include "app/optimize_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "app/optimize_candidate.h"
#include "control/price.h"
#include "domain/json.h"
#include "optimize/recipe.h"
#include "os/clock.h"
#include "os/disk.h"
#include "worker/child_work.h"

namespace mayfly::app {
namespace {

constexpr std::string_view kCompile = "compile", kKeep = "keep", kNoChange = "no change";
constexpr std::size_t kFollowedMax = 2;
constexpr Duration kAnswersMax = std::chrono::seconds(60);

worker::ChildLimits limits_of(const SearchPlan& plan) {
  return {.time_max = std::max(plan.end - os::monotonic_now(), Duration(std::chrono::seconds(1))), .stops = plan.stops};
}

worker::TrialOptions trial_options(const SearchPlan& plan, bool compiled) {
  const Duration left = plan.end - os::monotonic_now();
  return {
      .compiled = compiled, .answers_max = std::clamp(left / 6, Duration(std::chrono::seconds(1)), kAnswersMax), .limits = limits_of(plan)};
}

std::uint64_t file_size(const std::string& path) {
  const auto status = os::file_status(path);
  return status ? status->size.count : 0;
}

double cost_of_million(const worker::Trial& trial) {
  const double gb_seconds = static_cast<double>(trial.memory) / control::kBytesPerGb * to_seconds(trial.one.p50) * 1e6;
  return control::cost_of(control::PriceTable{}, gb_seconds, 1e6);
}

class Search {
 public:
  Search(worker::Engine& engine, const SearchPlan& plan, const gate::Samples& samples, OptimizeWork& work, OptimizeReport& report)
      : engine_(engine), plan_(plan), samples_(samples), work_(work), report_(report) {}

  Result<void> original() {
    plan_.says("measuring the original");
    OptimizeRow row{.recipe = "original", .gate = "original"};
    TRY(const auto data, worker::map_model(plan_.model));
    row.size = data.size();
    auto trial = worker::try_model(engine_, plan_.model, samples_, trial_options(plan_, false));
    if (!trial && trial.error().code == Code::deadline_exceeded)
      return fail(Code::deadline_exceeded, "measuring the original: " + trial.error().message + ": give more by --time-max");
    TRY(row.trial, std::move(trial));
    answers_ = std::move(row.trial.outputs);
    row.trial.outputs = {};
    row.cost = cost_of_million(row.trial);
    report_.samples = answers_.samples.size();
    // A set that is wrong is wrong for every candidate: said before any is made.
    const auto same = gate::judge(answers_, answers_, samples_.labels, plan_.limits);
    if (!same && !samples_.preparation.empty())
      return fail(same.error().code, same.error().message +
                                         " Or does the model take pictures that are prepared in another way than these (" +
                                         samples_.preparation + ")? --pictures says how.");
    if (!same) return fail(same.error());
    row.comparisons = same->comparisons;
    note_guessing(row.comparisons[0]);
    add(std::move(row));
    return {};
  }

  Result<void> candidate(const OptimizeRecipe& recipe) {
    const auto& done = work_.done();
    if (const auto before = std::ranges::find(done, recipe.text, &OptimizeRow::recipe);
        before != done.end() && (!before->passed() || os::is_there(work_.model_of(recipe.text)))) {
      add(*before);
      return {};
    }
    OptimizeRow row{.recipe = recipe.text, .gate = "error"};
    const auto tried = attempt(recipe, row);
    if (!tried) {
      if (tried.error().code == Code::cancelled) return fail(tried.error());
      if (row.gate != kNoChange) row.gate = "error";
      row.why = tried.error().message;
    }
    if (!row.passed()) work_.forget_files(recipe.text);  // and with them the space that they took
    // Without a place to keep it, a later run measures it again, and this one goes on.
    if (tried || tried.error().code != Code::exhausted) [[maybe_unused]] const auto kept = work_.keep(row);
    add(std::move(row));
    return {};
  }

 private:
  void add(OptimizeRow row) {
    plan_.found(row);
    report_.rows.push_back(std::move(row));
  }

  CandidateOrder order_of(const OptimizeRecipe& recipe, std::set<std::string> keep) const {
    const Duration left = plan_.end - os::monotonic_now();
    return {.from = plan_.model, .steps = recipe.steps, .to = work_.model_of(recipe.text), .keep = std::move(keep),
            .calibration = plan_.calibration ? *plan_.calibration : samples_,
            .measure_max = std::clamp(left / 4, Duration(std::chrono::seconds(1)), kAnswersMax)};
  }

  // No proof, where one class is most of the samples, but of pictures so often a wrong preparation that it is said.
  void note_guessing(const gate::Comparison& seen) {
    if (samples_.preparation.empty() || samples_.labels.empty()) return;
    std::map<std::string, std::uint64_t> counts;
    std::uint64_t most = 0;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(seen.rows, samples_.labels.size()); ++i)
      most = std::max(most, ++counts[samples_.labels[i]]);
    const auto right = static_cast<std::uint64_t>(std::lround(seen.original * static_cast<double>(seen.rows)));
    if (counts.size() < 2 || gate::share_interval(right, seen.rows).low > static_cast<double>(most) / static_cast<double>(seen.rows))
      return;
    plan_.notes(
        "the original gets " + std::to_string(right) + " of " + std::to_string(seen.rows) +
        " labels right, no more often than if it always gave the same answer: does the model take pictures that are prepared in another "
        "way (these: " +
        samples_.preparation + "; --pictures says how), or classes in another order (labels.txt names them)?");
  }

  Result<void> attempt(const OptimizeRecipe& recipe, OptimizeRow& row) {
    TRY(const std::string folder, work_.folder_of(recipe.text));
    if (!recipe.keep) return attempt_one(recipe, {}, row);
    // The whole first, unless it has failed before.
    const std::string plain = recipe.steps + (recipe.compile ? "," + std::string(kCompile) : "");
    const auto before = std::ranges::find(report_.rows, plain, &OptimizeRow::recipe);
    if (before == report_.rows.end() || before->gate != "failed") {
      TRY_VOID(attempt_one(recipe, {}, row));
      if (row.gate != "failed") return {};
    }
    plan_.says(recipe.text + ": looking for the layers that hurt");
    TRY(const std::string found, find_sensitive(engine_, order_of(recipe, {}), limits_of(plan_)));
    const Json layers = domain::parse_json<Json>(found);
    if (!layers.is_array() || layers.size() < 2) return fail(Code::exhausted, "there was no time to find out which layers hurt");
    return keep_the_worst(recipe, layers, row);
  }

  // 1, 2, 4, ... of those that come first stay out of 8 bits, until the gate passes or little is gained any more.
  Result<void> keep_the_worst(const OptimizeRecipe& recipe, const Json& layers, OptimizeRow& row) {
    constexpr double kGainLeast = 0.9;
    const double original = static_cast<double>(report_.rows[0].size);
    for (std::size_t count = 1; count < layers.size(); count *= 2) {
      if (count > 1 && os::monotonic_now() >= plan_.end) break;
      std::set<std::string> keep;
      row = {.recipe = row.recipe, .gate = "error"};
      for (std::size_t i = 0; i < count; ++i)
        for (const Json& layer : layers[i]["layers"]) {
          keep.insert(layer.get<std::string>());
          row.kept.push_back(layer.get<std::string>() + ": 8 bits in " + (layers[i]["layers"].size() > 1 ? "its group" : "it") +
                             " alone move the answers by " + form("%.3g", 100 * layers[i]["distance"].get<double>()) + " %");
        }
      TRY_VOID(attempt_one(recipe, keep, row));
      if (row.gate != "failed") return {};
      if (static_cast<double>(row.size) > kGainLeast * original) break;
    }
    row.why += "; with " + std::to_string(row.kept.size()) + " layers kept out of 8 bits it still fails, and more would gain little";
    return {};
  }

  Result<void> attempt_one(const OptimizeRecipe& recipe, const std::set<std::string>& keep, OptimizeRow& row) {
    const std::string model = work_.model_of(recipe.text), compiled = work_.compiled_of(recipe.text);
    const std::string what = recipe.text + (keep.empty() ? "" : " (" + std::to_string(keep.size()) + " layers kept)");
    plan_.says(what + ": making it");
    const auto made = make_candidate(engine_, order_of(recipe, keep), limits_of(plan_));
    if (!made) {
      if (made.error().code == Code::unimplemented) row.gate = kNoChange;
      return fail(made.error());
    }
    const Json facts = domain::parse_json<Json>(*made);
    row.changed = facts.value("changed", 0);
    row.parameters = facts.value("parameters", std::uint64_t{0});
    for (const Json& place : facts.value("left", Json::array())) row.left.push_back(place.get<std::string>());
    for (const Json& note : facts.value("notes", Json::array())) row.notes.push_back(note.get<std::string>());
    row.size = file_size(model) + file_size(model + ".data");
    if (recipe.compile) {
      plan_.says(what + ": compiling it");
      TRY_VOID(worker::compile_to(engine_, model, compiled, limits_of(plan_)));
      row.artifact = file_size(compiled);
    }
    plan_.says(what + ": measuring it");
    TRY(row.trial, worker::try_model(engine_, recipe.compile ? compiled : model, samples_, trial_options(plan_, recipe.compile)));
    const gate::Outputs answers = std::move(row.trial.outputs);
    row.trial.outputs = {};
    row.cost = cost_of_million(row.trial);
    TRY(auto judgement, gate::judge(answers_, answers, samples_.labels, plan_.limits));
    row.gate = gate::name(judgement.verdict);
    row.why = judgement.why;
    row.comparisons = std::move(judgement.comparisons);
    return {};
  }

  worker::Engine& engine_;
  const SearchPlan& plan_;
  const gate::Samples& samples_;
  OptimizeWork& work_;
  OptimizeReport& report_;
  gate::Outputs answers_;  // the original's
};

}  // namespace

Result<OptimizeRecipe> read_recipe(const std::string& text) {
  OptimizeRecipe recipe{.text = text, .steps = text};
  const auto takes_off = [&](std::string_view word) {
    if (recipe.steps == word) return recipe.steps.clear(), true;
    if (!recipe.steps.ends_with("," + std::string(word))) return false;
    recipe.steps.resize(recipe.steps.size() - word.size() - 1);
    return true;
  };
  recipe.compile = takes_off(kCompile);
  recipe.keep = takes_off(kKeep);
  const std::string all = "," + recipe.steps + ",", what = "'" + printable(text.substr(0, 100)) + "': ";
  if (all.find("," + std::string(kCompile) + ",") != std::string::npos)
    return fail(Code::invalid_argument, what + "'compile' comes last, as what it makes is not changed any more");
  if (all.find("," + std::string(kKeep) + ",") != std::string::npos || (recipe.keep && !quantises(recipe.steps)))
    return fail(Code::invalid_argument,
                what + "'keep' comes after all other steps but 'compile', one of which is int8-dynamic, int8-static or int8-weights");
  if (recipe.steps.empty() && recipe.compile) return recipe;
  const auto steps = optimize::parse_recipe(recipe.steps);
  if (!steps) return fail(steps.error().code, steps.error().message + "; and 'keep' behind them, and 'compile' as the last");
  return recipe;
}

std::vector<std::string> recipes_for(const std::string& goal, bool convolutional) {
  // First what gains most: 4 and 8 bits of the weights, then what takes less off and keeps more. `compile` alone is always there: it
  // changes no answer, and is what a node does at deploy. Convolutions gain by ranges that were measured before, products by those that
  // are measured at each run.
  if (convolutional && goal == "size")
    return {"int8-static,compile", "int8-static:fit,compile", "int8-weights:fit,fp16,compile", "fp16,compile", "compile"};
  if (convolutional)
    return {"int8-static,compile", "compile", "int8-static:fit,compile", "int8-weights:fit,fp16,compile", "fp16,compile"};
  if (goal == "size")
    return {"int4-weights,int8-dynamic,compile",
            "int8-dynamic,compile",
            "int4-weights,int8-weights,compile",
            "int8-weights,compile",
            "fp16,compile",
            "compile"};
  return {"int8-dynamic,compile", "compile", "int4-weights,int8-dynamic,compile", "int8-weights,compile", "fp16,compile"};
}

std::vector<OptimizeRecipe> worth_keeping(const std::vector<OptimizeRecipe>& recipes, const std::vector<OptimizeRow>& rows) {
  std::vector<std::pair<double, const OptimizeRecipe*>> failed;
  for (const OptimizeRecipe& recipe : recipes) {
    const auto row = std::ranges::find(rows, recipe.text, &OptimizeRow::recipe);
    if (recipe.keep || !quantises(recipe.steps) || row == rows.end() || row->gate != "failed") continue;
    double lacks = 0;  // to the limit, of the output that is furthest from it
    for (const gate::Comparison& seen : row->comparisons)
      lacks = std::max(lacks, seen.measure == gate::Measure::accuracy ? seen.value - seen.limit : seen.limit - seen.value);
    failed.emplace_back(lacks, &recipe);
  }
  std::ranges::stable_sort(failed, std::ranges::less(), [](const auto& one) { return one.first; });
  std::vector<OptimizeRecipe> out;
  for (std::size_t i = 0; i < std::min(failed.size(), kFollowedMax); ++i) out.push_back(*failed[i].second);
  return out;
}

Result<void> search(worker::Engine& engine, const SearchPlan& plan, const gate::Samples& samples, OptimizeWork& work,
                    OptimizeReport& report) {
  Search search(engine, plan, samples, work, report);
  TRY_VOID(search.original());
  for (const OptimizeRecipe& recipe : plan.recipes) {
    if (os::monotonic_now() >= plan.end) report.not_tried.push_back(recipe.text);
    else TRY_VOID(search.candidate(recipe));
  }
  if (!plan.follows) return {};
  for (const OptimizeRecipe& recipe : worth_keeping(plan.recipes, report.rows)) {
    TRY(const OptimizeRecipe again, read_recipe(recipe.steps + ",keep" + (recipe.compile ? ",compile" : "")));
    if (os::monotonic_now() >= plan.end) report.not_tried.push_back(again.text);
    else TRY_VOID(search.candidate(again));
  }
  return {};
}

OptimizeRow* best_of(std::vector<OptimizeRow>& rows, const std::string& goal) {
  const auto size = [](const OptimizeRow& row) { return static_cast<double>(row.size); };
  const auto time = [](const OptimizeRow& row) { return to_ms(row.trial.one.p50); };
  const auto worth = [&](const OptimizeRow& row) { return goal == "size" ? size(row) : goal == "cost" ? row.cost : time(row); };
  const auto next = [&](const OptimizeRow& row) { return goal == "size" ? time(row) : size(row); };
  double least = std::numeric_limits<double>::infinity();
  for (const OptimizeRow& row : rows)
    if (row.passed()) least = std::min(least, worth(row));
  // A few bytes, or what is noise in a measurement, is no reason to take what is worse otherwise.
  constexpr double kEqual = 1.03;
  OptimizeRow* best = nullptr;
  for (OptimizeRow& row : rows)
    if (row.passed() && worth(row) <= least * kEqual && (!best || next(row) < next(*best))) best = &row;
  return best;
}

}  // namespace mayfly::app
