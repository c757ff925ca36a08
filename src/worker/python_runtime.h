// The host's own runtime for Python, src/worker/python_runtime.py, embedded when this is built (CMakeLists.txt): a program for
// `python3 -c`. For packages that bring no client of the Runtime API.
#pragma once
#include <string_view>

namespace mayfly::worker {

extern const std::string_view kPythonRuntimeText;

}  // namespace mayfly::worker
