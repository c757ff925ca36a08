// What a layer's inputs are like on samples: the means, and the mean products of each two, of the numbers that one of its sums takes. Of a
// product these are the numbers of a row, of a convolution those under a filter (im2col), for each group of channels by itself.
// Rounding weights so that a layer's results change least needs no more than this (optimize/fit_weights.h).
//
// Whoever has an engine shows each value of inputs_to_fit() sample by sample. Of a sample at most 256 places are taken, spread over it, so
// that a large picture costs no more than a small one. Only sums are kept, whatever the number of samples. Pure: no engine, no file.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "optimize/model.h"

namespace mayfly::optimize {

constexpr std::size_t kPatchMax = 2048;                      // numbers of a sum: their products are the square of it
constexpr std::uint64_t kMomentsMax = std::uint64_t{1} << 27;  // products of all layers

// How the numbers of a sum lie in the value that a layer takes.
struct Patches {
  std::size_t groups = 1, size = 0;                        // each group's sums take `size` numbers of their own
  std::vector<std::int64_t> kernel, strides, dilations, pads;  // of a convolution, as ONNX writes them; all empty for a product
  bool operator==(const Patches&) const = default;
};

class Moments {
 public:
  explicit Moments(Patches patches);

  // One sample's value. What has another shape than the layer takes, or numbers that are not finite, is not counted.
  void look(std::span<const float> values, std::span<const std::int64_t> shape);

  [[nodiscard]] std::uint64_t rows() const { return rows_; }                     // places seen
  [[nodiscard]] const Patches& patches() const { return patches_; }
  [[nodiscard]] std::vector<double> means(std::size_t group) const;              // `size` of them
  // `size` times `size`, symmetric. Centred: less the products of the means, which a bias can take upon itself.
  [[nodiscard]] std::vector<double> products(std::size_t group, bool centred) const;

 private:
  std::size_t spread(std::size_t index, std::size_t count, std::size_t all) const;
  bool take_rows(std::span<const float> values, std::span<const std::int64_t> shape);
  bool take_places(std::span<const float> values, std::span<const std::int64_t> shape);
  void add(std::size_t taken);
  Patches patches_;
  std::uint64_t rows_ = 0, samples_ = 0;
  std::vector<double> sums_, products_;  // by group; of the products those with column <= row
  std::vector<float> taken_;             // of a sample: by group, the rows
};

struct FitInput {
  std::string key, value;  // layers that take the same of a value have the same key
  Patches patches;
};
using AllMoments = std::map<std::string, Moments>;  // by key

// What fitting asks for, in the graph's order, of layers with so many weights: those that int8-weights stores, or all of them. Layers
// beyond the limits above are not there: their weights are only rounded.
enum class FitLayers { worth_storing, all };
[[nodiscard]] std::vector<FitInput> inputs_to_fit(const Model& model, FitLayers layers = FitLayers::worth_storing);

}  // namespace mayfly::optimize
