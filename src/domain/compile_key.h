// Which machines a compiled model fits: the engine's version, the processor's features that its kernels and layouts
// depend on, and the options of the compile. The node compares keys; it never needs the engine for that.
#pragma once
#include <string>

namespace mayfly::domain {

// Of this machine: "onnxruntime-1.28.0/options-3/x86-64+avx2+fma+avx512f…". Stable while the machine and the build are.
[[nodiscard]] std::string compile_key();
// Its last part: "x86-64+avx2+fma+avx512f…".
[[nodiscard]] std::string cpu_features();

}  // namespace mayfly::domain
