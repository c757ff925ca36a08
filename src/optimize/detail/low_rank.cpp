// low-rank: a product with one matrix becomes two products with thinner ones, the best of that rank (Eckart and Young, 1936).
// The matrix's shorter side decides: the eigenvectors of W'W (or WW') span the part that is kept, so no full decomposition is needed.
#include <Eigen/Dense>
#include <cmath>
#include <cstdio>

#include "optimize/detail/quantise.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr std::int64_t kSideMax = 8192;  // of the shorter side: the decomposition takes its cube

struct Factors {
  Matrix left, right;
  double kept = 0;  // of the sum of squares
};

Factors factors_of(const TensorProto& weights, std::int64_t rank) {
  const std::vector<float> numbers = values<float>(weights);
  const Matrix whole = Eigen::Map<const Matrix>(numbers.data(), weights.dims(0), weights.dims(1));
  const bool tall = whole.rows() >= whole.cols();
  const Eigen::MatrixXf gram = tall ? Eigen::MatrixXf(whole.transpose() * whole) : Eigen::MatrixXf(whole * whole.transpose());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram.cast<double>());
  const Eigen::MatrixXf basis = solver.eigenvectors().rightCols(rank).cast<float>();  // eigenvalues ascend
  Factors out;
  if (tall) out.left = whole * basis, out.right = basis.transpose();
  else out.left = basis, out.right = basis.transpose() * whole;
  const double all = solver.eigenvalues().sum();
  out.kept = all > 0 ? solver.eigenvalues().tail(rank).sum() / all : 1;
  return out;
}

std::vector<float> flat(const Matrix& matrix) { return {matrix.data(), matrix.data() + matrix.size()}; }

}  // namespace

Result<void> low_rank(Work& work) {
  Graph& graph = work.graph;
  struct Made {
    std::string left, right;
  };
  std::map<std::string, Made> made;
  std::vector<NodeProto> out;
  double least = 1;
  for (int i = 0; i < graph.nodes(); ++i) {
    const NodeProto& node = graph.node(i);
    if (!is_onnx(node, "MatMul")) {
      if (is_onnx(node, "Gemm") && !unfit_weights(graph, node, 1)) work.leave(node, "it is a Gemm: only MatMul is split");
      out.push_back(node);
      continue;
    }
    auto why = unfit_weights(graph, node, 1);
    const TensorProto* weights = why ? nullptr : graph.constant(node.input(1));
    const std::int64_t rows = weights ? weights->dims(0) : 0, columns = weights ? weights->dims(1) : 0;
    const auto rank = weights ? static_cast<std::int64_t>(work.amount * static_cast<double>(rows) * static_cast<double>(columns) /
                                                          static_cast<double>(rows + columns)) : 0;
    if (weights && std::min(rows, columns) > kSideMax) why = "its weights are " + std::to_string(rows) + " by " + std::to_string(columns) +
        ": with both sides above 8192 the decomposition would take hours";
    else if (weights && rank < 1) why = "nothing would be left of its weights";
    if (why) work.leave(node, *why);
    if (why || work.kept(node)) {
      out.push_back(node);
      continue;
    }
    const std::string name = weights->name();
    const auto [place, is_new] = made.try_emplace(name);
    if (is_new) {
      const Factors factors = factors_of(*weights, rank);
      least = std::min(least, factors.kept);
      place->second.left = graph.add(make_tensor<float>(name + "_left", TensorProto::FLOAT, {rows, rank}, flat(factors.left)));
      place->second.right = graph.add(make_tensor<float>(name + "_right", TensorProto::FLOAT, {rank, columns}, flat(factors.right)));
    }
    const std::string middle = graph.unique(node.output(0) + "_thin");
    work.did(node);
    NodeProto first = make_node("MatMul", {node.input(0), place->second.left}, {middle});
    NodeProto second = make_node("MatMul", {middle, place->second.right}, {node.output(0)});
    out.push_back(std::move(first)), out.push_back(std::move(second));
  }
  graph.replace_nodes(std::move(out));
  graph.remove_unused_constants();
  char text[160];
  const int length = std::snprintf(text, sizeof(text), "of the sum of squares of each matrix at least %.1f %% is kept", 100 * least);
  if (!made.empty()) work.notes.emplace_back(text, static_cast<std::size_t>(length));
  return {};
}

}  // namespace mayfly::optimize
