#include "worker/codec_check.h"

#include <algorithm>
#include <numeric>

namespace mayfly::worker::codec {
namespace {

using domain::TensorSpec;

constexpr std::size_t kNameShown = 100;

// Changes of one letter that lead from one to the other (Levenshtein, one row of the table at a time).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

std::string names(const std::vector<TensorSpec>& specs) {
  constexpr std::size_t kShown = 10;
  std::string all;
  for (std::size_t i = 0; i < std::min(specs.size(), kShown); ++i) all += (i ? ", '" : "'") + specs[i].name + "'";
  if (specs.size() > kShown) all += " and " + std::to_string(specs.size() - kShown) + " more";
  return all.empty() ? "none" : all;
}

// What to do about the first dimension that is wrong.
std::string advice(const TensorSpec& spec, std::span<const std::int64_t> shape) {
  const std::size_t rank = spec.shape.size();
  if (rank != shape.size()) return "send " + std::to_string(rank) + " dimensions, not " + std::to_string(shape.size());
  std::size_t wrong = 0;
  while (wrong < rank && (spec.shape[wrong] == -1 || spec.shape[wrong] == shape[wrong])) ++wrong;
  const char* unit = spec.datatype == domain::Datatype::bytes     ? " strings"
                     : spec.datatype == domain::Datatype::boolean ? " values"
                                                                  : " numbers";
  if (wrong + 1 == rank && rank == 2) return "send " + std::to_string(spec.shape[wrong]) + unit + " a row";
  return "dimension " + std::to_string(wrong) + " must be " + std::to_string(spec.shape[wrong]);
}

}  // namespace

std::string input(const TensorSpec& spec) { return "input '" + spec.name + "'"; }

std::string text(std::span<const std::int64_t> shape) {
  std::string out = "[";
  for (const std::int64_t size : shape) out += (out.size() > 1 ? "," : "") + std::to_string(size);
  return out + "]";
}

std::string text(const TensorSpec& spec) { return std::string(domain::name(spec.datatype)) + " " + text(spec.shape); }

std::optional<std::size_t> find(const std::vector<TensorSpec>& specs, std::string_view name, std::size_t hint) {
  for (std::size_t i = hint; i < specs.size(); ++i)
    if (specs[i].name == name) return i;
  for (std::size_t i = 0; i < std::min(hint, specs.size()); ++i)
    if (specs[i].name == name) return i;
  return std::nullopt;
}

Error unknown(std::string_view kind, std::string_view name, const std::vector<TensorSpec>& specs) {
  const std::string shown(name.substr(0, kNameShown));
  std::string message = "the model has no " + std::string(kind) + " '" + shown + (name.size() > kNameShown ? "…'" : "'");
  const TensorSpec* nearest = nullptr;
  std::size_t best = std::max<std::size_t>(2, shown.size() / 2) + 1;
  for (const TensorSpec& spec : specs) {
    if (spec.name.size() > 2 * kNameShown) continue;
    if (const std::size_t d = distance(shown, spec.name); d < best) best = d, nearest = &spec;
  }
  if (nearest && specs.size() > 1) message += "; did you mean '" + nearest->name + "'? It has " + names(specs);
  else message += "; it has " + names(specs);
  return {Code::invalid_argument, std::move(message)};
}

std::optional<std::size_t> count_of(std::span<const std::int64_t> shape) {
  std::size_t count = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) empty = true;
    else if (__builtin_mul_overflow(count, static_cast<std::size_t>(size), &count)) return std::nullopt;
  }
  return empty ? 0 : count;
}

Result<void> check_shape(const TensorSpec& spec, std::span<const std::int64_t> shape, std::string_view sent) {
  bool fits = spec.shape.size() == shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = spec.shape[i] == -1 || spec.shape[i] == shape[i];
  if (fits) return {};
  return fail(Code::invalid_argument, input(spec) + ": expected " + text(spec) + ", got " + std::string(sent) + " of shape " + text(shape) +
                                          "; " + advice(spec, shape));
}

Result<void> check_complete(const domain::Signature& signature, std::span<const std::uint8_t> seen, DecodedRequest& request) {
  std::string missing;
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (!seen[i]) missing += (missing.empty() ? "" : ", ") + input(signature.inputs[i]) + " (" + text(signature.inputs[i]) + ")";
  if (!missing.empty()) return fail(Code::invalid_argument, "missing: " + missing + "; a request holds every input of the model");
  request.rows = 1;
  if (!signature.batches || request.inputs.empty()) return {};
  request.rows = request.inputs[0].shape[0];
  if (request.rows < 1) return fail(Code::invalid_argument, input(signature.inputs[0]) + " has no rows; send at least one");
  for (std::size_t i = 1; i < request.inputs.size(); ++i)
    if (request.inputs[i].shape[0] != request.rows)
      return fail(Code::invalid_argument, input(signature.inputs[i]) + " has " + std::to_string(request.inputs[i].shape[0]) + " rows, " +
                                              input(signature.inputs[0]) + " has " + std::to_string(request.rows) +
                                              "; all inputs need the same number");
  return {};
}

}  // namespace mayfly::worker::codec
