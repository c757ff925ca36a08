#include "gate/judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace mayfly::gate {
namespace {

using domain::Datatype;

bool is_float(Datatype type) {
  return type == Datatype::fp16 || type == Datatype::bf16 || type == Datatype::fp32 || type == Datatype::fp64;
}

std::string number(const char* form, double value) {
  char text[48];
  std::snprintf(text, sizeof text, form, value);
  return text;
}
std::string percent(double share) { return number("%.4g", 100 * share) + " %"; }

// Rounded away from what would pass: what is printed never looks better than what was decided on.
std::string points(double drop) { return number("%.3g", 100 * drop); }

bool one_a_row(const std::vector<std::int64_t>& shape) { return shape.size() == 1 || (shape.size() == 2 && shape[1] == 1); }

// Rows of numbers that add up to 1, none below 0: probabilities of classes. Or a name that says so.
bool class_like(const Outputs& outputs, std::size_t output) {
  std::string name = outputs.specs[output].name;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"logit", "prob", "class", "score", "softmax"})
    if (name.find(word) != name.npos) return true;
  for (const auto& sample : outputs.samples) {
    const Array& array = sample[output];
    const auto width = static_cast<std::uint64_t>(array.shape[1]);
    for (std::uint64_t row = 0; row < static_cast<std::uint64_t>(array.shape[0]); ++row) {
      double sum = 0, low = 0;
      for (std::uint64_t i = 0; i < width; ++i) {
        const double value = number_at(array, row * width + i);
        sum += value;
        low = std::min(low, value);
      }
      if (!(low > -1e-6 && std::fabs(sum - 1) < 1e-2)) return false;
    }
  }
  return true;
}

std::size_t largest(const Array& array, std::uint64_t row, std::uint64_t width) {
  std::size_t best = 0;
  for (std::uint64_t i = 1; i < width; ++i) {
    const double value = number_at(array, row * width + i), now = number_at(array, row * width + best);
    if (value > now || (std::isnan(now) && !std::isnan(value))) best = i;
  }
  return best;
}

struct Vectors {
  double dot = 0, a = 0, b = 0;
  double cosine() const {
    if (!std::isfinite(dot) || !std::isfinite(a) || !std::isfinite(b)) return 0;
    if (a == 0 || b == 0) return a == b ? 1 : 0;
    return std::clamp(dot / std::sqrt(a) / std::sqrt(b), -1.0, 1.0);
  }
};

