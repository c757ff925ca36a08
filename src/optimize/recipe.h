// Recipes: what is done to a model, step by step. "int8-dynamic,prune:0.5" is read into steps; apply() does one of them.
//
// Each step is a pure function from a model to a model: no file, no clock, no engine. It changes what it can and lists the
// nodes that it left, with the reason. Whether the result still answers right is for others to measure.
// "compile" and "auto" are no steps of this module: they belong to the engine and to the search.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "optimize/model.h"

namespace mayfly::optimize {

constexpr std::size_t kStepsMax = 16;

// A word of a recipe: "prune:0.5" is {"prune", 0.5}, "shape:batch=1" is {"shape:batch", 1}.
struct Step {
  std::string name;
  std::optional<double> amount;
  bool operator==(const Step&) const = default;
};

struct StepInfo {
  std::string name;                        // as it is written in a recipe, without its amount; "shape:NAME" for shape
  std::string does;                        // one line
  std::string amount;                      // what the amount means; empty: it takes none
  double least = 0, most = 0;              // of the amount
  std::optional<double> otherwise;         // the amount where none is written; empty: one must be
};

// Separated by commas, blanks around words allowed. Error invalid_argument: the word, its place, and the words that there are.
[[nodiscard]] Result<std::vector<Step>> parse_recipe(std::string_view text);
[[nodiscard]] std::string to_string(const Step& step);
[[nodiscard]] std::vector<StepInfo> all_steps();

struct Left {
  std::string node, why;  // the node's name, or its kind and its output where it has none
  bool operator==(const Left&) const = default;
};

struct Applied {
  Model model;
  int changed = 0;                 // nodes or tensors that are different now
  std::vector<std::string> done;   // their names, as in Left
  std::vector<Left> left;          // where the step could not be applied
  std::vector<std::string> notes;  // for the report: what a reader should know of what was done
};

// `keep`: nodes that stay as they are (as named in Applied::done); that is how a search finds out which of them are sensitive.
// Error invalid_argument: no such step, an amount out of range, or a model for which the step is not defined (its opset).
[[nodiscard]] Result<Applied> apply(const Model& model, const Step& step, const std::set<std::string>& keep = {});

}  // namespace mayfly::optimize
