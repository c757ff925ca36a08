// Pictures of strangers become samples in processes of their own, in which the decoders can compute and write their result, and nothing
// else: a filter of system calls is on before the first byte is decoded. What a decoder dies of costs the picture that did it, and no
// other.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "gate/pictures.h"
#include "worker/child_work.h"

namespace mayfly::worker {

struct PreparedPicture {
  std::string sample;  // gate::sample_size() bytes, or none
  std::string why;     // why there is none
};

// One for each file's bytes, in their order. Error cancelled or deadline_exceeded: of the whole, by `limits`.
[[nodiscard]] Result<std::vector<PreparedPicture>> prepare_pictures(std::span<const std::string> files, const gate::PicturePlan& plan,
                                                                    const ChildLimits& limits);

}  // namespace mayfly::worker
