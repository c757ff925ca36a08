// The few statistics that the gate needs, each with its source. All bounds are one-sided at 95 %: what is asked is whether a candidate is
// worse by more than it may be (a test of non-inferiority), so an interval's two ends hold with 95 % each, and together with 90 %.
#pragma once
#include <cstdint>

namespace mayfly::gate {

struct Interval {
  double low = 0, high = 0;
};

constexpr double kZ = 1.6448536269514722;  // the 95 % quantile of the normal distribution

// Of a share, `successes` of `count`: Wilson's score interval (E. B. Wilson, JASA 22, 1927, 209-212).
[[nodiscard]] Interval share_interval(std::uint64_t successes, std::uint64_t count, double z = kZ);

// Of the difference of two shares that were seen on the same samples: the first minus the second. `only_first` are the samples on which
// only the first was right. T. Tango's score interval for paired proportions (Statistics in Medicine 17, 1998, 891-908), which holds its
// level also where few or no samples differ.
struct Pairs {
  std::uint64_t count = 0, only_first = 0, only_second = 0;
};
[[nodiscard]] Interval difference_interval(const Pairs& pairs, double z = kZ);

// Of a mean: Student's t, its quantile by the expansion 26.7.5 of Abramowitz and Stegun. Infinite for fewer than 5 values, where
// that expansion does not hold.
struct Mean {
  void add(double value);             // Welford's update (Technometrics 4, 1962, 419-420)
  [[nodiscard]] Interval interval() const;
  std::uint64_t count = 0;
  double mean = 0, squares = 0, low = 0, high = 0;
};

// So many samples without one difference put the bound at `share`; more than this are needed where some differ.
[[nodiscard]] std::uint64_t samples_needed(double share, double z = kZ);

}  // namespace mayfly::gate
