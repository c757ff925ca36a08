#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "optimize/detail/fit.h"

namespace mayfly::optimize {
namespace {

constexpr double kDamp = 0.01;        // of the mean square of the inputs, added to each: GPTQ's
constexpr Eigen::Index kBlock = 32;   // rows at once, so that they stay in the cache

// The numbers by the size of their inputs, the largest first.
std::vector<Eigen::Index> order_of(const Eigen::MatrixXd& products) {
  std::vector<Eigen::Index> order(static_cast<std::size_t>(products.rows()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::ranges::stable_sort(order, std::ranges::greater(), [&](Eigen::Index i) { return products(i, i); });
  return order;
}

// U, upper, with U'U the inverse: its row i says how the numbers behind i make up for an error at i. By the Cholesky factor of the
// products in reverse order, so that they are never inverted as a whole.
std::optional<Eigen::MatrixXf> compensation(const Eigen::MatrixXd& products) {
  const Eigen::LLT<Eigen::MatrixXd> factor(products.reverse());
  if (factor.info() != Eigen::Success) return std::nullopt;
  const Eigen::MatrixXd upper = Eigen::MatrixXd(factor.matrixL()).reverse();
  const Eigen::MatrixXd inverse =
      upper.triangularView<Eigen::Upper>().solve(Eigen::MatrixXd::Identity(products.rows(), products.cols()));
  if (!inverse.allFinite()) return std::nullopt;
  return inverse.cast<float>();
}

}  // namespace

std::optional<std::vector<std::int8_t>> round_with_feedback(const RowsToRound& rows) {
  const auto count = static_cast<Eigen::Index>(rows.scales.size());
  const auto size = static_cast<Eigen::Index>(rows.weights.size() / rows.scales.size());
  Eigen::MatrixXd products = Eigen::Map<const Eigen::MatrixXd>(rows.products.data(), size, size);
  const double mean = products.trace() / static_cast<double>(size);
  if (!std::isfinite(mean) || mean <= 0) return std::nullopt;
  products.diagonal().array() += kDamp * mean;
  const std::vector<Eigen::Index> order = order_of(products);
  const auto makes_up = compensation(products(order, order));
  if (!makes_up) return std::nullopt;
  std::vector<std::int8_t> out(rows.weights.size());
  Eigen::MatrixXf block(kBlock, size);
  Eigen::VectorXf error(kBlock);
  for (Eigen::Index first = 0; first < count; first += kBlock) {
    const Eigen::Index here = std::min(kBlock, count - first);
    block.setZero(), error.setZero();
    for (Eigen::Index i = 0; i < size; ++i)
      for (Eigen::Index r = 0; r < here; ++r)
        block(r, i) = rows.weights[static_cast<std::size_t>((first + r) * size + order[static_cast<std::size_t>(i)])];
    for (Eigen::Index i = 0; i < size; ++i) {
      for (Eigen::Index r = 0; r < here; ++r) {
        const float scale = rows.scales[static_cast<std::size_t>(first + r)];
        const float whole = std::clamp(std::nearbyint(block(r, i) / scale), -rows.most, rows.most);
        out[static_cast<std::size_t>((first + r) * size + order[static_cast<std::size_t>(i)])] = static_cast<std::int8_t>(whole);
        error(r) = (block(r, i) - whole * scale) / (*makes_up)(i, i);
      }
      const Eigen::Index left = size - i - 1;
      if (left > 0) block.rightCols(left).noalias() -= error * makes_up->row(i).tail(left);
    }
  }
  return out;
}

}  // namespace mayfly::optimize
