#include "gate/split.h"

#include <algorithm>

namespace mayfly::gate {
namespace {

void append(Samples& to, const Samples& from, std::uint64_t sample) {
  const auto rows = static_cast<std::uint64_t>(from.rows);
  for (std::size_t i = 0; i < from.inputs.size(); ++i) {
    Slice slice = slice_of(from.inputs[i], sample * rows, rows);
    Array& array = to.inputs[i];
    array.data.insert(array.data.end(), slice.data.begin(), slice.data.end());
    array.strings.insert(array.strings.end(), slice.strings.begin(), slice.strings.end());
    array.shape[0] += slice.shape[0];
  }
  const std::uint64_t each = from.labels.size() / from.count;
  const auto first = from.labels.begin() + static_cast<std::ptrdiff_t>(sample * each);
  to.labels.insert(to.labels.end(), first, first + static_cast<std::ptrdiff_t>(each));
  ++to.count;
}

Samples none_of(const Samples& like) {
  Samples made = like;
  made.count = 0;
  made.labels.clear();
  for (Array& array : made.inputs) array.data.clear(), array.strings.clear(), array.shape[0] = 0;
  return made;
}

}  // namespace

Parts split(const Samples& samples, std::uint64_t most, std::uint64_t rest_least) {
  Parts parts{.calibration = none_of(samples), .rest = none_of(samples)};
  if (samples.count == 0) return parts;
  // Of a set that is just large enough, what is beyond the rest, as long as that is worth calling a calibration.
  constexpr std::uint64_t kWorthIt = 16;
  const std::uint64_t spare = samples.count - std::min(samples.count, rest_least);
  parts.apart = spare >= std::min(kWorthIt, most);
  const std::uint64_t take = std::min(most, parts.apart ? spare : samples.count);
  if (!parts.apart) parts.rest = samples;
  for (std::uint64_t i = 0, taken = 0; i < samples.count; ++i) {
    const bool takes = taken < take && i * take >= taken * samples.count;
    if (takes) append(parts.calibration, samples, i), ++taken;
    else if (parts.apart) append(parts.rest, samples, i);
  }
  return parts;
}

}  // namespace mayfly::gate
