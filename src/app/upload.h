// A file of this machine to the node, by its hash: sent only where the node lacks it. Shows how far it is. Driven by the commands that
// deploy and publish (app/deploy.cpp, app/layers.cpp).
#pragma once
#include "app/commands.h"

namespace mayfly::app {

// Sets its hash and its size.
[[nodiscard]] Result<void> hash_and_upload(const Context& context, PackageFile& file);
[[nodiscard]] Result<void> upload_file(const Context& context, const PackageFile& file);

}  // namespace mayfly::app
