// Recorded calls of a function on a node as samples: for `mayfly record -o` and for `mayfly optimize --data recorded:NAME`.
#pragma once
#include <string>

#include "app/commands.h"
#include "base/result.h"
#include "worker/recorded.h"

namespace mayfly::app {

// Fetches them, and decodes them for a model that takes this.
[[nodiscard]] Result<worker::RecordedSamples> recorded_samples(const Context& context, const std::string& function,
                                                               const domain::Signature& signature, const worker::ChildLimits& limits);
// What was left out of them: lines, "" where nothing was.
[[nodiscard]] std::string left_out_of(const worker::RecordedSamples& made);

}  // namespace mayfly::app
