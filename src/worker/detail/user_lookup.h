// The look-up of an image's USER before its sandbox is there: the numbers decide how the sandbox's ids are mapped, so nobody in it could
// change them. A process of its own reads and parses the image's files; its filter lets it do nothing else, and what it says is checked.
#pragma once
#include <string>

#include "base/result.h"
#include "worker/container_user.h"

namespace mayfly::worker {

// `root`: the folder that will be the container's root, whose links lead inside it. Without `home`. Waits for at most 2 s.
[[nodiscard]] Result<ContainerUser> look_up_user(const std::string& root, const std::string& wanted);

}  // namespace mayfly::worker
