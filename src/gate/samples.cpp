#include "gate/samples.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/random.h"
#include "base/units.h"

namespace mayfly::gate {
namespace {

using domain::Datatype;
using domain::TensorSpec;

constexpr std::string_view kLabel = "label";
constexpr std::uint64_t kBytesMax = 1ULL << 30;

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

std::string names_of(const std::vector<TensorSpec>& specs) {
  std::string text;
  for (const TensorSpec& spec : specs)
    text += (text.empty() ? "'" : ", '") + spec.name + "' " + std::string(domain::name(spec.datatype)) + shape_text(spec.shape);
  return text;
}

Result<std::vector<std::string>> labels_of(const Array& array) {
  if (array.shape.empty() || array.shape.size() > 2 || (array.shape.size() == 2 && array.shape[1] != 1))
    return wrong("'label' has shape " + shape_text(array.shape) +
                 ": one label a sample is [samples]; a class is its number, not a row of 0 and 1");
  if (array.datatype == Datatype::bytes) return array.strings;
  std::vector<std::string> labels;
  for (std::uint64_t i = 0; i < count_of(array.shape); ++i) {
    const double value = number_at(array, i);
    if (value != std::trunc(value) || std::fabs(value) > 1e15)
      return wrong("label " + std::to_string(i) + " is " + std::to_string(value) + ": a label is a class, so a whole number or a text");
    labels.push_back(std::to_string(static_cast<std::int64_t>(value)));
  }
  return labels;
}

// The rows that one sample has: what the model's inputs fix their first dimension to.
Result<std::int64_t> rows_of(const domain::Signature& signature) {
  std::int64_t rows = 1;
  for (const TensorSpec& spec : signature.inputs) {
    if (spec.shape.empty())
      return wrong("input '" + spec.name +
                   "' is a single value, without a dimension for samples: sample sets are for models whose inputs have one");
    if (spec.shape[0] > 0) rows = std::max(rows, spec.shape[0]);
  }
  for (const TensorSpec& spec : signature.inputs)
    if (spec.shape[0] >= 0 && spec.shape[0] != rows)
      return wrong("the inputs fix different first dimensions (" + names_of(signature.inputs) + "): no sample set can be cut for that");
  return rows;
}

Result<void> check_shape(const Array& array, const TensorSpec& spec) {
  bool fits = array.shape.size() == spec.shape.size();
  for (std::size_t i = 1; fits && i < spec.shape.size(); ++i) fits = spec.shape[i] < 0 || spec.shape[i] == array.shape[i];
  if (fits) return {};
  std::vector<std::int64_t> wanted = spec.shape;
  wanted[0] = -1;
  return wrong("'" + array.name + "' has shape " + shape_text(array.shape) + ", and the model takes " + shape_text(wanted) +
               " with the samples in its first dimension");
}

Result<Samples> finish(std::vector<Array> inputs, std::vector<std::string> labels, bool labelled, const domain::Signature& signature) {
  Samples samples{.inputs = std::move(inputs), .labels = std::move(labels)};
  TRY(samples.rows, rows_of(signature));
  const std::int64_t length = samples.inputs[0].shape[0];
  for (const Array& input : samples.inputs)
    if (input.shape[0] != length)
      return wrong("'" + input.name + "' holds " + std::to_string(input.shape[0]) + " samples and '" + samples.inputs[0].name + "' " +
                   std::to_string(length) + ": as many of each");
  if (length == 0)
    return wrong("the sample set is empty: '" + samples.inputs[0].name + "' has shape " + shape_text(samples.inputs[0].shape));
  if (labelled && samples.labels.size() != static_cast<std::size_t>(length))
    return wrong("there are " + std::to_string(samples.labels.size()) + " labels for " + std::to_string(length) + " samples: one each");
  if (length % samples.rows != 0)
    return wrong("there are " + std::to_string(length) + " rows, and the model takes " + std::to_string(samples.rows) +
                 " at a time: a multiple of that");
  samples.count = static_cast<std::uint64_t>(length / samples.rows);
  return samples;
}

}  // namespace

Result<Samples> fit_arrays(std::vector<Array> arrays, const domain::Signature& signature) {
  TRY_VOID(rows_of(signature));
  std::vector<std::string> labels;
  const auto label = std::ranges::find(arrays, kLabel, &Array::name);
  const bool labelled = label != arrays.end() && std::ranges::find(signature.inputs, kLabel, &TensorSpec::name) == signature.inputs.end();
  if (labelled) {
    TRY(labels, labels_of(*label));
    arrays.erase(label);
  }
  std::vector<Array> inputs;
  for (const TensorSpec& spec : signature.inputs) {
    auto found = std::ranges::find(arrays, spec.name, &Array::name);
    if (found == arrays.end() && arrays.size() == 1 && signature.inputs.size() == 1) found = arrays.begin();
    if (found == arrays.end())
      return wrong("the sample set has no array for input '" + spec.name + "': the model takes " + names_of(signature.inputs) +
                   (arrays.empty() ? ", and there is none"
                                   : ", and there is '" + arrays[0].name + "'" + (arrays.size() > 1 ? " among others" : "")));
    TRY_VOID(check_shape(*found, spec));
    TRY(Array input, as_type(std::move(*found), spec.datatype));
    input.name = spec.name;
    inputs.push_back(std::move(input));
  }
  return finish(std::move(inputs), std::move(labels), labelled, signature);
}

Result<Samples> fit_columns(std::vector<Array> columns, const domain::Signature& signature) {
  TRY_VOID(rows_of(signature));
  if (signature.inputs.size() > 1) {
    for (const TensorSpec& spec : signature.inputs) {
      const auto found = std::ranges::find(columns, spec.name, &Array::name);
      if (found == columns.end() || spec.shape.size() > 2) continue;  // fit_arrays says what is missing, or of another shape
      if (spec.shape.size() == 2) found->shape.push_back(1);
    }
    return fit_arrays(std::move(columns), signature);
  }
  std::vector<std::string> labels;
  const auto label = std::ranges::find(columns, kLabel, &Array::name);
  const bool labelled = label != columns.end();
  if (labelled) {
    TRY(labels, labels_of(*label));
    columns.erase(label);
  }
  const TensorSpec& spec = signature.inputs[0];
  const auto width = static_cast<std::uint64_t>(columns.size());
  std::vector<std::int64_t> shape = spec.shape;
  if (shape.size() == 2 && shape[1] < 0) shape[1] = static_cast<std::int64_t>(width);
  shape[0] = 1;
  if (columns.empty() || count_of(shape) != width)
    return wrong("the table has " + std::to_string(width) + " columns beside 'label', and input '" + spec.name + "' " +
                 shape_text(spec.shape) +
                 (count_of(shape) == UINT64_MAX ? " has free dimensions, which a table can't give: take a .npz"
                                                : " takes " + std::to_string(count_of(shape)) + " values a sample"));
  const std::int64_t lines = columns[0].shape[0];
  shape[0] = lines;
  Array input{.name = spec.name, .datatype = columns[0].datatype, .shape = shape};
  if (input.datatype == Datatype::bytes) input.strings.resize(width * static_cast<std::uint64_t>(lines));
  else input.data.resize(width * static_cast<std::uint64_t>(lines) * sizeof(double));
  for (std::uint64_t c = 0; c < width; ++c) {
    if (columns[c].datatype != input.datatype) {
      const Array& texts = columns[c].datatype == Datatype::bytes ? columns[c] : columns[0];
      return wrong("column '" + texts.name + "' holds texts, like '" + texts.strings[0].substr(0, 40) + "', and others hold numbers");
    }
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(lines); ++i) {
      if (input.datatype == Datatype::bytes) input.strings[i * width + c] = std::move(columns[c].strings[i]);
      else put_number(input, i * width + c, number_at(columns[c], i));
    }
  }
  TRY(input, as_type(std::move(input), spec.datatype));
  std::vector<Array> inputs;
  inputs.push_back(std::move(input));
  return finish(std::move(inputs), std::move(labels), labelled, signature);
}

