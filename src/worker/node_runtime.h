// The host's own runtime for Node.js, src/worker/node_runtime.mjs, embedded when this is built (CMakeLists.txt): a program for
// `node --input-type=module -e`. For packages that bring no client of the Runtime API.
#pragma once
#include <string_view>

namespace mayfly::worker {

extern const std::string_view kNodeRuntimeText;

}  // namespace mayfly::worker
