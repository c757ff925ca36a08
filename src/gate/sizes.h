// Sample sets of several sizes: sentences of several lengths, pictures of several heights, for models with free dimensions. Each sample
// keeps its own shape; nothing is padded, since that would change what a model answers. In an .npz each size has its arrays: `ids` and
// `mask` of the first, `ids.2` and `mask.2` of the next. Pure; driven by whoever reads or makes such a set, and by who cuts samples out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gate/samples.h"

namespace mayfly::gate {

constexpr std::size_t kSizesMax = 256;
constexpr std::size_t kArraysMax = 1024;  // of a file

// How many sizes a set for such a model may have: 1 where the names of its inputs could be taken for numbered ones ("x" and "x.2").
[[nodiscard]] std::size_t sizes_max(const domain::Signature& signature);

// "ids" of the first size, "ids.2" of the second, counted from 0 here.
[[nodiscard]] std::string numbered(const std::string& name, std::size_t size);

// As fit_arrays(), of arrays that may be numbered. Error invalid_argument: besides what is wrong with those of one size, a number that is
// left out, more sizes than there may be, or labels of some sizes alone.
[[nodiscard]] Result<Samples> fit_sizes(std::vector<Array> arrays, const domain::Signature& signature);

// One set of several, each of one size. Their samples come in turns, as evenly as there are some of each, so that the first few stand
// for all; a size of which there are most comes first.
[[nodiscard]] Samples joined(std::vector<Samples> sets);
// And back: each size alone, with its labels.
[[nodiscard]] std::vector<Samples> by_size(const Samples& samples);

[[nodiscard]] std::size_t sizes_of(const Samples& samples);
[[nodiscard]] const std::vector<Array>& arrays_of(const Samples& samples, std::size_t size);

// All inputs of sample `sample`; with more rows than it has, also of those of its size behind it, from the beginning again at their end.
[[nodiscard]] std::vector<Slice> slices_of(const Samples& samples, std::uint64_t sample, std::uint64_t rows);

}  // namespace mayfly::gate
