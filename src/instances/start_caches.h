// Start caches of code (domain/start_cache.h) on this machine: which runtime has one, how it is made, and how a start uses it.
//
// Java: on the class path of a start with an archive /var/task is last, as the archive wants no folder in front; without one it is
// before lib/*. worker/start_cache.h makes an archive only where both find the same. What the JVM does not like about an archive, it
// starts without (-Xshare:auto); but one that is cut short ends it, so that is looked at before. Node.js has a compile cache from 22.10
// on, which a NODE_COMPILE_CACHE of the user's overrules.
#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "domain/code_order.h"
#include "domain/start_cache.h"
#include "instances/launcher.h"

namespace mayfly::instances {

// Whether its runtime may have one; some that may have none on this machine (starter_of).
[[nodiscard]] bool may_have_start_cache(const std::string& runtime);

struct Starter {
  domain::StartCacheKind kind{};
  std::string identity;  // changes with the program: a cache made by one does not fit another
};
// Of the order's runtime on this machine; nothing: it has no start cache here. Looks at the disk.
[[nodiscard]] Result<std::optional<Starter>> starter_of(const StartOrder& order);

// Whether the cache in `folder` is there, and as long as it was made. Looks at the disk.
[[nodiscard]] bool is_whole(const std::string& folder, const StartOrder& order);

// Of a start's own order: it uses what lies at domain::kStartCachePlace.
void use_start_cache(const StartOrder& order, domain::CodeOrder& code);

// From the order of a start to that of its cache.
[[nodiscard]] domain::StartCacheOrder plan_start_cache(const StartOrder& order, domain::CodeOrder code);

}  // namespace mayfly::instances
