// How often which duration was seen, from 1 ns to centuries, each to within 1.6 % of its value: exact up to
// 127 ns, then 64 steps an octave (the idea of HdrHistogram, without its range to set). Fixed size, 30 KB.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/time.h"

namespace mayfly::app {

class Histogram {
 public:
  void add(Duration time) {
    const auto ns = static_cast<std::uint64_t>(std::max<Duration::rep>(0, time.count()));
    ++counts_[index_of(ns)];
    ++count_;
    sum_ += static_cast<double>(ns);
    max_ = std::max(max_, ns);
    min_ = count_ == 1 ? ns : std::min(min_, ns);
  }
  std::uint64_t count() const { return count_; }
  Duration max() const { return Duration(static_cast<Duration::rep>(max_)); }
  Duration min() const { return Duration(static_cast<Duration::rep>(min_)); }
  Duration mean() const { return count_ == 0 ? Duration() : Duration(static_cast<Duration::rep>(sum_ / static_cast<double>(count_))); }

  // The smallest duration that at least this share of all did not exceed; the upper end of its step, never over max().
  Duration quantile(double share) const {
    const auto wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if ((seen += counts_[i]) >= wanted) return Duration(static_cast<Duration::rep>(std::min(end_of(i), max_)));
    return max();
  }

  static constexpr std::size_t index_of(std::uint64_t ns) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(ns)) - 7);
    return static_cast<std::size_t>(shift) * 64 + static_cast<std::size_t>(ns >> shift);
  }
  static constexpr std::uint64_t end_of(std::size_t index) {  // the largest value of a step
    if (index < 128) return index;
    const std::size_t shift = index / 64 - 1;
    return ((static_cast<std::uint64_t>(index % 64) + 64 + 1) << shift) - 1;
  }

 private:
  std::array<std::uint64_t, 58 * 64 + 64> counts_{};
  std::uint64_t count_ = 0, max_ = 0, min_ = 0;
  double sum_ = 0;
};

}  // namespace mayfly::app
