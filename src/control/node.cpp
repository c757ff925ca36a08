#include "control/node.h"

#include <algorithm>

#include "base/assert.h"
#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "control/metrics.h"
#include "domain/settings.h"
#include "instances/start_caches.h"

namespace mayfly::control {

using domain::Version;

Node::Node(const Turn& turn, store::Store& store, Background catalog, Background bulk, NodeOptions options)
    : turn_(turn), store_(store), catalog_work_(std::move(catalog)), bulk_work_(std::move(bulk)), options_(std::move(options)),
      fleet_(turn), dispatcher_(turn, fleet_, routes_, *this, options_.seed),
      scale_(turn, fleet_, dispatcher_, options_.scale,
             [this](VersionId id) -> std::optional<ScaleLoop::Facts> {
               const Version* v = find(id);
               if (!v) return std::nullopt;
               const bool compiled = is_compiled_for(*v, options_.compile_key);
               return ScaleLoop::Facts{.scaling = domain::scaling_of(versions_.at(id).entry->function, *v),
                                       .tuning = compiled ? v->compiled->tuning : domain::Tuning{},
                                       .compiled = compiled, .cpu = v->manifest.resources.cpu};
             },
             [this](VersionId id) -> instances::Group* {
               const Version* v = find(id);
               return v ? &group_of(target_of(*v)) : nullptr;
             },
             [this](VersionId id, DecisionView view) {
               if (const Version* v = find(id)) {
                 view.version = v->number;
                 books_.decided(id, std::move(view));
               }
             }),
      books_(turn), recorder_(options_.seed), opened_(turn.now) {}

Node::~Node() = default;

void Node::attach(instances::Launcher& launcher) { fleet_.attach(launcher, dispatcher_, *this); }

Result<void> Node::open() {
  TRY(std::vector<domain::Function> functions, store_.catalog().load());
  for (domain::Function& function : functions) {
    const std::string name = function.name;
    auto entry = std::make_unique<Entry>();
    entry->function = std::move(function);
    for (const Version& v : entry->function.versions) {
      add_place(*entry, v);
      if (domain::scaling_of(entry->function, v).min > 0) scale_.keep_watch(v.id);
    }
    if (!entry->function.versions.empty()) routes_.set(name, route_of(entry->function));
    Entry& kept = *functions_.emplace(name, std::move(entry)).first->second;
    list_urls(kept);
    for (const Version& v : kept.function.versions)
      if (v.files[0].archive || v.dependencies || !v.layers.empty() || instances::may_have_start_cache(v.manifest.runtime))
        prepare(v.id);  // what is unpacked is a cache: somebody may have emptied it
  }
  TRY(std::vector<domain::LayerVersion> layers, store_.catalog().load_layers());
  for (domain::LayerVersion& layer : layers) layers_[{layer.name, layer.number}] = std::move(layer);
  open_recordings();
  open_optimizations();
  return {};
}

Instant Node::tick() {
  const Instant fleet = fleet_.processes().empty() && fleet_.groups().empty() ? Instant::never() : fleet_.tick();
  return std::min({dispatcher_.tick(), scale_.tick(), fleet});
}

Instant Node::end_turn() {
  tick();               // first: a call whose time is over raises no demand, and word of it leaves with the flush
  dispatcher_.flush();  // may raise demand, and with it a tick that is nearer than the last answer
  return tick();        // nothing is due twice in a turn: this one only says when the next is
}

Node::Entry* Node::find(std::string_view function) {
  const auto at = functions_.find(function);
  return at == functions_.end() ? nullptr : at->second.get();
}

Version* Node::find(VersionId version) {
  const auto at = versions_.find(version);
  return at == versions_.end() ? nullptr : at->second.entry->version(at->second.number);
}

Result<Node::Entry*> Node::need(std::string_view function) {
  if (Entry* entry = find(function)) return entry;
  return fail(Code::not_found, "there is no function '" + std::string(function.substr(0, 80)) + "': see 'mayfly list'");
}

Locate Node::locate() {
  return [this](const domain::FileRef& file) {
    return file.archive ? store_.packages().path_of(file.sha256) : store_.artifacts().path_of(file.sha256);
  };
}

void Node::list_urls(Entry& entry) {
  for (const std::string& id : entry.urls) urls_.erase(id);
  entry.urls.clear();
  for (domain::FunctionUrl& url : domain::urls_of(entry.function)) {
    entry.urls.push_back(url.id);
    urls_[entry.urls.back()] = std::make_shared<const domain::FunctionUrl>(std::move(url));
  }
}

std::shared_ptr<const domain::FunctionUrl> Node::url(std::string_view id) {
  const auto at = urls_.find(std::string(id));
  return at == urls_.end() ? nullptr : at->second;
}

void Node::refresh(Entry& entry) {
  list_urls(entry);
  if (entry.function.versions.empty()) routes_.remove(entry.function.name);
  else routes_.set(entry.function.name, route_of(entry.function));
  for (const Version& v : entry.function.versions) {
    const bool runs = fleet_.find(v.id) != nullptr;
    if (runs) fleet_.define(plan(entry.function.name, v));
    if (runs || domain::scaling_of(entry.function, v).min > 0) scale_.keep_watch(v.id);  // it may have to grow, or to shrink
  }
}

void Node::set_stage(VersionId version, Stage stage) {
  const auto at = versions_.find(version);
  if (at == versions_.end()) return;
  at->second.entry->stages[at->second.number] = stage;
  settled(version);
}

Stage Node::stage_of(const Entry& entry, const Version& version) const {
  const auto stage = entry.stages.find(version.number);
  if (stage != entry.stages.end()) return stage->second;
  return version.manifest.is_code() || is_compiled_for(version, options_.compile_key) ? Stage::ready : Stage::serving;
}

std::optional<Books::Name> Node::name_of(VersionId version) {
  const auto at = versions_.find(version);
  if (at == versions_.end()) return std::nullopt;
  return Books::Name{at->second.entry->function.name, at->second.number};
}

// Uploads ---------------------------------------------------------------------------------------

bool Node::has_artifact(std::string_view sha256) { return store_.artifacts().has(sha256); }

Result<std::uint64_t> Node::begin_upload() {
  if (uploads_.size() >= kUploadsMax)
    return fail(Code::exhausted, std::to_string(kUploadsMax) + " uploads run already, as many as this node takes: wait for one to end");
  TRY(auto upload, store_.artifacts().begin());
  uploads_.emplace(++uploads_made_, std::move(upload));
  return uploads_made_;
}

void Node::append_upload(std::uint64_t upload, std::string bytes, Done<void> done) {
  const auto at = uploads_.find(upload);
  if (at == uploads_.end()) return done(fail(Code::not_found, "this upload has ended"));
  behind(bulk_work_, kDiskBusy, [file = at->second, bytes = std::move(bytes)] { return file->append(std::as_bytes(std::span(bytes))); },
         std::move(done));
}

void Node::append_made(std::uint64_t upload, std::function<Result<std::string>()> make, Done<void> done) {
  const auto at = uploads_.find(upload);
  if (at == uploads_.end()) return done(fail(Code::not_found, "this upload has ended"));
  auto work = [file = at->second, make = std::move(make)]() -> Result<void> {
    TRY(const std::string bytes, make());
    return file->append(std::as_bytes(std::span(bytes)));
  };
  behind(bulk_work_, kDiskBusy, std::move(work), std::move(done));
}

void Node::fetch_object(ObjectName object, Done<domain::FileRef> done) {
  if (options_.find_object)
    if (auto file = options_.find_object(object)) return done(*std::move(file));
  if (!options_.fetch)
    return done(fail(Code::unimplemented, "S3Key '" + object.key.substr(0, 200) + "' is not in the deploy bucket '" +
                                              object.bucket.substr(0, 63) + "', and this node's configuration names no store of objects "
                                              "(objects: {endpoint: …}): upload it, or send the zip itself"));
  const auto upload = begin_upload();
  if (!upload) return done(fail(upload.error()));
  auto work = [fetch = options_.fetch, file = uploads_.at(*upload), object]() -> Result<domain::FileRef> {
    TRY_VOID(fetch(object, [&file](std::span<const std::byte> bytes) { return file->append(bytes); }));
    return file->finish();
  };
  behind(options_.fetch_work, "too many objects are being fetched already: try again", std::move(work),
         [this, upload = *upload, done = std::move(done)](Result<domain::FileRef> file) {
    uploads_.erase(upload);
    done(std::move(file));
  });
}

void Node::finish_upload(std::uint64_t upload, Done<domain::FileRef> done) {
  const auto at = uploads_.find(upload);
  if (at == uploads_.end()) return done(fail(Code::not_found, "this upload has ended"));
  const auto file = std::move(at->second);
  uploads_.erase(at);
  behind(bulk_work_, kDiskBusy, [file] { return file->finish(); }, std::move(done));
}

void Node::abort_upload(std::uint64_t upload) { uploads_.erase(upload); }  // the file goes with its last owner

// Versions and aliases --------------------------------------------------------------------------

Result<void> Node::Entry::check_weights(const std::vector<domain::Weight>& weights) const {
  if (weights.empty() || weights.size() > 16)
    return fail(Code::invalid_argument, std::to_string(weights.size()) + " weights: an alias has 1 to 16, name so many versions");
  double sum = 0;
  for (const domain::Weight& w : weights) {
    if (!std::ranges::any_of(function.versions, [&](const Version& v) { return v.number == w.version; }))
      return fail(Code::not_found, "function '" + function.name + "' has no version " + std::to_string(w.version));
    const std::string version = "version " + std::to_string(w.version);
    if (leaving.contains(w.version)) return fail(Code::conflict, version + " is being deleted: name another");
    if (!(w.share >= 0 && w.share <= 1))
      return fail(Code::invalid_argument, "the share of " + version + " is " + std::to_string(w.share) + ": write a number from 0 to 1");
    if (std::ranges::count(weights, w.version, &domain::Weight::version) > 1)
      return fail(Code::invalid_argument, version + " is named twice: name each version once");
    sum += w.share;
  }
  if (sum < 0.999 || sum > 1.001)
    return fail(Code::invalid_argument, "the shares add up to " + std::to_string(sum) + ": they must add up to 1");
  return {};
}

void Node::remove(std::string_view function, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const FunctionId id = (*entry)->function.id;
  const std::string name((*entry)->function.name);
  behind(catalog_work_, kCatalogBusy, [this, id] { return store_.catalog().remove_function(id); },
         [this, id, name, done = std::move(done)](Result<void> removed) {
    Entry* gone = find(name);
    if (!removed || !gone || gone->function.id != id) return done(std::move(removed));
    routes_.remove(name);
    for (const Version& v : gone->function.versions) forget_version(v);
    for (const std::string& url : gone->urls) urls_.erase(url);
    functions_.erase(name);
    forget_recording(id);
    collect_garbage();
    done({});
  });
}

void Node::add_place(Entry& entry, const Version& version) {
  versions_[version.id] = {&entry, version.number};
  same_source_[source_of(version)].insert(version.id);
}

void Node::forget_version(const Version& version) {
  dispatcher_.forget(version.id);
  fleet_.forget(version.id);
  scale_.forget(version.id);
  books_.forget(version.id);
  versions_.erase(version.id);
  start_caches_.erase(version.id);
  forget_optimization(version.id);
  const auto same = same_source_.find(source_of(version));
  same->second.erase(version.id);
  if (same->second.empty()) same_source_.erase(same);
}

void Node::collect_garbage() {
  if (!bulk_work_([this, kept = kept_start_caches()] {
        store_.collect_garbage();
        store_.start_caches().collect(kept);
      }, nullptr))
    note("the disk is too busy to remove old artifacts; the next delete does it");
}

void Node::remove_version(std::string_view function, int number, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const Version* version = (*entry)->version(number);
  if (!version) return done(fail(Code::not_found, "function '" + (*entry)->function.name + "' has no version " + std::to_string(number)));
  for (const domain::Alias& alias : (*entry)->function.aliases)
    if (std::ranges::count(alias.weights, number, &domain::Weight::version))
      return done(fail(Code::conflict, "alias '" + alias.name + "' names version " + std::to_string(number) + ": move it first"));
  if ((*entry)->function.versions.size() == 1)
    return done(fail(Code::conflict, "version " + std::to_string(number) + " is the only one: delete the function"));
  if ((*entry)->naming.contains(number))
    return done(fail(Code::conflict, "an alias is being moved to version " + std::to_string(number) + ": move it elsewhere first"));
  const VersionId id = version->id;
  (*entry)->leaving.insert(number);
  behind(catalog_work_, kCatalogBusy, [this, id] { return store_.catalog().remove_version(id); },
         [this, id, done = std::move(done)](Result<void> removed) {
    const auto at = versions_.find(id);
    if (at == versions_.end()) return done(std::move(removed));
    Entry& owner = *at->second.entry;
    owner.leaving.erase(at->second.number);
    if (!removed) return done(std::move(removed));
    std::erase_if(owner.function.settings, [number = at->second.number](const auto& s) { return s.key == std::to_string(number); });
    forget_version(*owner.version(at->second.number));
    std::erase_if(owner.function.versions, [id](const Version& v) { return v.id == id; });
    refresh(owner);
    collect_garbage();
    done({});
  });
}

void Node::store_alias(Entry& entry, domain::Alias alias, Done<domain::Alias> done) {
  const std::string name = entry.function.name;
  const FunctionId id = entry.function.id;
  for (const domain::Weight& w : alias.weights) entry.naming.insert(w.version);
  behind(catalog_work_, kCatalogBusy, [this, id, alias] { return store_.catalog().set_alias(id, alias); },
         [this, name, id, alias, done = std::move(done)](Result<void> kept) {
    Entry* owner = find(name);
    if (owner && owner->function.id != id) owner = nullptr;
    for (const domain::Weight& w : alias.weights)
      if (owner) owner->naming.erase(owner->naming.find(w.version));
    if (!owner) return done(fail(Code::not_found, "the function was deleted meanwhile"));
    if (!kept) return done(fail(kept.error()));
    if (domain::Alias* known = owner->alias(alias.name)) *known = alias;
    else owner->function.aliases.push_back(alias);
    refresh(*owner);
    done(alias);
  });
}

void Node::set_alias(std::string_view function, std::string_view alias, std::vector<domain::Weight> weights, Done<domain::Alias> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  if (!domain::valid_alias_name(alias)) return done(fail(not_an_alias(alias)));
  if (const auto sound = (*entry)->check_weights(weights); !sound) return done(fail(sound.error()));
  domain::Alias changed{.name = std::string(alias), .weights = std::move(weights)};
  if (const domain::Alias* known = (*entry)->alias(alias)) changed.before = known->weights;
  store_alias(**entry, std::move(changed), std::move(done));
}

void Node::rollback(std::string_view function, std::string_view alias, Done<domain::Alias> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const domain::Alias* known = (*entry)->alias(alias);
  if (!known) return done(fail(Code::not_found, "function '" + (*entry)->function.name + "' has no alias '" + std::string(alias) + "'"));
  if (known->before.empty())
    return done(fail(Code::conflict, "alias '" + known->name + "' has pointed nowhere else before: name a version"));
  if (const auto sound = (*entry)->check_weights(known->before); !sound)
    return done(fail(Code::conflict, "can't roll back: " + sound.error().message));
  store_alias(**entry, {.name = known->name, .weights = known->before, .before = known->weights}, std::move(done));
}

void Node::remove_alias(std::string_view function, std::string_view alias, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  if (alias == "live") return done(fail(Code::conflict, "'live' is where calls without a version go: it can be moved, not deleted"));
  if (!(*entry)->alias(alias))
    return done(fail(Code::not_found, "function '" + (*entry)->function.name + "' has no alias '" + std::string(alias) + "'"));
  const std::string name = (*entry)->function.name;
  behind(catalog_work_, kCatalogBusy,
         [this, id = (*entry)->function.id, gone = std::string(alias)] { return store_.catalog().remove_alias(id, gone); },
             [this, name, gone = std::string(alias), done = std::move(done)](Result<void> removed) {
    if (Entry* owner = find(name); removed && owner) {
      std::erase_if(owner->function.aliases, [&](const domain::Alias& a) { return a.name == gone; });
      std::erase_if(owner->function.settings, [&](const domain::Setting& s) { return s.key == gone; });
      refresh(*owner);
    }
    done(std::move(removed));
  });
}

void Node::set_settings(std::string_view function, std::vector<domain::Setting> settings, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  for (domain::Setting& setting : settings) {
    if (setting.document.size() > domain::kSettingBytesMax)
      return done(fail(Code::invalid_argument, std::to_string(setting.document.size()) + " bytes of " + setting.kind + ": at most " +
                                                   std::to_string(domain::kSettingBytesMax) + " are kept"));
    setting.updated = turn_.wall;
  }
  if ((*entry)->function.settings.size() + settings.size() > domain::kSettingsMax)
    return done(fail(Code::exhausted, "function '" + (*entry)->function.name + "' has " + std::to_string(domain::kSettingsMax) +
                                          " settings, as many as are kept: remove some"));
  const std::string name = (*entry)->function.name;
  const FunctionId id = (*entry)->function.id;
  behind(catalog_work_, kCatalogBusy, [this, id, settings] { return store_.catalog().set_settings(id, settings); },
         [this, name, id, settings, done = std::move(done)](Result<void> kept) {
    Entry* owner = find(name);
    if (!owner || owner->function.id != id) return done(fail(Code::not_found, "the function was deleted meanwhile"));
    if (!kept) return done(std::move(kept));
    auto& all = owner->function.settings;
    for (const domain::Setting& setting : settings) {
      std::erase_if(all, [&](const domain::Setting& s) { return s.kind == setting.kind && s.key == setting.key; });
      if (!setting.document.empty()) all.push_back(setting);
    }
    refresh(*owner);
    done({});
  });
}

Result<void> Node::scale(std::string_view function, int instances, bool evict) {
  TRY(Entry* entry, need(function));
  if (instances < 0 || instances > 1000)
    return fail(Code::invalid_argument, std::to_string(instances) + " instances: write a number from 0 to 1000");
  std::vector<int> numbers;
  if (const domain::Alias* live = entry->alias("live"))
    for (const domain::Weight& w : live->weights) numbers.push_back(w.version);
  for (const Version& v : entry->function.versions) {
    const bool is_live = std::ranges::count(numbers, v.number) > 0;
    if (instances > 0 && !is_live) continue;
    if (instances > 0) group_of(target_of(v));
    instances::Group* group = fleet_.find(v.id);
    if (!group) continue;
    scale_.set_count(v.id, instances);
    if (evict) fleet_.evict_template(*group);
  }
  return {};
}

// Events ----------------------------------------------------------------------------------------

void Node::on_demand(serve::Lane& lane) { scale_.on_demand(lane); }

instances::Group& Node::group_of(const serve::Target& target) {
  if (instances::Group* group = fleet_.find(target.version)) return *group;
  const Version* version = find(target.version);
  ASSERT(version, "a route to a version that is not in the catalog");
  prepare(target.version);
  return fleet_.define(plan(versions_.at(target.version).entry->function.name, *version));
}

void Node::on_record(const domain::UsageRecord& record, const serve::TraceId& trace, const Error* error) {
  store_.usage().append(record);
  books_.record(record, trace, error);
}

void Node::on_started(const instances::Process& process) {
  const instances::VersionPlan& plan = process.group->plan;
  Counters& counters = books_.counters(plan.version);
  if (!process.is_template) ++(process.origin == instances::Origin::fork ? counters.started_fork : counters.started_artifact);
  books_.started(plan.version, {.at = turn_.wall, .version = plan.number,
                                .origin = process.is_template ? "template" : std::string(instances::name(process.origin)),
                                .sandbox = process.report.sandbox, .map = process.report.map, .load = process.report.load,
                                .warm = process.report.warm, .total = turn_.now - process.asked,
                                .prefetched = process.report.prefetched, .process = process.id.number});
  scale_.keep_watch(plan.version);
}

void Node::on_first_answer(const instances::Process& process) {
  books_.first_answer(process.group->plan.version, process.id.number, turn_.now - process.asked);
}

void Node::on_start_error(const instances::Group& group, bool is_template, const Error& error, std::string_view log) {
  if (is_template && error.code == Code::unimplemented)
    return books_.log(group.plan.function, group.plan.number, 0, "info", "each instance starts afresh: " + error.message);
  books_.log(group.plan.function, group.plan.number, 0, "error",
             (is_template ? "the template did not start: " : "an instance did not start: ") + error.message);
  books_.failed(group.plan.version, {.at = turn_.wall, .version = group.plan.number, .reason = error.message, .log = std::string(log)});
}

void Node::on_ended(const instances::Process& process, const instances::Death& death) {
  if (death.asked && process.failure.empty()) return;
  const instances::VersionPlan& plan = process.group->plan;
  ++books_.counters(plan.version).ended_badly;
  // Its host ends well when the program has ended badly, and says how.
  const std::string& reason = process.failure.empty() || death.out_of_memory ? death.reason : process.failure;
  books_.log(plan.function, plan.number, process.id.number, "error",
             std::string(process.is_template ? "the template" : "the instance") + " ended: " + reason);
  books_.failed(plan.version, {.at = turn_.wall, .version = plan.number, .process = process.id.number, .reason = reason,
                               .log = process.failure_log});
}

void Node::on_log(const instances::Group* group, ProcessId process, const domain::Printed& line) {
  books_.printed(group ? group->plan.function : FunctionId{}, group ? group->plan.number : 0, process.number, line);
}

void Node::on_overhead(const instances::Process& process, Duration cpu) {
  const instances::VersionPlan& plan = process.group->plan;
  books_.counters(plan.version).overhead_cpu_ns += static_cast<std::uint64_t>(cpu.count());
  store_.usage().append({.function = plan.function.number, .version = plan.version.number, .arrived_us = turn_.wall.since_epoch.count(),
                         .cpu_ns = static_cast<std::uint64_t>(cpu.count()), .process = static_cast<std::uint32_t>(process.id.number),
                         .version_number = static_cast<std::uint32_t>(plan.number), .kind = 1});
}

std::string Node::metrics() {
  return metrics_text({.books = books_, .fleet = fleet_, .dispatcher = dispatcher_, .name_of = [this](VersionId v) { return name_of(v); },
                       .functions = functions_.size(), .memory_budget = options_.scale.memory_budget, .up = turn_.now - opened_,
                       .usage_records_lost = store_.usage().lost()});
}

}  // namespace mayfly::control
