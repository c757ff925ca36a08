// A library's code in large pages. Mapped from its file it is read in pages of 4 KiB, which every fork takes in again by
// hundreds of page faults; copied into anonymous large pages a fork inherits it with a few entries, and jumps in it miss the
// processor's address cache less.
#pragma once
#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace mayfly::os {

// Moves the whole large pages of the code of the loaded library whose path ends with `name`; the ends stay in the file's
// mapping. The process must be single-threaded, and the caller not part of that library. Costs that much memory once, which
// forks share. Bytes moved; 0 where the code is smaller than a large page, or was moved before.
[[nodiscard]] Result<std::size_t> move_text_to_large_pages(std::string_view name);

}  // namespace mayfly::os
