// Installs what a package names and does not hold, by the tool of its language, pip or npm. Runs in a sandbox of its own, the
// only kind that has the machine's network: it sees the package read-only and writes to one folder, bound at domain::kBuildPlace.
//
// Of what is fetched nothing is run where the tool can do without: pip takes wheels alone (requirements.txt may except a package, by
// --no-binary), npm runs no scripts. What is run all the same, like a setup.py, has this sandbox and no more: a folder that is thrown
// away with it, no other package, no cache that another build would read.
//
// In the folder, afterwards: `tree` with what was installed, and `dependencies.json`, which says what that is.
#pragma once
#include "base/result.h"
#include "domain/build.h"

namespace mayfly::worker {

// An error says which tool, why, and the last lines that it printed. What it prints goes to stderr, too, a line at a time.
[[nodiscard]] Result<void> run_build(const domain::BuildOrder& order);

}  // namespace mayfly::worker
