// ONNX Runtime's C interface with owners and Results. The C interface rather than its C++ wrapper: the
// library is opened at run time, and on the way of a request each call is visible.
#pragma once
#include <onnxruntime_c_api.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::worker {

// The engine has no code of its own for it.
[[nodiscard]] inline bool is_out_of_memory(std::string_view message) {
  return message.find("bad_alloc") != std::string_view::npos || message.find("Failed to allocate memory") != std::string_view::npos;
}

// What the engine says, as an Error, and the status released.
[[nodiscard]] inline Error take_error(const OrtApi& api, OrtStatus* status) {
  Code code = Code::internal;
  switch (api.GetErrorCode(status)) {
    case ORT_INVALID_ARGUMENT: case ORT_INVALID_GRAPH: case ORT_INVALID_PROTOBUF: code = Code::invalid_argument; break;
    case ORT_NOT_IMPLEMENTED: code = Code::unimplemented; break;
    case ORT_NO_SUCHFILE: code = Code::not_found; break;
    default: break;
  }
  std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  constexpr std::size_t kMessageMax = 1000;
  if (is_out_of_memory(message)) code = Code::exhausted;
  if (message.size() > kMessageMax) message.resize(kMessageMax);
  return {code, std::move(message)};
}

// Calls the engine; a failure returns from the function that uses it.
#define ORT_TRY(api, call) \
  do { if (OrtStatus* ort_status_ = (api).call) return fail(take_error((api), ort_status_)); } while (false)

// An owner of an engine object: released by the given member of the interface.
template <class T>
class Owned {
 public:
  using Release = void (*)(T*);
  Owned() = default;
  explicit Owned(Release release) : release_(release) {}
  Owned(T* object, Release release) : object_(object), release_(release) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)), release_(other.release_) {}
  Owned& operator=(Owned&& other) noexcept {
    reset();
    object_ = std::exchange(other.object_, nullptr);
    release_ = other.release_;
    return *this;
  }
  ~Owned() { reset(); }
  T* get() const { return object_; }
  T** out() { reset(); return &object_; }
  void reset() {
    if (object_) release_(object_);
    object_ = nullptr;
  }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
  Release release_ = nullptr;
};

}  // namespace mayfly::worker
