// Unpacks what a user uploaded as a package: a zip, or a tar (plain, gzip, bzip2, xz, zstd), by libarchive. Runs in a sandbox of
// its own, which sees the archive and the one folder that it writes to, so that a hostile archive reaches neither the node nor other
// packages, whatever it does to the library.
//
// What is not a folder, a file or a link that stays inside is refused, as are paths that lead out, and archives that hold
// more than they may: the whole of it, with the entry's name. Of modes only "runs as a program" is kept; all may be read by everybody.
// A layer of a container's image may be empty, and its links may lead anywhere: they are followed only where it is the root. What it
// takes away of lower layers stays in it by the names of the image format (os/stack.h).
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"

namespace mayfly::worker {

struct UnpackLimits {
  std::uint64_t bytes_max = 0;            // of all files together
  std::uint64_t entries_max = 500'000;
  bool layer = false;
};

// `folder` exists and is empty. After an error what was unpacked is still there.
[[nodiscard]] Result<void> unpack_archive(const std::string& archive, const std::string& folder, const UnpackLimits& limits);

}  // namespace mayfly::worker
