// A JPEG's or PNG's bytes become pixels, by libjpeg-turbo and libpng. The colours are those of the file, as Pillow's convert("RGB") has
// them: transparency and profiles are dropped, nothing is turned. Any bytes may come, but the libraries may have bugs: a stranger's
// pictures are decoded in a process that can do nothing else (worker/pictures.h).
#pragma once
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "gate/resample.h"

namespace mayfly::worker {

constexpr std::uint64_t kPicturePixelsMax = 64ULL << 20;
constexpr std::uint64_t kPictureSideMax = 65'500;  // JPEG's own

// Three channels. Error invalid_argument: another form, damaged or cut short, or too many pixels, which is seen before any is decoded.
[[nodiscard]] Result<gate::Picture> decode_picture(std::string_view bytes);

}  // namespace mayfly::worker
