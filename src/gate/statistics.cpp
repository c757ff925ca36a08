#include "gate/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mayfly::gate {

Interval share_interval(std::uint64_t successes, std::uint64_t count, double z) {
  if (count == 0) return {0, 1};
  const double n = static_cast<double>(count), p = static_cast<double>(successes) / n, square = z * z;
  const double middle = (p + square / (2 * n)) / (1 + square / n);
  const double half = z / (1 + square / n) * std::sqrt(p * (1 - p) / n + square / (4 * n * n));
  return {successes == 0 ? 0 : std::max(0.0, middle - half), successes == count ? 1 : std::min(1.0, middle + half)};
}

Interval difference_interval(const Pairs& pairs, double z) {
  if (pairs.count == 0) return {-1, 1};
  const double n = static_cast<double>(pairs.count), b = static_cast<double>(pairs.only_first), c = static_cast<double>(pairs.only_second);
  // The score statistic at an assumed difference; it falls as the difference grows. Equations 5 to 8 of the paper.
  const auto score = [&](double difference) {
    const double linear = -b - c + (2 * n - b + c) * difference, constant = -c * difference * (1 - difference);
    const double root = std::sqrt(std::max(0.0, linear * linear - 8 * n * constant));
    const double q = std::max(0.0, (root - linear) / (4 * n));
    const double variance = n * (2 * q + difference * (1 - difference));
    const double distance = b - c - n * difference;
    if (variance <= 0) return distance == 0 ? 0.0 : std::copysign(std::numeric_limits<double>::infinity(), distance);
    return distance / std::sqrt(variance);
  };
  const double seen = (b - c) / n;
  const auto find = [&](double inside, double outside, double wanted) {
    for (int i = 0; i < 100; ++i) {
      const double middle = (inside + outside) / 2;
      (std::fabs(score(middle)) < wanted ? inside : outside) = middle;
    }
    return inside;
  };
  return {find(seen, -1, z), find(seen, 1, z)};
}

void Mean::add(double value) {
  low = count == 0 ? value : std::min(low, value);
  high = count == 0 ? value : std::max(high, value);
  const double before = value - mean;
  mean += before / static_cast<double>(++count);
  squares += before * (value - mean);
}

Interval Mean::interval() const {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (count < 5) return {-kInfinite, kInfinite};
  const double v = static_cast<double>(count - 1), z = kZ, z2 = z * z, z3 = z2 * z, z5 = z3 * z2, z7 = z5 * z2;
  const double t = z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
                   (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v);
  const double half = t * std::sqrt(squares / v / static_cast<double>(count));
  return {mean - half, mean + half};
}

std::uint64_t samples_needed(double share, double z) {
  if (share <= 0) return std::numeric_limits<std::uint64_t>::max();
  return static_cast<std::uint64_t>(std::ceil(z * z * (1 - std::min(share, 1.0)) / share));
}

}  // namespace mayfly::gate