// Passes what the bound of the interval allows; is unsure where only the value does.
void decide(Comparison& c) {
  const bool drop = c.measure == Measure::accuracy;
  const bool bound = drop ? c.interval.high <= c.limit : c.interval.low >= c.limit;
  const bool value = drop ? c.value <= c.limit : c.value >= c.limit;
  c.verdict = bound ? Verdict::passed : value ? Verdict::unsure : Verdict::failed;
  const std::string on = " of '" + c.output + "' on " + std::to_string(c.rows) + " samples";
  if (drop) {
    c.why = "accuracy" + on + " " + percent(c.original) + " -> " + percent(c.candidate) + ": " + points(c.value) +
            " points less, with 95 % not more than " + points(c.interval.high) + "; allowed are " + points(c.limit);
  } else if (c.measure == Measure::agreement) {
    c.why =
        "agreement" + on + " " + percent(c.value) + ", with 95 % at least " + percent(c.interval.low) + "; it must be " + percent(c.limit);
  } else {
    c.why = std::string(name(c.measure)) + on + " " + number("%.5f", c.value) + " in the mean, with 95 % at least " +
            number("%.5f", c.interval.low) + "; it must be " + number("%.4g", c.limit);
  }
  if (c.verdict != Verdict::unsure) return;
  c.why += "; too few samples to tell";
  const bool counted = drop || c.measure == Measure::agreement;
  if (const auto needed = samples_needed(drop ? c.limit : 1 - c.limit); counted && needed < 1'000'000'000)
    c.why +=
        ": it takes " + std::to_string(needed) + (c.rows >= needed ? " without a difference, and more where there are some" : " or more");
}

using Classes = std::vector<std::vector<std::string>>;  // of each sample, of each row

Classes all_classes(const Outputs& outputs, std::size_t output) {
  Classes classes;
  for (const auto& sample : outputs.samples) classes.push_back(classes_in(sample[output]));
  return classes;
}

bool has_classes(const Outputs& outputs, std::size_t output) {
  return !outputs.samples.empty() && !classes_in(outputs.samples[0][output]).empty();
}

void add_distance(const Array& a, const Array& b, Mean& distance) {
  if (a.datatype == Datatype::bytes) return;
  const std::uint64_t count = std::min(count_of(a.shape), count_of(b.shape));
  for (std::uint64_t i = 0; i < count; ++i) {
    const double x = number_at(a, i), y = number_at(b, i);
    if (!(std::isnan(x) && std::isnan(y)) && x != y) distance.add(std::fabs(x - y));
    else distance.add(0);
  }
}

Result<void> check_alike(const Outputs& original, const Outputs& candidate) {
  const auto other = [](const std::string& what) { return fail(Code::internal, "the candidate is another model: " + what); };
  if (original.specs.size() != candidate.specs.size()) return other("it has " + std::to_string(candidate.specs.size()) + " outputs");
  for (std::size_t i = 0; i < original.specs.size(); ++i)
    if (original.specs[i].name != candidate.specs[i].name)
      return other("its output " + std::to_string(i) + " is '" + candidate.specs[i].name + "' instead of '" + original.specs[i].name + "'");
  const std::size_t count = std::min(original.samples.size(), candidate.samples.size());
  if (count == 0) return fail(Code::invalid_argument, "there is no sample to compare on");
  for (std::size_t s = 0; s < count; ++s)
    for (std::size_t i = 0; i < original.specs.size(); ++i)
      if (original.samples[s][i].shape != candidate.samples[s][i].shape)
        return other("output '" + original.specs[i].name + "' has shape " + shape_text(candidate.samples[s][i].shape) + " instead of " +
                     shape_text(original.samples[s][i].shape));
  return {};
}

// Which output the labels are about: one that says classes by itself, else one of their chances.
Result<std::size_t> labelled_output(const Outputs& outputs) {
  for (const bool floats : {false, true})
    for (std::size_t i = 0; i < outputs.specs.size(); ++i)
      if (has_classes(outputs, i) && is_float(outputs.samples[0][i].datatype) == floats) return i;
  return fail(
      Code::invalid_argument,
      "there are labels, and no output has classes: that takes whole numbers or texts [samples], or [samples, classes]; leave 'label' "
      "out, and outputs are compared");
}

// Labels in another order, or of another model, would make any candidate look as good as the original.
Result<void> check_labels(const Outputs& outputs, std::size_t output, const std::vector<std::string>& labels, std::uint64_t right,
                          std::uint64_t rows) {
  const std::string& name = outputs.specs[output].name;
  if (is_float(outputs.samples[0][output].datatype)) {
    std::int64_t classes = 0;
    for (const auto& sample : outputs.samples) classes = std::max(classes, sample[output].shape[1]);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const bool number = !labels[i].empty() && labels[i].size() < 16 && labels[i].find_first_not_of("0123456789") == std::string::npos;
      if (!number || std::stoll(labels[i]) >= classes)
        return fail(Code::invalid_argument, "label " + std::to_string(i) + " is '" + labels[i].substr(0, 40) + "', and output '" + name +
                                                "' has " + std::to_string(classes) + " classes: 0 to " + std::to_string(classes - 1));
    }
  }
  std::map<std::string, std::uint64_t> counts;
  for (std::size_t i = 0; i < rows; ++i) ++counts[labels[i]];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
  if (counts.size() > 1 && share_interval(right, rows).high < static_cast<double>(most->second) / static_cast<double>(rows))
    return fail(Code::invalid_argument, "the original gets " + std::to_string(right) + " of " + std::to_string(rows) +
                                            " labels right, fewer than to say '" + most->first.substr(0, 40) + "' always (" +
                                            std::to_string(most->second) +
                                            "): are these labels the model's classes, each beside its sample?");
  return {};
}

