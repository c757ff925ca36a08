// Start caches of code (domain/start_cache.h): made behind a deploy by a job of their own, while the version serves without; starts use
// one from the moment it is there. Its key is a hash of what decides it: the package, its layers, how it is started, and the program that
// runs it.
// So versions with the same share one, and a newer Java makes its own. One that can't be made costs nothing and is said once.
#include <algorithm>
#include <set>
#include <span>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "instances/start_caches.h"
#include "store/artifacts.h"

namespace mayfly::control {
namespace {

using domain::Version;
using State = StartCacheView::State;

constexpr std::string_view kForm = "1";             // of what is made: another makes all keys new
constexpr Duration kTimeMax = std::chrono::minutes(3), kEndMax = std::chrono::seconds(30);
constexpr Bytes kMemoryBeyond = 1_GiB;              // of a start's own: a dump holds all classes once more

struct Wanted {
  std::string key;
  domain::StartCacheKind kind{};
  std::optional<Bytes> size;                        // of the one that is there
};

}  // namespace

void Node::want_start_cache(VersionId id) {
  const Version* version = find(id);
  if (!version || !instances::may_have_start_cache(version->manifest.runtime) || start_caches_.contains(id)) return;
  if (version->dependencies && !store_.dependencies().has(version->dependencies->key)) return;
  instances::StartOrder order = plan(version->manifest.name, *version).instance;
  const std::string dependencies = version->dependencies ? version->dependencies->key : "";
  std::vector<std::string> parts = {source_of(*version), order.runtime, order.handler, dependencies};
  for (const domain::LayerRef& layer : version->layers) parts.push_back("layer " + layer.sha256);
  for (const auto& [name, value] : order.environment) parts.push_back(name + "=" + value);
  auto look = [this, order = std::move(order), parts = std::move(parts)]() -> Result<std::optional<Wanted>> {
    TRY(const auto starter, instances::starter_of(order));
    if (!starter) return std::nullopt;
    std::vector<std::string> all = parts;
    all.emplace_back(kForm);
    all.push_back(starter->identity);
    store::Hash hash;
    for (const std::string& part : all) {
      const std::string whole = std::to_string(part.size()) + ":" + part;
      hash.update(std::as_bytes(std::span(whole)));
    }
    Wanted wanted{.key = hash.finish(), .kind = starter->kind, .size = {}};
    if (store_.start_caches().has(wanted.key)) wanted.size = store_.start_caches().size_of(wanted.key);
    return wanted;
  };
  // A program that is not on this machine is the first call's to say.
  behind(bulk_work_, kDiskBusy, std::move(look), [this, id](const Result<std::optional<Wanted>>& wanted) {
    if (!wanted || !*wanted || !find(id) || start_caches_.contains(id)) return;
    const std::string key = (*wanted)->key;
    const bool first = std::ranges::none_of(start_caches_, [&](const auto& other) {
      return other.second.key == key && other.second.view.state == State::making;
    });
    const std::string kind(domain::name((*wanted)->kind));
    start_caches_[id] = {.key = key, .view = {.kind = kind, .state = State::making, .size = {}, .error = ""}};
    if ((*wanted)->size) end_start_cache(key, *(*wanted)->size);
    else if (first) make_start_cache(id, key);
  });
}

void Node::make_start_cache(VersionId id, std::string key) {
  const Version& version = *find(id);
  const auto folder = store_.start_caches().new_folder();
  if (!folder) return end_start_cache(key, fail(folder.error()));
  instances::StartOrder order = plan(version.manifest.name, version).instance;
  order.role = domain::Role::start_cache;
  order.output = *folder;
  order.models.clear();                             // no network of any kind, and nothing of the node
  order.network = {};
  order.ahead = false;
  order.cpu = 1;
  order.timeout = kTimeMax;
  order.time_max = kTimeMax + kEndMax;
  order.memory_max.count += kMemoryBeyond.count;
  auto ended = [this, key = std::move(key), folder = *folder](const Result<instances::ReadyReport>& report) {
    auto work = [this, key, folder, failed = report ? std::optional<Error>() : report.error()]() -> Result<Bytes> {
      const Result<void> adopted = failed ? fail(*failed) : store_.start_caches().adopt(folder, key);
      if (adopted) return store_.start_caches().size_of(key);
      store_.start_caches().drop(folder);
      return fail(adopted.error());
    };
    behind(bulk_work_, kDiskBusy, std::move(work), [this, key](Result<Bytes> made) { end_start_cache(key, std::move(made)); });
  };
  fleet_.run_job(std::move(order), std::move(ended), [](std::string_view) {});
}

void Node::end_start_cache(const std::string& key, Result<Bytes> made) {
  std::vector<VersionId> theirs;
  for (auto& [id, cache] : start_caches_) {
    if (cache.key != key || cache.view.state != State::making) continue;
    cache.view.state = made ? State::ready : State::failed;
    if (made) cache.view.size = *made;
    else cache.view.error = made.error().message;
    theirs.push_back(id);
  }
  for (const VersionId id : theirs) {
    const Version* v = find(id);
    if (!v) continue;
    if (made) refresh(*versions_.at(id).entry);
    else books_.log(v->function, v->number, 0, "info", "it starts without a start cache: " + made.error().message);
  }
  if (theirs.empty()) collect_garbage();            // its version was deleted meanwhile
}

std::function<bool(const std::string&)> Node::kept_start_caches() const {
  std::set<std::string> keys;
  for (const auto& [id, cache] : start_caches_) keys.insert(cache.key);
  return [keys = std::move(keys)](const std::string& key) { return keys.contains(key); };
}

}  // namespace mayfly::control
