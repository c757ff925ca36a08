// An image of a registry as artifacts: its index, manifest and configuration are read and checked, and each layer that the node has not
// is fetched under the name of its digest. Blocks: for a pool. What a layer holds is for the sandbox that unpacks it.
#pragma once
#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/container_image.h"
#include "domain/function.h"
#include "store/artifacts.h"
#include "store/registry.h"

namespace mayfly::store {

struct PulledImage {
  std::string digest;                      // 64 hex digits: of what the reference names, an index where it is one
  domain::ImageConfig config;
  std::vector<domain::FileRef> layers;     // with their paths
};

struct PullOrder {
  std::string reference;                   // domain/image_reference.h
  Instant until;                           // when it gives up
  const std::atomic<bool>& stop;
};

// permission_denied: the configuration or the registry does not allow it; unavailable: not reached, or too slow; invalid_argument: there is
// no such image, or something is wrong with it.
[[nodiscard]] Result<PulledImage> pull_image(const Registries& registries, Artifacts& artifacts, const PullOrder& order);

}  // namespace mayfly::store
