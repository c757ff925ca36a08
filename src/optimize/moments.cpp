#include "optimize/moments.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <set>

#include "optimize/detail/fit.h"

namespace mayfly::optimize {
namespace {

constexpr std::size_t kPlacesMax = 256;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::uint64_t product_of(std::span<const std::int64_t> sizes) {
  std::uint64_t product = 1;
  for (const std::int64_t size : sizes) product *= static_cast<std::uint64_t>(std::max<std::int64_t>(size, 0));
  return product;
}

// Where `index` is in an array of these sizes.
void unravel(std::uint64_t index, std::span<const std::int64_t> sizes, std::vector<std::int64_t>& at) {
  for (std::size_t d = sizes.size(); d-- > 0;) {
    at[d] = static_cast<std::int64_t>(index % static_cast<std::uint64_t>(sizes[d]));
    index /= static_cast<std::uint64_t>(sizes[d]);
  }
}

}  // namespace

Moments::Moments(Patches patches) : patches_(std::move(patches)) {
  sums_.assign(patches_.groups * patches_.size, 0);
  products_.assign(patches_.groups * patches_.size * patches_.size, 0);
}

// Which of `all` places is the one with this index of `count`: all in order, or some that no row or column of a picture is preferred by.
std::size_t Moments::spread(std::size_t index, std::size_t count, std::size_t all) const {
  if (count == all) return index;
  return static_cast<std::size_t>((samples_ * kPlacesMax + index) * 2654435761u % all);  // Knuth's multiplicative hash
}

void Moments::look(std::span<const float> values, std::span<const std::int64_t> shape) {
  if (values.empty() || product_of(shape) != values.size()) return;
  const bool took = patches_.kernel.empty() ? take_rows(values, shape) : take_places(values, shape);
  const std::size_t taken = took ? taken_.size() / (patches_.groups * patches_.size) : 0;
  if (taken == 0 || !std::ranges::all_of(taken_, [](float value) { return std::isfinite(value); })) return;
  add(taken);
  rows_ += taken, ++samples_;
}

bool Moments::take_rows(std::span<const float> values, std::span<const std::int64_t> shape) {
  if (shape.empty() || shape.back() != static_cast<std::int64_t>(patches_.size)) return false;
  const std::size_t all = values.size() / patches_.size, count = std::min(all, kPlacesMax);
  taken_.resize(count * patches_.size);
  for (std::size_t i = 0; i < count; ++i)
    std::ranges::copy(values.subspan(spread(i, count, all) * patches_.size, patches_.size),
                      taken_.begin() + static_cast<std::ptrdiff_t>(i * patches_.size));
  return true;
}

bool Moments::take_places(std::span<const float> values, std::span<const std::int64_t> shape) {
  const std::size_t depth = patches_.kernel.size(), under = product_of(patches_.kernel), channels = patches_.size / under;
  if (shape.size() != depth + 2 || shape[1] != static_cast<std::int64_t>(patches_.groups * channels)) return false;
  const std::span<const std::int64_t> sizes = shape.subspan(2);
  std::vector<std::int64_t> out(depth), place(depth), offset(depth);
  for (std::size_t d = 0; d < depth; ++d) {
    const std::int64_t room = sizes[d] + patches_.pads[d] + patches_.pads[depth + d] - patches_.dilations[d] * (patches_.kernel[d] - 1) - 1;
    if (room < 0) return false;
    out[d] = room / patches_.strides[d] + 1;
  }
  const std::uint64_t plane = product_of(sizes), places = product_of(out);
  const std::size_t all = static_cast<std::size_t>(shape[0]) * places, count = std::min(all, kPlacesMax);
  taken_.assign(count * patches_.groups * patches_.size, 0);  // what is beyond the edge stays 0
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t picked = spread(i, count, all);
    unravel(picked % places, out, place);
    const float* const sample = values.data() + picked / places * static_cast<std::size_t>(shape[1]) * plane;
    for (std::uint64_t k = 0; k < under; ++k) {
      unravel(k, patches_.kernel, offset);
      std::int64_t from = 0;
      bool inside = true;
      for (std::size_t d = 0; d < depth && inside; ++d) {
        const std::int64_t at = place[d] * patches_.strides[d] - patches_.pads[d] + offset[d] * patches_.dilations[d];
        inside = at >= 0 && at < sizes[d];
        from = from * sizes[d] + at;
      }
      if (!inside) continue;
      for (std::size_t g = 0; g < patches_.groups; ++g)
        for (std::size_t c = 0; c < channels; ++c)
          taken_[(g * count + i) * patches_.size + c * under + k] = sample[(g * channels + c) * plane + static_cast<std::uint64_t>(from)];
    }
  }
  return true;
}

void Moments::add(std::size_t taken) {
  const auto size = static_cast<Eigen::Index>(patches_.size);
  for (std::size_t g = 0; g < patches_.groups; ++g) {
    const Eigen::Map<const Rows> rows(taken_.data() + g * taken * patches_.size, static_cast<Eigen::Index>(taken), size);
    Eigen::Map<Eigen::VectorXd>(sums_.data() + g * patches_.size, size) += rows.colwise().sum().transpose().cast<double>();
    Rows products = Rows::Zero(size, size);
    products.selfadjointView<Eigen::Lower>().rankUpdate(rows.transpose());
    double* to = products_.data() + g * patches_.size * patches_.size;
    for (Eigen::Index r = 0; r < size; ++r)
      for (Eigen::Index c = 0; c <= r; ++c) to[r * size + c] += static_cast<double>(products(r, c));
  }
}

std::vector<double> Moments::means(std::size_t group) const {
  const auto first = sums_.begin() + static_cast<std::ptrdiff_t>(group * patches_.size);
  std::vector<double> out(first, first + static_cast<std::ptrdiff_t>(patches_.size));
  for (double& one : out) one /= static_cast<double>(std::max<std::uint64_t>(rows_, 1));
  return out;
}

std::vector<double> Moments::products(std::size_t group, bool centred) const {
  const std::size_t size = patches_.size;
  const std::vector<double> mean = means(group);
  const double* from = products_.data() + group * size * size;
  std::vector<double> out(size * size);
  for (std::size_t r = 0; r < size; ++r)
    for (std::size_t c = 0; c <= r; ++c) {
      const double one = from[r * size + c] / static_cast<double>(std::max<std::uint64_t>(rows_, 1)) - (centred ? mean[r] * mean[c] : 0);
      out[r * size + c] = out[c * size + r] = one;
    }
  return out;
}

std::vector<FitInput> inputs_to_fit(const Model& model, FitLayers layers) {
  Model mine = model.copy();
  const Graph graph(mine.impl().proto);
  std::vector<FitInput> out;
  std::set<std::string> seen;
  std::uint64_t products = 0;
  for (int i = 0; i < graph.nodes(); ++i) {
    const auto patches = patches_of(graph, graph.node(i), layers);
    if (!patches) continue;
    const std::string& value = graph.node(i).input(0);
    FitInput input{.key = key_of(value, *patches), .value = value, .patches = *patches};
    const std::uint64_t more = patches->groups * patches->size * patches->size;
    if (seen.contains(input.key) || products + more > kMomentsMax) continue;
    products += more;
    seen.insert(input.key);
    out.push_back(std::move(input));
  }
  return out;
}

}  // namespace mayfly::optimize
