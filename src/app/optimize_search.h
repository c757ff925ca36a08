// Makes, measures and judges candidates, one after the other, and says which is best. Driven by the command (app/optimize.cpp), which has
// the files and speaks to people. All that reads a model or runs one happens in processes of their own (worker/child_work.h).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "app/optimize_report.h"
#include "app/optimize_work.h"
#include "base/time.h"
#include "gate/samples.h"
#include "worker/engine.h"

namespace mayfly::app {

// A recipe as it is written: steps of optimize/recipe.h, then `keep` where layers may be left out of int8 until the gate passes, and
// `compile` as the last where it is to be compiled.
struct OptimizeRecipe {
  std::string text;   // the whole
  std::string steps;  // without these two; may be empty
  bool keep = false;
  bool compile = false;
};
[[nodiscard]] Result<OptimizeRecipe> read_recipe(const std::string& text);

// What `auto` tries, in the order of what it is expected to gain for this goal.
[[nodiscard]] std::vector<std::string> recipes_for(const std::string& goal, bool convolutional = false);

// Those of the recipes that failed the gate and are to be tried again with layers kept back: at most two, the nearest to passing first.
[[nodiscard]] std::vector<OptimizeRecipe> worth_keeping(const std::vector<OptimizeRecipe>& recipes, const std::vector<OptimizeRow>& rows);

struct SearchPlan {
  std::string model, goal;
  std::vector<OptimizeRecipe> recipes;
  bool follows = false;                            // what fails is tried again with `keep`, when the list is done
  const gate::Samples* calibration = nullptr;
  gate::Limits limits;
  Instant end;                                     // no candidate is begun after it; none goes on beyond it
  std::function<bool()> stops;
  std::function<void(const std::string&)> says;    // what is being done, for the progress line
  std::function<void(const OptimizeRow&)> found;   // a row that is done
  std::function<void(const std::string&)> notes = [](const std::string&) {};  // what seems odd and is no error
};

// The rows of the report, the original first. Error cancelled: interrupted; what was measured is in `work`.
[[nodiscard]] Result<void> search(worker::Engine& engine, const SearchPlan& plan, const gate::Samples& samples, OptimizeWork& work,
                                  OptimizeReport& report);

// The row that is taken; null where none passed.
[[nodiscard]] OptimizeRow* best_of(std::vector<OptimizeRow>& rows, const std::string& goal);

}  // namespace mayfly::app
