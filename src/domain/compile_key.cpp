#include "domain/compile_key.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mayfly::domain {
namespace {

// Raise it when worker/jobs.cpp compiles differently: other optimisations, another file format.
constexpr int kOptionsVersion = 3;

#if defined(__x86_64__)
enum Register { eax, ebx, ecx, edx };
struct Feature {
  unsigned leaf, subleaf;
  Register where;
  unsigned bit;
  const char* name;
};
// Those that the engine's matrix library (MLAS) chooses kernels and weight layouts by.
constexpr Feature kFeatures[] = {
    {1, 0, ecx, 28, "avx"}, {1, 0, ecx, 12, "fma"}, {1, 0, ecx, 29, "f16c"}, {7, 0, ebx, 5, "avx2"}, {7, 0, ebx, 16, "avx512f"},
    {7, 0, ebx, 17, "avx512dq"}, {7, 0, ebx, 30, "avx512bw"}, {7, 0, ebx, 31, "avx512vl"}, {7, 0, ecx, 11, "avx512vnni"},
    {7, 1, eax, 4, "avxvnni"}, {7, 1, eax, 5, "avx512bf16"}, {7, 0, edx, 23, "avx512fp16"}, {7, 0, edx, 24, "amxtile"},
    {7, 0, edx, 25, "amxint8"}, {7, 0, edx, 22, "amxbf16"}};
#endif

}  // namespace

std::string cpu_features() {
#if defined(__x86_64__)
  std::string text = "x86-64";
  for (const Feature& feature : kFeatures) {
    unsigned registers[4] = {};
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &registers[eax], &registers[ebx], &registers[ecx], &registers[edx])) continue;
    if (registers[feature.where] >> feature.bit & 1) text.append("+").append(feature.name);
  }
  return text;
#else
  return "other";
#endif
}

std::string compile_key() {
  return std::string("onnxruntime-") + MAYFLY_ENGINE_VERSION + "/options-" + std::to_string(kOptionsVersion) + "/" + cpu_features();
}

}  // namespace mayfly::domain
