#include "store/store.h"

#include "os/disk.h"

namespace mayfly::store {

Result<std::unique_ptr<Store>> Store::open(StoreOptions options) {
  const std::string& folder = options.folder;
  TRY_VOID(os::make_folder(folder));
  TRY(os::Fd lock, os::lock_file(folder + "/lock"));
  TRY(Catalog catalog, Catalog::open(folder + "/catalog.db"));
  TRY(auto artifacts, Artifacts::open(folder));
  TRY(auto packages, Packages::open(folder + "/packages"));
  TRY(auto dependencies, Packages::open(folder + "/dependencies"));
  TRY(auto start_caches, Packages::open(folder + "/start-caches"));
  TRY(auto usage, UsageLog::open(folder + "/usage", folder + "/usage.db", options.usage));
  TRY(Events events, Events::open(folder + "/events.db"));
  TRY(Deploys deploys, Deploys::open(folder + "/deploys.db"));
  TRY_VOID(os::sync_folder(folder));
  return std::make_unique<Store>(std::move(options), std::move(lock), std::move(catalog), std::move(artifacts), std::move(packages),
                                 std::move(dependencies), std::move(start_caches), std::move(usage), std::move(events), std::move(deploys));
}

Store::Store(StoreOptions options, os::Fd lock, Catalog catalog, std::unique_ptr<Artifacts> artifacts, std::unique_ptr<Packages> packages,
             std::unique_ptr<Packages> dependencies, std::unique_ptr<Packages> start_caches, std::unique_ptr<UsageLog> usage, Events events,
             Deploys deploys)
    : options_(std::move(options)),
      lock_(std::move(lock)),
      catalog_(std::move(catalog)),
      artifacts_(std::move(artifacts)),
      packages_(std::move(packages)),
      dependencies_(std::move(dependencies)),
      start_caches_(std::move(start_caches)),
      usage_(std::move(usage)),
      events_(std::move(events)),
      deploys_(std::move(deploys)),
      recordings_(options_.folder + "/recordings"), optimizations_(options_.folder + "/optimizations") {}

Result<Collected> Store::collect_garbage() {
  // A file's time is compared with a file's time: the lock's, touched now. What is committed after the names
  // were read was looked at by has() or size() before, so it is younger than the grace.
  const std::string lock = options_.folder + "/lock";
  os::touch_file(lock);
  TRY(const auto now, os::file_status(lock));
  TRY(auto referenced, referenced_artifacts(options_.folder + "/catalog.db"));
  TRY_VOID(add_object_artifacts(options_.folder + "/deploys.db", referenced));
  auto collected = artifacts_->collect(referenced, now.changed, options_.artifact_grace);
  dependencies_->collect([&](const std::string& key) {
    if (referenced.contains(key)) return true;
    const auto status = os::file_status(dependencies_->path_of(key));
    return status && now.changed.since_epoch - status->changed.since_epoch < options_.artifact_grace;
  });
  packages_->collect([&](const std::string& sha256) { return os::file_status(artifacts_->path_of(sha256)).has_value(); });
  return collected;
}

}  // namespace mayfly::store
