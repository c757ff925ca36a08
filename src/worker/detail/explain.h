// The engine's reasons for refusing a model, in words that its maker can act on. Private to worker.
#pragma once
#include "base/result.h"

namespace mayfly::worker {

// Known messages are replaced; others are kept, without the engine's source lines.
[[nodiscard]] Error explain_load_failure(Error error);

}  // namespace mayfly::worker