namespace {

double made_up(Random& random, const TensorSpec& spec, int whole_max) {
  const auto share = [&] { return (static_cast<double>(random.next() >> 11) + 0.5) * 0x1.0p-53; };
  switch (spec.datatype) {
    case Datatype::fp16:
    case Datatype::bf16:
    case Datatype::fp32:
    case Datatype::fp64:  // Box and Muller, Annals of Mathematical Statistics 29, 1958, 610-611
      return std::sqrt(-2 * std::log(share())) * std::cos(2 * std::numbers::pi * share());
    case Datatype::boolean: return random.between(0, 1);
    default: break;
  }
  if (spec.name.find("mask") != std::string::npos) return 1;
  if (spec.name.find("type") != std::string::npos || spec.name.find("segment") != std::string::npos) return 0;
  return random.between(0, std::min(whole_max, domain::element_size(spec.datatype) == 1 ? 127 : whole_max));
}

}  // namespace

Result<Samples> make_samples(const domain::Signature& signature, const MakeUp& how) {
  TRY(const std::int64_t rows, rows_of(signature));
  Samples samples{.count = how.count, .rows = rows, .generated = true};
  Random random(1);
  std::uint64_t left = kBytesMax;
  for (const TensorSpec& spec : signature.inputs) {
    Array input{.name = spec.name, .datatype = spec.datatype, .shape = spec.shape};
    input.shape[0] = static_cast<std::int64_t>(how.count) * rows;
    for (std::int64_t& d : input.shape) d = d < 0 ? how.size : d;
    const std::uint64_t count = count_of(input.shape), element = std::max<std::size_t>(1, domain::element_size(spec.datatype));
    if (count > left / element)
      return fail(Code::exhausted, std::to_string(how.count) + " made-up samples of input '" + spec.name + "' would take more than " +
                                       to_text(Bytes{kBytesMax}));
    left -= count * element;
    if (spec.datatype == Datatype::bytes) input.strings.resize(count);
    else input.data.resize(count * element);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (spec.datatype == Datatype::bytes) input.strings[i] = "sample " + std::to_string(random.between(0, how.whole_max));
      else put_number(input, i, made_up(random, spec, how.whole_max));
    }
    samples.inputs.push_back(std::move(input));
  }
  return samples;
}

Slice slice_of(const Array& input, std::uint64_t first, std::uint64_t rows) {
  const auto length = static_cast<std::uint64_t>(input.shape[0]);
  Slice slice{.shape = input.shape};
  slice.shape[0] = static_cast<std::int64_t>(rows);
  const bool texts = input.datatype == Datatype::bytes;
  const std::uint64_t width = (texts ? input.strings.size() : input.data.size()) / length;
  for (std::uint64_t i = 0; i < rows; ++i) {
    const auto from = static_cast<std::ptrdiff_t>((first + i) % length * width), to = from + static_cast<std::ptrdiff_t>(width);
    if (texts) slice.strings.insert(slice.strings.end(), input.strings.begin() + from, input.strings.begin() + to);
    else slice.data.insert(slice.data.end(), input.data.begin() + from, input.data.begin() + to);
  }
  return slice;
}

}  // namespace mayfly::gate