Result<Comparison> compare_accuracy(const Outputs& original, const Outputs& candidate, const std::vector<std::string>& labels,
                                    const Limits& limits) {
  TRY(const std::size_t output, labelled_output(original));
  Comparison c{.output = original.specs[output].name, .measure = Measure::accuracy, .limit = limits.drop_max};
  const Classes first = all_classes(original, output), second = all_classes(candidate, output);
  Pairs pairs;
  std::uint64_t right = 0, right_too = 0;
  for (std::size_t s = 0; s < std::min(first.size(), second.size()); ++s) {
    for (std::size_t row = 0; row < std::min(first[s].size(), second[s].size()) && pairs.count < labels.size(); ++row) {
      const std::string& label = labels[pairs.count++];
      const bool a = first[s][row] == label, b = second[s][row] == label;
      right += a;
      right_too += b;
      pairs.only_first += a && !b;
      pairs.only_second += b && !a;
    }
  }
  if (pairs.count == 0) return fail(Code::invalid_argument, "output '" + c.output + "' has no rows: labels are one a row");
  TRY_VOID(check_labels(original, output, labels, right, pairs.count));
  const double n = static_cast<double>(pairs.count);
  c.rows = pairs.count;
  c.original = static_cast<double>(right) / n;
  c.candidate = static_cast<double>(right_too) / n;
  c.value = (static_cast<double>(pairs.only_first) - static_cast<double>(pairs.only_second)) / n;
  c.interval = difference_interval(pairs);
  return c;
}

Comparison compare_classes(const Outputs& original, const Outputs& candidate, std::size_t output, const Limits& limits) {
  Comparison c{.output = original.specs[output].name, .measure = Measure::agreement, .limit = limits.agreement_min};
  std::uint64_t same = 0;
  for (std::size_t s = 0; s < std::min(original.samples.size(), candidate.samples.size()); ++s) {
    const Array &a = original.samples[s][output], &b = candidate.samples[s][output];
    const auto first = classes_in(a), second = classes_in(b);
    c.rows += std::max<std::size_t>(first.size(), 1);
    if (first.empty()) same += a == b;  // other shapes of whole numbers or texts: all of it
    for (std::size_t row = 0; row < first.size(); ++row) same += first[row] == second[row];
  }
  c.value = static_cast<double>(same) / static_cast<double>(c.rows);
  c.interval = share_interval(same, c.rows);
  return c;
}

double root_mean_square(const Outputs& outputs, std::size_t output) {
  double squares = 0, count = 0;
  for (const auto& sample : outputs.samples)
    for (std::uint64_t i = 0; i < count_of(sample[output].shape); ++i) {
      squares += number_at(sample[output], i) * number_at(sample[output], i);
      ++count;
    }
  return count > 0 ? std::sqrt(squares / count) : 0;
}

// A row of fewer than 4 numbers, for which a cosine says nothing.
bool has_few(const Array& array) {
  const std::uint64_t count = count_of(array.shape), rows = array.shape.empty() ? 1 : static_cast<std::uint64_t>(array.shape[0]);
  return rows > 0 && count > 0 && count / rows < 4;
}

