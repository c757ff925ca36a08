// A body that is too large for a frame: it goes to the node in a sealed memfd on the control socket, before its frame.
#pragma once
#include <cstdint>
#include <string_view>

namespace mayfly::worker {

// False where this process has no memory for it, or the node is gone.
[[nodiscard]] bool send_large_body(int control, std::uint64_t ticket, std::string_view body);

}  // namespace mayfly::worker
