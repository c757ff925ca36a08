// From a version in the catalog to the orders that start its processes: the model as uploaded until it
// is compiled, then the flat file, tuned as measured; a template where the model allows one.
#pragma once
#include <functional>
#include <string>

#include "domain/function.h"
#include "instances/fleet.h"
#include "serve/routes.h"

namespace mayfly::control {

// Where a file's artifact lies on the disk; of an archive, the folder that it was unpacked to.
using Locate = std::function<std::string(const domain::FileRef&)>;

// Versions of one source are compiled to the same file; of these, those with the same limits are measured alike.
[[nodiscard]] std::string source_of(const domain::Version& version);
[[nodiscard]] std::string limits_of(const domain::Version& version);
// `compile_key` is this machine's: a flat file of another is not used.
[[nodiscard]] bool is_compiled_for(const domain::Version& version, std::string_view compile_key);
[[nodiscard]] instances::VersionPlan plan_of(const std::string& function_name, const domain::Version& version, std::string_view compile_key,
                                             const Locate& locate);
// Weights that are packed are copies, in memory that the kernel can't take back: only where the limit has room for them. Else they stay
// in the file, whose pages come and go.
[[nodiscard]] bool has_room_to_pack(const domain::Version& version);
// For people: that and why it runs without packing or from a file that is larger than its memory. "": nothing of that kind.
[[nodiscard]] std::string weights_note(const domain::Version& version);
[[nodiscard]] instances::StartOrder job_order(domain::Role role, const std::string& function_name, const domain::Version& version,
                                              const Locate& locate);
[[nodiscard]] serve::Target target_of(const domain::Version& version);
// Versions and aliases of a function as the dispatcher needs them; empty targets: nothing can serve.
[[nodiscard]] serve::Route route_of(const domain::Function& function);

}  // namespace mayfly::control
