// Values of the engine, such as tensors, with one owner. Private to worker.
#pragma once
#include <utility>
#include <vector>

#include "worker/detail/ort.h"

namespace mayfly::worker {

struct Values {
  explicit Values(const OrtApi& interface) : api(&interface) {}
  Values(Values&& other) noexcept : api(other.api), raw(std::exchange(other.raw, {})) {}
  Values& operator=(Values&&) = delete;
  ~Values() { release(); }
  void release() {
    for (OrtValue*& value : raw) {
      if (value) api->ReleaseValue(value);
      value = nullptr;
    }
  }
  const OrtApi* api;
  std::vector<OrtValue*> raw;
};

}  // namespace mayfly::worker
