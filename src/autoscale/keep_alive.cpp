#include "autoscale/keep_alive.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace mayfly::autoscale {
namespace {

constexpr int kSamplesMax = 1000;  // then all counts are halved

double ratio() { return to_seconds(KeepAlive::kHigh) / to_seconds(KeepAlive::kLow); }

// Bin 0 holds all that is shorter than its upper edge.
int bin_of(Duration gap) {
  const double at = std::log(to_seconds(gap) / to_seconds(KeepAlive::kLow)) / std::log(ratio()) * KeepAlive::kBins;
  return std::clamp(static_cast<int>(at), 0, KeepAlive::kBins - 1);
}

Duration edge(int bin) {
  return from_seconds(to_seconds(KeepAlive::kLow) * std::pow(ratio(), static_cast<double>(bin) / KeepAlive::kBins));
}

Duration scaled(Duration duration, double factor) { return from_seconds(to_seconds(duration) * factor); }

}  // namespace

void KeepAlive::add(Duration gap) {
  if (gap > kHigh) {
    ++beyond_;
  } else {
    ++counts_[static_cast<std::size_t>(gap <= kLow ? 0 : bin_of(gap))];
    ++total_;
  }
  if (samples() <= kSamplesMax) return;
  total_ = 0;
  for (std::uint16_t& count : counts_) total_ += count = static_cast<std::uint16_t>(count / 2);
  beyond_ /= 2;
}

Duration KeepAlive::percentile(double part, bool up) const {
  ASSERT(part >= 0 && part <= 1, "a percentile is a part of 1");
  const double wanted = part * total_;
  double passed = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    const int count = counts_[static_cast<std::size_t>(bin)];
    passed += count;
    if (count > 0 && passed >= wanted) return up ? edge(bin + 1) : bin == 0 ? Duration{} : edge(bin);
  }
  return up ? kHigh : Duration{};
}

KeepWindow KeepAlive::window(const KeepAlivePolicy& policy) const {
  const KeepWindow fallback{.keep_alive = policy.fallback};
  if (samples() < policy.samples_min || beyond_ * 2 > samples()) return fallback;
  const double mean = static_cast<double>(total_) / kBins;
  double squares = 0;
  for (const std::uint16_t count : counts_) squares += (count - mean) * (count - mean);
  if (std::sqrt(squares / kBins) < policy.variation_min * mean) return fallback;

  const Duration head = scaled(percentile(0.05, false), 1 - policy.margin);
  const Duration tail = scaled(percentile(0.99, true), 1 + policy.margin);
  KeepWindow out{.learned = true};
  if (head >= policy.unload_min) out.pre_warm = head;
  out.keep_alive = std::clamp(tail - out.pre_warm, policy.least, std::max(policy.least, policy.most));
  return out;
}

}  // namespace mayfly::autoscale
