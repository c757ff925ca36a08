// Makes what a runtime starts quicker with (domain/start_cache.h), in a sandbox like an instance's, without a network. The program is
// started by the host that would run it in an instance (worker/code_loop.h, http_host.h) and ended when it is ready: it has run what
// stands before its first call, and no call is ever made up. Then Java's archive is dumped of the classes that this loaded, or Node.js
// writes what it compiled.
//
// The package's code runs here as in an instance, and what it leaves in the folder is used by its own instances alone: it can't harm
// others. What it writes there beside the cache is removed; more than domain::kStartCacheMax, or a disk that is nearly full, ends it.
// A class archive wants the folder /var/task behind the jars of its class path, which a start without one has in front: so a package in
// which that could change what is found (a file of the folder is in a jar, too) has none, and the error says which file.
#pragma once
#include "base/result.h"
#include "domain/start_cache.h"

namespace mayfly::worker {

[[nodiscard]] Result<void> make_start_cache(const domain::StartCacheOrder& order);

// The first file below `folder` that a jar in it or below `dependencies` (which may not be there) holds, too, or a link, behind which there
// may be any; "": none.
[[nodiscard]] Result<std::string> find_shadowed(const std::string& folder, const std::string& dependencies);

}  // namespace mayfly::worker
