// The inputs of one run, cut out of a sample set, with the views that the engine's model takes. Whoever measures a model uses it.
#pragma once
#include <string_view>
#include <vector>

#include "gate/sizes.h"
#include "worker/model.h"

namespace mayfly::worker {

struct SampleInput {
  SampleInput(const gate::Samples& samples, std::uint64_t sample, std::uint64_t rows) : slices(gate::slices_of(samples, sample, rows)) {
    for (const gate::Slice& slice : slices) {
      texts.emplace_back(slice.strings.begin(), slice.strings.end());
      views.push_back({.shape = slice.shape, .data = slice.data, .strings = texts.back()});
    }
  }
  SampleInput(const SampleInput&) = delete;  // views point into it
  SampleInput& operator=(const SampleInput&) = delete;
  std::vector<gate::Slice> slices;
  std::vector<std::vector<std::string_view>> texts;
  std::vector<TensorView> views;
};

}  // namespace mayfly::worker
