#include "gate/split.h"

#include <algorithm>
#include <numeric>

#include "gate/sizes.h"

namespace mayfly::gate {
namespace {

void append(Samples& to, const Samples& from, std::uint64_t sample) {
  const auto rows = static_cast<std::uint64_t>(from.rows);
  const std::vector<Slice> slices = slices_of(from, sample, rows);
  const std::size_t size = from.places.empty() ? 0 : from.places[sample].size;
  std::vector<Array>& inputs = size == 0 ? to.inputs : to.other_sizes[size - 1];
  if (!from.places.empty())
    to.places.push_back({static_cast<std::uint32_t>(size), static_cast<std::uint64_t>(inputs[0].shape[0] / from.rows)});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Slice& slice = slices[i];
    Array& array = inputs[i];
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
  made.places.clear();
  const auto empty = [](std::vector<Array>& inputs) {
    for (Array& array : inputs) array.data.clear(), array.strings.clear(), array.shape[0] = 0;
  };
  empty(made.inputs);
  std::ranges::for_each(made.other_sizes, empty);
  return made;
}

// Which are taken. Of one size each n-th. Several sizes come in turns, and each n-th could be the same one each time: then those whose
// multiple of the golden ratio has the smallest fraction, which are spread as evenly and in step with nothing.
std::vector<bool> chosen(const Samples& samples, std::uint64_t take) {
  std::vector<bool> takes(samples.count, false);
  if (samples.places.empty()) {
    for (std::uint64_t i = 0, taken = 0; i < samples.count; ++i)
      if (taken < take && i * take >= taken * samples.count) takes[i] = true, ++taken;
    return takes;
  }
  std::vector<std::uint64_t> order(samples.count);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [](std::uint64_t i) { return i * 0x9E3779B97F4A7C15ULL; });  // of 2^64
  for (std::uint64_t i = 0; i < take; ++i) takes[order[i]] = true;
  return takes;
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
  const std::vector<bool> takes = chosen(samples, take);
  for (std::uint64_t i = 0; i < samples.count; ++i) {
    if (takes[i]) append(parts.calibration, samples, i);
    else if (parts.apart) append(parts.rest, samples, i);
  }
  return parts;
}

}  // namespace mayfly::gate
