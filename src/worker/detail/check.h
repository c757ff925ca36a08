// What a system call returned, as a Result: the error names the call, on what, and errno's text.
#pragma once
#include <string_view>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::worker {

inline Result<void> check(long returned, std::string_view call, std::string_view what = {}) {
  if (returned < 0) return fail(os::os_error(call, what));
  return {};
}

}  // namespace mayfly::worker
