// What a lane has seen: arrivals and concurrency over two windows, service times, idle gaps' ends. Fixed
// size, fed on every call, read by the scaler. Averages decay exponentially, which is a window without a list.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "base/time.h"

namespace mayfly::serve {

// The time-weighted average of a level (such as calls in flight) over about `window`.
class LevelAverage {
 public:
  explicit constexpr LevelAverage(Duration window) : window_(to_seconds(window)) {}
  void set(Instant now, double level) { advance(now); level_ = level; }
  double at(Instant now) { advance(now); return average_; }

 private:
  void advance(Instant now) {
    if (now <= since_) return;
    const double keep = std::exp(-to_seconds(now - since_) / window_);
    average_ = average_ * keep + level_ * (1 - keep);
    since_ = now;
  }
  double window_, average_ = 0, level_ = 0;
  Instant since_{};
};

// The distribution of recent service times: counts in bins a quarter of an octave wide from 1 µs, halved
// every 1,024 samples so that old ones fade.
class ServiceTimes {
 public:
  void add(Duration time) {
    const double us = std::max(1.0, static_cast<double>(time.count()) / 1e3);
    const auto bin = std::min(kBins - 1, static_cast<std::size_t>(4 * std::log2(us)));
    ++bins_[bin];
    mean_us_ = count_ == 0 ? us : mean_us_ + (us - mean_us_) / std::min(64.0, static_cast<double>(count_ + 1));
    if (++count_ % 1024 == 0) for (auto& b : bins_) b /= 2;
  }
  std::uint64_t count() const { return count_; }
  Duration mean() const { return from_seconds(mean_us_ / 1e6); }
  Duration quantile(double q) const {
    std::uint64_t all = 0, seen = 0;
    for (const auto b : bins_) all += b;
    const auto wanted = static_cast<std::uint64_t>(q * static_cast<double>(all));
    for (std::size_t i = 0; i < kBins; ++i)
      if ((seen += bins_[i]) > wanted) return from_seconds(std::exp2((static_cast<double>(i) + 1) / 4) / 1e6);
    return mean();
  }

 private:
  static constexpr std::size_t kBins = 120;  // up to about 15 minutes
  std::array<std::uint32_t, kBins> bins_{};
  std::uint64_t count_ = 0;
  double mean_us_ = 0;
};

struct Load {
  LevelAverage concurrency_stable{std::chrono::seconds(60)};
  LevelAverage concurrency_panic{std::chrono::seconds(6)};
  ServiceTimes service;          // of one call in an instance: taken to replied
  ServiceTimes service_row;      // the same, its share of the batch
  Instant last_arrival{}, last_end{};
  std::uint64_t arrivals = 0;

  void level(Instant now, int calls) {
    concurrency_stable.set(now, calls);
    concurrency_panic.set(now, calls);
  }
};

}  // namespace mayfly::serve
