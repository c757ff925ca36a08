#include "optimize/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mayfly::optimize {
namespace {

constexpr std::size_t kBins = 2048, kLevels = 128;
constexpr double kPercentile = 99.999;

// calibrate.py, smooth_distribution: nothing has the probability 0, for which a divergence is infinite.
std::vector<double> smoothed(std::vector<double> counts) {
  constexpr double kLittle = 1e-4;
  const auto zeros = static_cast<double>(std::ranges::count(counts, 0.0));
  const double others = static_cast<double>(counts.size()) - zeros;
  if (others == 0) return {};
  const double less = kLittle * zeros / others;
  for (double& count : counts) count = count == 0 ? kLittle : count - less;
  for (const double count : counts)
    if (count <= 0) return {};
  return counts;
}

double divergence(const std::vector<double>& real, const std::vector<double>& coarse) {
  const std::vector<double> p = smoothed(real), q = smoothed(coarse);
  if (p.empty() || q.empty()) return std::numeric_limits<double>::infinity();
  double p_sum = 0, q_sum = 0, sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) p_sum += p[i], q_sum += q[i];
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] / p_sum * std::log(p[i] / p_sum / (q[i] / q_sum));
  return sum;
}

// The counts as kLevels steps would hold them: each step's sum spread over those of its bins that had any.
std::vector<double> in_levels(std::span<const std::uint64_t> bins, const std::vector<double>& real) {
  const std::size_t merged = bins.size() / kLevels;
  std::vector<double> out(bins.size(), 0);
  for (std::size_t level = 0; level < kLevels; ++level) {
    const std::size_t first = level * merged, last = level + 1 == kLevels ? bins.size() : first + merged;
    double sum = 0, used = 0;
    for (std::size_t i = first; i < last; ++i) sum += static_cast<double>(bins[i]), used += real[i] != 0;
    for (std::size_t i = first; used > 0 && i < last; ++i)
      if (real[i] != 0) out[i] = sum / used;
  }
  return out;
}

}  // namespace

std::optional<Calibration> calibration_of(std::string_view step) {
  if (step == "int8-static") return Calibration::min_max;
  if (step == "int8-static:percentile") return Calibration::percentile;
  if (step == "int8-static:entropy") return Calibration::entropy;
  if (step == "int8-static:mse" || step == kStaticFitStep) return Calibration::squares;
  return std::nullopt;
}

void Observed::look(std::span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    seen_ = any_ ? Range{std::min(seen_.least, value), std::max(seen_.most, value)} : Range{value, value};
    any_ = true;
  }
}

void Observed::count(std::span<const float> values) {
  if (bins_.empty()) {
    bins_.assign(kBins, 0);
    bound_ = std::max(std::abs(seen_.least), std::abs(seen_.most));
  }
  if (bound_ == 0) return;
  const double scale = kBins / (2.0 * static_cast<double>(bound_));
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const double place = (static_cast<double>(value) + static_cast<double>(bound_)) * scale;
    ++bins_[static_cast<std::size_t>(std::clamp(place, 0.0, kBins - 1.0))];
  }
}

double Observed::edge(std::size_t bin) const {
  return static_cast<double>(bound_) * (2.0 * static_cast<double>(bin) / static_cast<double>(kBins) - 1);
}

std::optional<Range> Observed::range(Calibration method) const {
  if (!any_) return std::nullopt;
  if (method == Calibration::min_max || bins_.empty() || bound_ == 0) return seen_;
  const Range cut = method == Calibration::percentile ? percentile() : method == Calibration::entropy ? entropy() : squares();
  return Range{std::max(cut.least, seen_.least), std::min(cut.most, seen_.most)};
}

Range Observed::percentile() const {
  double all = 0;
  for (const std::uint64_t count : bins_) all += static_cast<double>(count);
  const double aside = all * (100 - kPercentile) / 200;
  std::size_t low = 0, high = kBins;
  for (double sum = 0; low + 1 < kBins && sum + static_cast<double>(bins_[low]) <= aside; ++low) sum += static_cast<double>(bins_[low]);
  for (double sum = 0; high > low + 1 && sum + static_cast<double>(bins_[high - 1]) <= aside; --high)
    sum += static_cast<double>(bins_[high - 1]);
  return {static_cast<float>(edge(low)), static_cast<float>(edge(high))};
}

double Observed::squared_error(double low, double high) const {
  constexpr double kSteps = 255;
  const double step = std::max((high - low) / kSteps, 1e-30), half = static_cast<double>(bound_) / static_cast<double>(kBins);
  double error = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    if (bins_[i] == 0) continue;
    const double value = edge(i) + half, off = std::nearbyint(std::clamp(value, low, high) / step) * step - value;
    error += static_cast<double>(bins_[i]) * off * off;
  }
  return error;
}

// One end after the other, twice: where the best of one depends on the other it is by little.
Range Observed::squares() const {
  constexpr int kRounds = 2, kShares = 40;
  const double whole[] = {std::min(0.0, static_cast<double>(seen_.least)), std::max(0.0, static_cast<double>(seen_.most))};
  double best[] = {whole[0], whole[1]}, least = squared_error(best[0], best[1]);
  for (int turn = 0; turn < 2 * kRounds; ++turn) {
    const int end = (turn + 1) % 2;
    for (int i = 4; i <= kShares; ++i) {
      double tried[] = {best[0], best[1]};
      tried[end] = whole[end] * i / kShares;
      const double error = squared_error(tried[0], tried[1]);
      if (error < least) least = error, best[end] = tried[end];
    }
  }
  return {static_cast<float>(best[0]), static_cast<float>(best[1])};
}

Range Observed::entropy() const {
  constexpr std::size_t kMiddle = kBins / 2, kStride = 4;  // each fourth cut: what is between differs by less than the method does
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = kMiddle;
  for (std::size_t half = kLevels / 2; half <= kMiddle; half += kStride) {
    const std::size_t first = kMiddle - half, last = kMiddle + half;
    const auto within = std::span(bins_).subspan(first, last - first);
    std::vector<double> real(within.begin(), within.end());
    for (std::size_t i = 0; i < first; ++i) real.front() += static_cast<double>(bins_[i]);
    for (std::size_t i = last; i < kBins; ++i) real.back() += static_cast<double>(bins_[i]);
    const double differs = divergence(real, in_levels(within, real));
    if (differs < least) least = differs, best = half;
  }
  return {static_cast<float>(edge(kMiddle - best)), static_cast<float>(edge(kMiddle + best))};
}

}  // namespace mayfly::optimize
