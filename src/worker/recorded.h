// Recorded calls of a model (domain/recording.h) become a sample set: decoded as an instance decodes them (worker/codec.h), each row of a
// call a sample of its own size (gate/sizes.h). The bytes are callers': decoded in a process that can do nothing else.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/tensor.h"
#include "gate/samples.h"
#include "worker/child_work.h"

namespace mayfly::worker {

struct RecordedSamples {
  gate::Samples samples;
  std::uint64_t calls = 0;            // that samples were made of
  std::uint64_t refused = 0;          // that the model would not have taken
  std::uint64_t other_shapes = 0;     // of rare sizes: a set holds only so many (gate::sizes_max)
  std::string why;                    // of one that was refused
};

// Error: there are none, none that the model takes, or more than 1 GiB of them.
[[nodiscard]] Result<RecordedSamples> samples_of_calls(std::string_view bytes, const domain::Signature& signature,
                                                       const ChildLimits& limits);

}  // namespace mayfly::worker
