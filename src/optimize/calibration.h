// What range an activation has, from samples of it: the methods of onnxruntime.quantization (calibrate.py, MinMaxCalibrator,
// PercentileCalibrator, EntropyCalibrator). Pure and of bounded memory: a first pass over the values finds the least and the most, a
// second counts them in 2,048 bins of equal width. Driven by worker/calibrate.h, which has the engine.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "optimize/static_int8.h"

namespace mayfly::optimize {

// min_max: all that was seen. percentile: what 99.999 % of the values are within, as there. entropy: symmetric about 0, the cut at
// which the values' distribution and its form in 128 steps differ least (Kullback and Leibler's divergence).
// squares: the range with which the squared error of the quantised values is least.
enum class Calibration { min_max, percentile, entropy, squares };

// Of "int8-static", "int8-static:percentile", …:entropy or …:mse, and of kStaticFitStep, which takes the ranges of mse; nullopt: another.
inline constexpr std::string_view kStaticFitStep = "int8-static:fit";
[[nodiscard]] std::optional<Calibration> calibration_of(std::string_view step);

class Observed {
 public:
  void look(std::span<const float> values);   // the first pass; what is no finite number is not counted
  void count(std::span<const float> values);  // the second, over the same values; needless for min_max
  // nullopt where no finite number was seen.
  [[nodiscard]] std::optional<Range> range(Calibration method) const;

 private:
  Range percentile() const;
  Range entropy() const;
  Range squares() const;
  double squared_error(double low, double high) const;
  double edge(std::size_t bin) const;  // where it begins
  bool any_ = false;
  Range seen_;
  float bound_ = 0;                    // the bins go from -bound_ to bound_
  std::vector<std::uint64_t> bins_;
};

}  // namespace mayfly::optimize
