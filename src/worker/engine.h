// ONNX Runtime, opened by name at run time: only zygotes and what they fork ever load it, so the node
// and the command line stay small. The library is the makers' own build; see docs/dependencies.md.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"

struct OrtApi;
struct OrtEnv;

namespace mayfly::worker {

class Engine {
 public:
  // Loads the library and creates its environment: single-threaded, telemetry off, logging through stderr.
  // `library` is a path; "" means lib/libonnxruntime.so.1 beside the running binary.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> open(const std::string& library);
  ~Engine();

  // Makes and runs a model of one operator, on this thread alone. The first session of a process makes the registries of operators
  // and kernels, which every fork then has: 2 to 3 ms less for each.
  [[nodiscard]] Result<void> warm();

  const OrtApi& api() const { return *api_; }
  const OrtEnv& environment() const { return *environment_; }
  OrtEnv& environment() { return *environment_; }
  const std::string& version() const { return version_; }

 private:
  Engine() = default;
  void* library_ = nullptr;
  const OrtApi* api_ = nullptr;
  OrtEnv* environment_ = nullptr;
  std::string version_;
};

}  // namespace mayfly::worker
