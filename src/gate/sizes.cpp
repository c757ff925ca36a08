#include "gate/sizes.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>

namespace mayfly::gate {
namespace {

constexpr std::string_view kLabel = "label";

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

bool is_input(const domain::Signature& signature, std::string_view name) {
  return std::ranges::find(signature.inputs, name, &domain::TensorSpec::name) != signature.inputs.end();
}

struct Numbered {
  std::string name;
  std::size_t number = 1;  // as it is written
};

// nullopt: not one that is numbered from 2 on.
std::optional<Numbered> parts_of(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot + 1 == name.size() || name[dot + 1] == '0') return std::nullopt;
  Numbered parts{.name = name.substr(0, dot)};
  const auto [end, error] = std::from_chars(name.data() + dot + 1, name.data() + name.size(), parts.number);
  if (error != std::errc() || end != name.data() + name.size() || parts.number < 2) return std::nullopt;
  return parts;
}

std::uint64_t labels_each(const Samples& set) { return set.count == 0 ? 0 : set.labels.size() / set.count; }

void move_labels(const Samples& from, std::uint64_t sample, Samples& to) {
  const std::uint64_t each = labels_each(from);
  const auto first = from.labels.begin() + static_cast<std::ptrdiff_t>(sample * each);
  to.labels.insert(to.labels.end(), first, first + static_cast<std::ptrdiff_t>(each));
}

}  // namespace

std::size_t sizes_max(const domain::Signature& signature) {
  for (const domain::TensorSpec& spec : signature.inputs)
    if (const auto parts = parts_of(spec.name); parts && (is_input(signature, parts->name) || parts->name == kLabel)) return 1;
  return std::min(kSizesMax, kArraysMax / (signature.inputs.size() + 1));
}

std::string numbered(const std::string& name, std::size_t size) { return size == 0 ? name : name + "." + std::to_string(size + 1); }

Result<Samples> fit_sizes(std::vector<Array> arrays, const domain::Signature& signature) {
  std::map<std::size_t, std::vector<Array>> of_number;
  std::string last;  // of the greatest number
  for (Array& array : arrays) {
    const auto parts = is_input(signature, array.name) ? std::nullopt : parts_of(array.name);
    if (!parts || !(is_input(signature, parts->name) || parts->name == kLabel)) {
      of_number[1].push_back(std::move(array));
      continue;
    }
    if (of_number.empty() || parts->number >= of_number.rbegin()->first) last = array.name;
    array.name = parts->name;
    of_number[parts->number].push_back(std::move(array));
  }
  if (of_number.empty() || of_number.rbegin()->first == 1) return fit_arrays(std::move(of_number[1]), signature);
  const std::size_t count = of_number.rbegin()->first, most = sizes_max(signature);
  if (count > most)
    return wrong("'" + last + "' would be of size " + std::to_string(count) + ", and a sample set for this model has at most " +
                 std::to_string(most));
  std::vector<Samples> sets;
  for (std::size_t number = 1; number <= count; ++number) {
    if (!of_number.contains(number))
      return wrong("there is '" + last + "' and nothing of size " + std::to_string(number) +
                   ": sizes are numbered from 2 on, the first without a number");
    auto set = fit_arrays(std::move(of_number[number]), signature);
    if (!set) return fail(set.error().code, "of size " + std::to_string(number) + " of the sample set: " + set.error().message);
    if (!sets.empty() && set->labels.empty() != sets[0].labels.empty())
      return wrong("there are labels of size " + std::to_string(set->labels.empty() ? 1 : number) + " of the sample set and none of size " +
                   std::to_string(set->labels.empty() ? number : 1) + ": give them of all or of none");
    sets.push_back(std::move(*set));
  }
  return joined(std::move(sets));
}

Samples joined(std::vector<Samples> sets) {
  if (sets.size() == 1) return std::move(sets[0]);
  std::vector<std::size_t> order(sets.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t i) { return sets[i].count; });
  Samples whole{.rows = sets[0].rows, .generated = sets[0].generated, .preparation = sets[0].preparation};
  for (std::uint32_t size = 0; size < order.size(); ++size) {
    const std::uint64_t count = sets[order[size]].count;
    for (std::uint64_t s = 0; s < count; ++s) whole.places.push_back({size, s});
    whole.count += count;
  }
  // Where it stands among those of its size, from 0 to 1, it stands among all.
  const auto when = [&](const Place& place) {
    return (static_cast<double>(place.sample) + 0.5) / static_cast<double>(sets[order[place.size]].count);
  };
  std::ranges::stable_sort(whole.places, {}, when);
  for (const Place& place : whole.places) move_labels(sets[order[place.size]], place.sample, whole);
  for (const std::size_t i : order) {
    if (whole.inputs.empty()) whole.inputs = std::move(sets[i].inputs);
    else whole.other_sizes.push_back(std::move(sets[i].inputs));
  }
  return whole;
}

std::size_t sizes_of(const Samples& samples) { return 1 + samples.other_sizes.size(); }

const std::vector<Array>& arrays_of(const Samples& samples, std::size_t size) {
  return size == 0 ? samples.inputs : samples.other_sizes.at(size - 1);
}

std::vector<Samples> by_size(const Samples& samples) {
  if (samples.places.empty()) return {samples};
  std::vector<Samples> sets;
  for (std::size_t size = 0; size < sizes_of(samples); ++size) {
    Samples set{.inputs = arrays_of(samples, size), .rows = samples.rows, .generated = samples.generated,
                .preparation = samples.preparation};
    set.count = static_cast<std::uint64_t>(set.inputs[0].shape[0] / set.rows);
    sets.push_back(std::move(set));
  }
  // Those of one size stand in their order among the others.
  for (std::uint64_t i = 0; i < samples.places.size(); ++i) move_labels(samples, i, sets[samples.places[i].size]);
  return sets;
}

std::vector<Slice> slices_of(const Samples& samples, std::uint64_t sample, std::uint64_t rows) {
  const Place place = samples.places.empty() ? Place{0, sample} : samples.places[sample % samples.places.size()];
  std::vector<Slice> slices;
  for (const Array& array : arrays_of(samples, place.size))
    slices.push_back(slice_of(array, place.sample * static_cast<std::uint64_t>(samples.rows), rows));
  return slices;
}

}  // namespace mayfly::gate
