// A sample set: inputs for a model, as many as there are, and where somebody knows them the right answers. Made of the arrays of a file
// (gate/npy.h, gate/csv.h) and checked against what the model takes, or made up. A value; driven by whoever compares two models.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "gate/array.h"

namespace mayfly::gate {

struct Place {
  std::uint32_t size = 0;           // 0: `inputs`
  std::uint64_t sample = 0;         // among those of its size
};

struct Samples {
  std::vector<Array> inputs;        // in the order of the signature, whole: the first dimension is count * rows
  std::uint64_t count = 0;
  std::int64_t rows = 1;            // of a sample: more where the model's first dimension is fixed to more
  std::vector<std::string> labels;  // one a row, integers in decimal; empty: none are known
  bool generated = false;
  std::string preparation;          // of pictures: what was done to them, for a message
  // Samples of other sizes in dimensions that are free (gate/sizes.h): likewise, then where each sample of the whole set is. Empty: none.
  std::vector<std::vector<Array>> other_sizes = {};
  std::vector<Place> places = {};
};

// What an array is checked and changed for: names, types, shapes. A single array may have any name where the model has one input.
// Error invalid_argument says which array, what it is and what it should be.
[[nodiscard]] Result<Samples> fit_arrays(std::vector<Array> arrays, const domain::Signature& signature);

// The columns of a table: where the model has one input, all in their order are its elements; else each input has the column of its name.
[[nodiscard]] Result<Samples> fit_columns(std::vector<Array> columns, const domain::Signature& signature);

// Made-up inputs, the same at every call: floats of a normal distribution, whole numbers from 0 up to `whole_max`, masks of ones. They
// know nothing of what the model is for. `size` is for dimensions that are free, beyond the first.
struct MakeUp {
  std::uint64_t count = 0;
  std::int64_t size = 8;
  int whole_max = 1000;
};
[[nodiscard]] Result<Samples> make_samples(const domain::Signature& signature, const MakeUp& how);

// Input `input` of `rows` rows from `first` on; begins again at the end. Of texts, only `strings` is filled in.
struct Slice {
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
  std::vector<std::string> strings;
};
[[nodiscard]] Slice slice_of(const Array& input, std::uint64_t first, std::uint64_t rows);

}  // namespace mayfly::gate
