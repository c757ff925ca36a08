// What survives a restart, in one data directory that one node holds at a time:
//
//   lock           held while the node runs, with its process id
//   catalog.db     functions, versions, aliases (store/catalog.h)
//   events.db      calls that nobody waits for, until they are done (store/events.h)
//   deploys.db     names of uploaded objects, and stacks (store/deploys.h)
//   artifacts/     bytes by their SHA-256 (store/artifacts.h); uploads/: what is on its way there
//   packages/      archives of code, unpacked (store/packages.h)
//   dependencies/  what was installed for code, likewise
//   start-caches/  what makes its starts quicker, likewise
//   recordings/    calls that are kept as samples (store/recordings.h)
//   optimizations/ searches for smaller models that are under way (store/optimizations.h)
//   usage/         a record of each invocation; usage.db: their sums by the hour (store/usage_log.h)
//
// Opens everything in order, in well under a second after a kill. The parts say on which thread they may be used.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "os/fd.h"
#include "store/artifacts.h"
#include "store/catalog.h"
#include "store/deploys.h"
#include "store/events.h"
#include "store/optimizations.h"
#include "store/packages.h"
#include "store/recordings.h"
#include "store/usage_log.h"

namespace mayfly::store {

struct StoreOptions {
  std::string folder;                                  // made where missing; its parent must exist
  UsageOptions usage;
  Duration artifact_grace = std::chrono::hours(1);     // how long an upload may wait to be deployed
};

class Store {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(StoreOptions options);

  Catalog& catalog() { return catalog_; }
  Artifacts& artifacts() { return *artifacts_; }
  Packages& packages() { return *packages_; }
  Packages& dependencies() { return *dependencies_; }
  Packages& start_caches() { return *start_caches_; }   // who makes them collects them: they are no part of the catalog
  UsageLog& usage() { return *usage_; }
  Events& events() { return events_; }
  Deploys& deploys() { return deploys_; }
  const Recordings& recordings() const { return recordings_; }
  const Optimizations& optimizations() const { return optimizations_; }

  // Removes artifacts that no version names, what was unpacked of them, and dependencies that none has. Blocks; on any background
  // line, beside everything else.
  Result<Collected> collect_garbage();

  Store(StoreOptions options, os::Fd lock, Catalog catalog, std::unique_ptr<Artifacts> artifacts, std::unique_ptr<Packages> packages,
        std::unique_ptr<Packages> dependencies, std::unique_ptr<Packages> start_caches, std::unique_ptr<UsageLog> usage, Events events,
        Deploys deploys);

 private:
  const StoreOptions options_;
  const os::Fd lock_;
  Catalog catalog_;
  const std::unique_ptr<Artifacts> artifacts_;
  const std::unique_ptr<Packages> packages_, dependencies_, start_caches_;
  const std::unique_ptr<UsageLog> usage_;
  Events events_;
  Deploys deploys_;
  const Recordings recordings_;
  const Optimizations optimizations_;
};

}  // namespace mayfly::store
