// parse_manifest takes any bytes: it ends, and what it accepts reads back equal.
#include <cstdint>

#include "base/assert.h"
#include "domain/manifest.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "name: fraud\nmodel: fraud.onnx\ntask: raw\nlabels: [a, b]\nresources: {memory: 512MiB, cpu: 1, timeout: 30s}\n",
      "scaling: {min: 0, max: 20, concurrency: auto, keep_alive: auto, target: {p99: 50ms}, reserved: 1}\nqueue:\n  max: 5\n",
      "batch: {rows_max: 32, wait_max: 0ms}\ninput: {bytes_max: 1MiB}\n", "labels:\n  - |\n    x\n  - >-\n    y\n  - \"\\u0041\\x42\"\n",
      "? a\n: b\n", "- &a [*a]\n", "%YAML 1.2\n---\n!!map {}\n...\n", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto quick = mayfly::domain::manifest_from_json(text))
    ASSERT(mayfly::domain::manifest_from_json(to_json(*quick)) == *quick, "JSON reads back equal");
  const auto parsed = mayfly::domain::parse_manifest(text);
  if (!parsed) {
    ASSERT(parsed.error().message.starts_with("line "), "an error names the line");
    return 0;
  }
  const auto back = mayfly::domain::parse_manifest(to_json(*parsed));
  ASSERT(back && *back == *parsed, "a manifest reads back equal");
  return 0;
}
