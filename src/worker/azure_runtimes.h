// The host's own runtimes for Azure's programming models, src/worker/azure_python.py and azure_node.mjs, embedded when this is built
// (CMakeLists.txt): programs for `python3 -c` and `node --input-type=module -e` that serve the functions of the app in their folder to
// worker/http_host.h: GET /mayfly/functions, and requests as worker/azure.h writes them.
#pragma once
#include <string_view>

namespace mayfly::worker {

extern const std::string_view kAzurePythonText;
extern const std::string_view kAzureNodeText;

}  // namespace mayfly::worker
