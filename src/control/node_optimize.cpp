// Optimisations in the background (domain/optimization.h): one search at a time, in a sandbox, behind the version's own compile and
// measurement. What passes the gate becomes a version beside the original, and the alias moves to it once that is ready, unless somebody
// moved the alias meanwhile. What is wanted is durable before it is acknowledged: a node that ends goes on with it at its next start,
// and the search itself with what it had measured.
#include <algorithm>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/settings.h"

namespace mayfly::control {
namespace {

using domain::FileRef;
using domain::OptimizationOrder;
using domain::OptimizationRecord;
using domain::Version;
using State = domain::OptimizationState;

constexpr std::size_t kWaitingMax = 16;
constexpr Duration kEndMax = std::chrono::minutes(2);  // beyond a search's own time: it ends itself, and says more

// As `mayfly optimize --data` tells forms apart.
std::string ending_of(const std::string& data) {
  for (const char* ending : {".csv", ".npy"})
    if (data.ends_with(ending)) return ending;
  return ".npz";
}

domain::Setting setting_of(int number, const OptimizationRecord& record) {
  return {.kind = std::string(domain::kOptimization), .key = std::to_string(number), .document = domain::to_document(record),
          .updated = {}};
}

bool has_settled(Stage stage) { return stage == Stage::ready || stage == Stage::serving || stage == Stage::failed; }

// "models/net.onnx" and "net.data" -> "models/net.data"
std::string beside(const std::string& model, const std::string& name) {
  const auto slash = model.find_last_of('/');
  return (slash == std::string::npos ? "" : model.substr(0, slash + 1)) + name;
}

}  // namespace

void Node::optimize(std::string_view function, int number, OptimizationOrder order, Done<int> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  Entry& owner = **entry;
  const std::string& name = owner.function.name;
  if (number == 0) {
    const domain::Alias* alias = owner.alias(order.alias);
    if (!alias) return done(fail(Code::not_found, "function '" + name + "' has no alias '" + order.alias + "'"));
    if (alias->weights.size() != 1)
      return done(fail(Code::conflict, "alias '" + order.alias + "' names several versions: say which one is to be optimised"));
    number = alias->weights[0].version;
  }
  const Version* version = owner.version(number);
  if (!version) return done(fail(Code::not_found, "function '" + name + "' has no version " + std::to_string(number)));
  const std::string what = "version " + std::to_string(number) + " of '" + name + "'";
  if (version->manifest.is_code()) return done(fail(Code::invalid_argument, what + " is code: models are optimised"));
  if (optimizing_.contains(version->id)) return done(fail(Code::conflict, what + " is being optimised: wait for it, or stop it"));
  if (optimizing_.size() >= kWaitingMax)
    return done(fail(Code::exhausted,
                     std::to_string(kWaitingMax) + " optimisations wait already, as many as this node keeps: try again later"));
  if (options_.check_optimization)
    if (const auto sound = options_.check_optimization(order); !sound) return done(fail(sound.error()));
  if (order.samples.empty() && !order.data.empty()) {  // a manifest's: a file of the package
    const auto file = std::ranges::find(version->files, order.data, &FileRef::path);
    if (file == version->files.end())
      return done(fail(Code::not_found, "the samples '" + order.data + "' are not among the files of " + what));
    order.samples = file->sha256;
  }
  if (!order.samples.empty())
    if (const auto size = store_.artifacts().size(order.samples); !size) return done(fail(size.error()));
  const VersionId id = version->id;
  optimizing_[id] = {.order = order, .since = turn_.wall, .turn = ++optimizations_made_, .line = ""};
  auto keep = [this, id, order]() -> Result<void> {
    store_.optimizations().drop(id);
    if (order.samples.empty()) return {};
    return store_.optimizations().keep_samples(id, store_.artifacts().path_of(order.samples), ending_of(order.data));
  };
  behind(bulk_work_, kDiskBusy, std::move(keep), [this, name, number, id, order, done = std::move(done)](const Result<void>& kept) {
    if (!kept) {
      optimizing_.erase(id);
      return done(fail(kept.error()));
    }
    set_settings(name, {setting_of(number, {.state = State::waiting, .order = order, .became = "", .report = ""})},
                 [this, id, number, done](const Result<void>& durable) {
      if (!durable) optimizing_.erase(id);
      else if (const auto at = optimizing_.find(id); at != optimizing_.end()) at->second.phase = Optimizing::Phase::waiting;
      done(durable ? Result<int>(number) : fail(durable.error()));
      begin_optimizing();
    });
  });
}

void Node::open_optimizations() {
  std::vector<VersionId> kept;
  for (const auto& [name, entry] : functions_)
    for (const domain::Setting& setting : entry->function.settings) {
      if (setting.kind != domain::kOptimization) continue;
      auto record = domain::parse_optimization_record(setting.document);
      const auto version =
          std::ranges::find(entry->function.versions, setting.key, [](const Version& v) { return std::to_string(v.number); });
      if (!record || record->state != State::waiting || version == entry->function.versions.end()) continue;
      optimizing_[version->id] = {.order = std::move(record->order), .since = setting.updated, .turn = ++optimizations_made_, .line = "",
                                  .phase = Optimizing::Phase::waiting};
      kept.push_back(version->id);
    }
  store_.optimizations().drop_others(kept);
  begin_optimizing();
}

// The one that waits longest, once nothing else measures its model.
void Node::begin_optimizing() {
  VersionId next;
  const Optimizing* first = nullptr;
  for (const auto& [id, each] : optimizing_) {
    if (each.phase == Optimizing::Phase::searching) return;
    const Version* version = find(id);
    const bool waits = each.phase == Optimizing::Phase::waiting && version && has_settled(stage_of(*versions_.at(id).entry, *version));
    if (waits && (!first || each.turn < first->turn)) {
      first = &each;
      next = id;
    }
  }
  if (!first) return;
  optimizing_.at(next).phase = Optimizing::Phase::searching;
  optimizing_.at(next).line = "begins";
  behind(bulk_work_, kDiskBusy, [this, next] { return store_.optimizations().open_work(next); },
         [this, next](const Result<std::string>& work) {
    const Version* version = find(next);
    const auto at = optimizing_.find(next);
    if (at == optimizing_.end()) return begin_optimizing();
    if (!version || !work) return end_optimizing(next, State::failed, version ? work.error().message : "the version was deleted");
    if (at->second.stopping) return end_optimizing(next, State::stopped, "it was stopped");
    instances::StartOrder order = job_order(domain::Role::optimize, version->manifest.name, *version, locate());
    order.cpu = 1;
    order.memory_max = options_.optimize.memory;
    order.output = *work;
    order.samples = store_.optimizations().samples_of(next);
    order.time_max = at->second.order.time_max + kEndMax;
    order.optimization = domain::to_json(domain::OptimizationJob{.order = at->second.order, .model = version->manifest.model});
    auto ended = [this, next](const Result<instances::ReadyReport>& report) { searched(next, report); };
    at->second.job = fleet_.run_job(std::move(order), std::move(ended), [this, next](std::string_view line) {
      const auto told = optimizing_.find(next);
      if (told != optimizing_.end() && !line.empty()) told->second.line = line;
    });
  });
}

void Node::stop_optimization(std::string_view function, int number, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const Version* version = (*entry)->version(number);
  const auto at = version ? optimizing_.find(version->id) : optimizing_.end();
  if (at == optimizing_.end())
    return done(fail(Code::not_found,
                     "version " + std::to_string(number) + " of '" + (*entry)->function.name + "' is not being optimised"));
  if (at->second.phase == Optimizing::Phase::waiting) {
    end_optimizing(version->id, State::stopped, "it was stopped");
  } else if (at->second.phase == Optimizing::Phase::searching) {
    at->second.stopping = true;
    if (at->second.job != 0) fleet_.end_job(at->second.job);
  } else {
    return done(fail(Code::conflict, "it has been searched, and is being deployed: 'mayfly rollback' goes back"));
  }
  done({});
}

void Node::searched(VersionId id, const Result<instances::ReadyReport>& report) {
  const auto at = optimizing_.find(id);
  if (at == optimizing_.end()) return begin_optimizing();
  Optimizing& mine = at->second;
  mine.job = 0;
  if (mine.stopping) return end_optimizing(id, State::stopped, "it was stopped");
  if (!report) return end_optimizing(id, State::failed, report.error().message);
  auto found = domain::parse_optimization_found(report->result);
  if (!found) return end_optimizing(id, State::failed, found.error().message);
  mine.report = std::move(found->report);
  if (!found->passed) return end_optimizing(id, State::done, "the alias stays: no candidate passed the gate");
  if (found->changed == 0) return end_optimizing(id, State::done, "the alias stays: what the node serves already is the best of them");
  mine.phase = Optimizing::Phase::deploying;
  mine.line = "deploying what passed";
  begin_optimizing();
  auto take = [this, id]() -> Result<std::vector<FileRef>> {
    const store::Optimizations& work = store_.optimizations();
    std::vector<FileRef> files;
    for (const std::string& name : {std::string(domain::kOptimizedFile), std::string(domain::kOptimizedFile) + ".data"}) {
      if (name != domain::kOptimizedFile && !work.has(id, name)) continue;
      TRY(FileRef file, work.take(id, name, store_.artifacts()));
      file.path = name;
      files.push_back(std::move(file));
    }
    return files;
  };
  behind(bulk_work_, kDiskBusy, std::move(take),
         [this, id, weights = std::move(found->weights)](const Result<std::vector<FileRef>>& files) {
    if (!files) return end_optimizing(id, State::failed, "what passed can't be kept: " + files.error().message);
    deploy_optimized(id, *files, weights);
  });
}

// The same manifest, the same other files; not the weights that the original alone needs.
void Node::deploy_optimized(VersionId id, const std::vector<FileRef>& made, const std::vector<std::string>& weights) {
  const Version* original = find(id);
  if (!original || !optimizing_.contains(id)) return end_optimizing(id, State::failed, "the version was deleted");
  Version version{.created = turn_.wall, .manifest = original->manifest};
  for (const FileRef& file : original->files)
    if (file.path != original->manifest.model && std::ranges::find(weights, file.path) == weights.end()) version.files.push_back(file);
  for (FileRef file : made) {
    file.path = file.path == domain::kOptimizedFile ? original->manifest.model : beside(original->manifest.model, file.path);
    std::erase_if(version.files, [&](const FileRef& other) { return other.path == file.path; });
    version.files.push_back(std::move(file));
  }
  std::ranges::sort(version.files, {}, &FileRef::path);
  const auto deployed = [this, id](const Result<VersionView>& view) {
    const auto at = optimizing_.find(id);
    if (at == optimizing_.end()) return;
    if (!view) return end_optimizing(id, State::failed, "what passed was not deployed: " + view.error().message);
    at->second.made = view->version.id;
    at->second.phase = Optimizing::Phase::moving;
    at->second.line = "version " + std::to_string(view->version.number) + " is being compiled and measured";
    settled(view->version.id);
  };
  Entry& owner = *versions_.at(id).entry;
  const Version& newest = owner.function.versions.back();
  if (same_content(newest, version))
    return deployed(VersionView{newest, stage_of(owner, newest), true});  // a node that ended in between had come so far
  check_and_commit({.alias = {}, .beside = id}, std::move(version), deployed);
}

// A version's stage has changed: one that was made may take calls now, or one that waits may be searched.
void Node::settled(VersionId version) {
  if (optimizing_.empty()) return;
  const auto at = std::ranges::find_if(optimizing_, [&](const auto& each) { return each.second.made == version; });
  const Version* made = find(version);
  if (at == optimizing_.end() || at->second.phase != Optimizing::Phase::moving || !made) return begin_optimizing();
  const VersionId id = at->first;
  const Version* original = find(id);
  if (!original) return end_optimizing(id, State::failed, "the original was deleted");
  Entry& owner = *versions_.at(id).entry;
  const Stage stage = stage_of(owner, *made);
  if (!has_settled(stage)) return;
  if (stage == Stage::failed) return end_optimizing(id, State::failed, "the optimised version failed: see 'mayfly logs'");
  const OptimizationOrder& order = at->second.order;
  const domain::Alias* alias = owner.alias(order.alias);
  if (!alias || alias->weights.size() != 1 || alias->weights[0].version != original->number)
    return end_optimizing(id, State::done, "the alias '" + order.alias + "' was moved meanwhile, and stays");
  at->second.phase = Optimizing::Phase::ended;
  std::vector<domain::Weight> weights;
  if (order.canary < 1) weights.push_back({original->number, 1 - order.canary});
  weights.push_back({made->number, order.canary});
  char share[40];
  std::snprintf(share, sizeof share, "%g %% of the calls", 100 * order.canary);
  const std::string became = "alias '" + order.alias + "' gives it " + (order.canary < 1 ? share : "all calls");
  set_alias(owner.function.name, order.alias, std::move(weights), [this, id, became](const Result<domain::Alias>& moved) {
    end_optimizing(id, moved ? State::done : State::failed, moved ? became : "the alias did not move: " + moved.error().message);
  });
}

void Node::end_optimizing(VersionId id, State state, const std::string& became) {
  auto ended = optimizing_.extract(id);
  if (!bulk_work_([this, id] { store_.optimizations().drop(id); }, nullptr))
    note("the disk is too busy to remove the folder of an optimisation; the next start does it");
  if (const Version* version = find(id); version && !ended.empty()) {
    Optimizing& mine = ended.mapped();
    const Version* made = mine.made.number != 0 ? find(mine.made) : nullptr;
    books_.log(version->function, version->number, 0, state == State::failed ? "error" : "info",
               "optimised" + (made ? " as version " + std::to_string(made->number) : std::string()) + ": " + became);
    set_settings(versions_.at(id).entry->function.name,
                 {setting_of(version->number, {.state = state, .order = std::move(mine.order), .optimized = made ? made->number : 0,
                                               .became = became, .report = std::move(mine.report)})},
                 [this](const Result<void>& kept) {
      if (!kept) note("what an optimisation found could not be kept: " + kept.error().message);
    });
  }
  begin_optimizing();
}

void Node::forget_optimization(VersionId version) {
  const auto made = std::ranges::find_if(optimizing_, [&](const auto& each) { return each.second.made == version; });
  if (made != optimizing_.end()) end_optimizing(made->first, State::failed, "the optimised version was deleted");
  const auto at = optimizing_.find(version);
  if (at == optimizing_.end()) return;
  if (at->second.job != 0) return fleet_.end_job(at->second.job);  // its end comes back here
  optimizing_.erase(at);
  static_cast<void>(bulk_work_([this, version] { store_.optimizations().drop(version); }, nullptr));  // or the next start does it
}

std::vector<OptimizationView> Node::optimizations() {
  std::vector<OptimizationView> views;
  for (const auto& [id, each] : optimizing_) {
    const Version* version = find(id);
    if (!version || each.phase == Optimizing::Phase::asked) continue;
    views.push_back({.function = versions_.at(id).entry->function.name, .version = version->number,
                     .waits = each.phase == Optimizing::Phase::waiting, .since = each.since, .line = each.line});
  }
  std::ranges::sort(views, {}, [](const OptimizationView& view) { return view.since.since_epoch; });
  return views;
}

// The version that `made`, the newest, was made of: a deploy of that once more is nothing new.
const Version* Node::optimized_from(Entry& entry, const Version& made) {
  for (const domain::Setting& setting : entry.function.settings) {
    if (setting.kind != domain::kOptimization) continue;
    const auto record = domain::parse_optimization_record(setting.document);
    if (!record || record->optimized != made.number) continue;
    for (const Version& v : entry.function.versions)
      if (std::to_string(v.number) == setting.key) return &v;
  }
  return nullptr;
}

}  // namespace mayfly::control
