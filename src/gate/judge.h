// The gate: does a candidate still do what the original does? Both have answered the same samples; this compares their answers and
// decides, purely. Where labels are known it asks how much less often the candidate is right, else how often both say the same, or how
// near their numbers are. It passes only what the interval of the difference allows with 95 % (gate/statistics.h): a candidate of
// which 20 samples tell nothing bad is not passed, it is `unsure`.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "gate/array.h"
#include "gate/statistics.h"

namespace mayfly::gate {

// What a model answered: of each sample its outputs, in the order of the specs.
struct Outputs {
  std::vector<domain::TensorSpec> specs;
  std::vector<std::vector<Array>> samples;
};

enum class Measure { accuracy, agreement, cosine, closeness };
[[nodiscard]] std::string_view name(Measure measure);

enum class Compare { automatic, classes, values };  // of floats without labels: by their largest, by all of them

struct Limits {
  double drop_max = 0.01;       // of accuracy
  double agreement_min = 0.99;  // of rows
  double cosine_min = 0.99;     // in the mean; of closeness, too
  Compare compare = Compare::automatic;
};

enum class Verdict { passed, failed, unsure };
[[nodiscard]] std::string_view name(Verdict verdict);

// Of one output. accuracy: `original` and `candidate` are shares of right rows, `value` is their difference, the drop. agreement: the share
// of rows for which both say the same. cosine: of the two rows, in the mean. closeness, of rows of fewer than 4 numbers, for
// which a cosine says nothing: 1 less the error, in parts of the root mean square of the original's values, in the mean.
struct Comparison {
  std::string output;
  Measure measure = Measure::agreement;
  std::uint64_t rows = 0;
  double original = 1, candidate = 1, value = 0, limit = 0;
  Interval interval;
  double distance_mean = 0, distance_max = 0;  // of numbers: |original - candidate|
  Verdict verdict = Verdict::unsure;
  std::string why;
};

struct Judgement {
  Verdict verdict = Verdict::unsure;  // the worst of all
  std::string why;                    // of that
  std::vector<Comparison> comparisons;
};

// The first `samples` of the set that both have. Error invalid_argument: labels that can't be of this model. Error internal: the candidate
// has other outputs than the original.
[[nodiscard]] Result<Judgement> judge(const Outputs& original, const Outputs& candidate, const std::vector<std::string>& labels,
                                      const Limits& limits);

// The class that each row of an output says: of texts and whole numbers the value, of rows of floats the place of the largest. Nothing
// where its shape has no classes.
[[nodiscard]] std::vector<std::string> classes_in(const Array& output);

}  // namespace mayfly::gate