Comparison compare_values(const Outputs& original, const Outputs& candidate, std::size_t output, const Limits& limits) {
  Comparison c{.output = original.specs[output].name, .measure = Measure::cosine, .limit = limits.cosine_min};
  const double scale = root_mean_square(original, output);
  // One measure for all samples, also where some are of other sizes.
  const bool narrow = std::ranges::any_of(original.samples, [&](const auto& sample) { return has_few(sample[output]); });
  if (narrow) c.measure = Measure::closeness;
  Mean mean;
  for (std::size_t s = 0; s < std::min(original.samples.size(), candidate.samples.size()); ++s) {
    const Array &a = original.samples[s][output], &b = candidate.samples[s][output];
    const std::uint64_t count = count_of(a.shape), rows = a.shape.empty() ? 1 : static_cast<std::uint64_t>(a.shape[0]);
    const std::uint64_t width = rows ? count / rows : 0;
    for (std::uint64_t row = 0; row < rows && width > 0; ++row) {
      Vectors v;
      double error = 0;
      for (std::uint64_t i = row * width; i < (row + 1) * width; ++i) {
        const double x = number_at(a, i), y = number_at(b, i);
        v.dot += x * y, v.a += x * x, v.b += y * y;
        error = std::max(error, std::isfinite(x - y) ? std::fabs(x - y) : scale);
      }
      mean.add(!narrow ? v.cosine() : scale > 0 ? 1 - std::min(1.0, error / scale) : error == 0 ? 1 : 0);
    }
  }
  c.rows = mean.count;
  c.value = mean.count ? mean.mean : 1;
  c.interval = mean.interval();
  if (mean.count == 0) c.interval = {1, 1};  // an output without elements is the same
  return c;
}

}  // namespace

std::string_view name(Measure measure) {
  constexpr std::string_view kNames[] = {"accuracy", "agreement", "cosine", "closeness"};
  return kNames[static_cast<std::size_t>(measure)];
}

std::string_view name(Verdict verdict) {
  constexpr std::string_view kNames[] = {"passed", "failed", "unsure"};
  return kNames[static_cast<std::size_t>(verdict)];
}

std::vector<std::string> classes_in(const Array& output) {
  std::vector<std::string> classes;
  if (is_float(output.datatype)) {
    if (output.shape.size() != 2 || output.shape[1] < 2) return {};
    for (std::uint64_t row = 0; row < static_cast<std::uint64_t>(output.shape[0]); ++row)
      classes.push_back(std::to_string(largest(output, row, static_cast<std::uint64_t>(output.shape[1]))));
    return classes;
  }
  if (!one_a_row(output.shape)) return {};
  if (output.datatype == Datatype::bytes) return output.strings;
  for (std::uint64_t i = 0; i < count_of(output.shape); ++i)
    classes.push_back(std::to_string(static_cast<std::int64_t>(number_at(output, i))));
  return classes;
}

Result<Judgement> judge(const Outputs& original, const Outputs& candidate, const std::vector<std::string>& labels, const Limits& limits) {
  TRY_VOID(check_alike(original, candidate));
  Judgement judgement;
  if (!labels.empty()) {
    TRY(Comparison accuracy, compare_accuracy(original, candidate, labels, limits));
    judgement.comparisons.push_back(std::move(accuracy));
  } else {
    for (std::size_t i = 0; i < original.specs.size(); ++i) {
      const bool values = is_float(original.samples[0][i].datatype) &&
                          (limits.compare == Compare::values || !has_classes(original, i) ||
                           (limits.compare == Compare::automatic && !class_like(original, i)));
      judgement.comparisons.push_back(values ? compare_values(original, candidate, i, limits)
                                             : compare_classes(original, candidate, i, limits));
    }
  }
  for (Comparison& c : judgement.comparisons) {
    Mean distance;
    const std::size_t output =
        static_cast<std::size_t>(std::ranges::find(original.specs, c.output, &domain::TensorSpec::name) - original.specs.begin());
    for (std::size_t s = 0; s < std::min(original.samples.size(), candidate.samples.size()); ++s)
      add_distance(original.samples[s][output], candidate.samples[s][output], distance);
    c.distance_mean = distance.mean;
    c.distance_max = distance.high;
    decide(c);
  }
  const auto badness = [](const Comparison& c) { return c.verdict == Verdict::failed ? 2 : c.verdict == Verdict::unsure ? 1 : 0; };
  const auto worst = std::ranges::max_element(judgement.comparisons, {}, badness);
  judgement.verdict = worst->verdict;
  judgement.why = worst->why;
  return judgement;
}

}  // namespace mayfly::gate
