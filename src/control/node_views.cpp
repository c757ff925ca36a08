// What people ask: functions, instances, usage, logs.
#include <algorithm>
#include <numeric>

#include "control/detail/behind.h"
#include "control/detail/entry.h"

namespace mayfly::control {

using domain::Version;

namespace {

// Newest first, over all versions of a function.
template <class T>
void keep_newest(std::vector<T>& items) {
  std::ranges::sort(items, [](const T& a, const T& b) { return a.at > b.at; });
  if (items.size() > Books::kRemembered) items.resize(Books::kRemembered);
}

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

std::string_view name(Stage stage) {
  switch (stage) {
    case Stage::checking: return "checking";
    case Stage::serving: return "serving";
    case Stage::compiling: return "compiling";
    case Stage::tuning: return "tuning";
    case Stage::ready: return "ready";
    case Stage::failed: return "failed";
  }
  return "?";
}

FunctionView Node::view_of(const Entry& entry) {
  FunctionView view{.function = entry.function, .recording = recording_view(entry.function.id)};
  for (const Version& v : entry.function.versions) {
    view.stages.push_back(stage_of(entry, v));
    if (const auto cache = start_caches_.find(v.id); cache != start_caches_.end()) view.start_caches.emplace(v.number, cache->second.view);
    if (const instances::Group* group = fleet_.find(v.id)) {
      view.instances += static_cast<int>(group->instances.size());
      view.templates += group->template_ ? 1 : 0;
      for (const instances::Process* p : group->instances) view.memory.count += p->memory.count;
      if (group->template_) view.memory.count += group->template_->memory.count;
    }
    if (const serve::Lane* lane = dispatcher_.find_lane(v.id)) {
      view.waiting += lane->waiting;
      view.in_flight += lane->in_flight;
    }
  }
  return view;
}

std::vector<FunctionView> Node::list() {
  std::vector<FunctionView> views;
  for (const auto& [name, entry] : functions_) views.push_back(view_of(*entry));
  return views;
}

Result<FunctionView> Node::describe(std::string_view function) {
  TRY(Entry* entry, need(function));
  FunctionView view = view_of(*entry);
  for (const Version& v : entry->function.versions) {
    append(view.decisions, books_.decisions(v.id));
    append(view.cold_starts, books_.cold_starts(v.id));
    append(view.failures, books_.failures(v.id));
  }
  keep_newest(view.decisions);
  keep_newest(view.cold_starts);
  keep_newest(view.failures);
  return view;
}

std::vector<InstanceView> Node::instances() {
  std::vector<InstanceView> views;
  for (const auto& [id, p] : fleet_.processes()) {
    views.push_back({.process = id.number, .function = p->group->plan.function_name, .version = p->group->plan.number,
                     .role = p->is_template ? "template" : "instance", .state = std::string(instances::name(p->state)),
                     .frozen = p->frozen, .origin = std::string(instances::name(p->origin)), .age = turn_.now - p->asked,
                     .idle = p->outstanding ? Duration{} : turn_.now - p->last_used, .in_flight = p->outstanding,
                     .answered = p->answered, .memory = p->memory, .cpu = std::max(p->cpu, p->cpu_told)});
  }
  std::ranges::sort(views, {}, &InstanceView::process);
  return views;
}

NodeView Node::node() {
  NodeView view{.version = options_.version, .up = turn_.now - opened_, .functions = static_cast<int>(functions_.size()),
                .memory_used = fleet_.memory_used(), .memory_budget = options_.scale.memory_budget,
                .cpu_features = options_.cpu_features, .engine_version = MAYFLY_ENGINE_VERSION, .notes = notes_};
  for (const auto& [id, p] : fleet_.processes()) ++(p->is_template ? view.templates : view.instances);
  return view;
}

Result<std::vector<VersionStats>> Node::stats(std::string_view function) {
  if (!function.empty()) TRY_VOID(need(function));
  std::vector<VersionStats> all;
  for (const auto& [name, entry] : functions_) {
    if (!function.empty() && name != function) continue;
    for (const Version& version : entry->function.versions) {
      const auto counted = books_.all().find(version.id);
      const Counters c = counted != books_.all().end() ? counted->second : Counters();
      const auto us = [](std::uint64_t count) { return std::chrono::microseconds(count); };
      const auto ns = [](std::uint64_t count) { return std::chrono::nanoseconds(count); };
      all.push_back({.function = name, .version = version.number, .last = c.last, .inferences = c.rows,
                     .executions = static_cast<std::uint64_t>(c.executions + 0.5), .success = {c.success, us(c.total_us)},
                     .fail = {std::accumulate(c.failures.begin(), c.failures.end(), std::uint64_t{0}), us(c.fail_us)},
                     .queue = {c.success, us(c.queue_us)}, .compute_input = {c.success, ns(c.decode_ns)},
                     .compute_infer = {c.success, ns(c.run_ns)}, .compute_output = {c.success, ns(c.encode_ns)}});
    }
  }
  return all;
}

Result<std::vector<LogLine>> Node::logs(std::string_view function, const LogQuery& query) {
  FunctionId id;
  if (!function.empty()) {
    TRY(const Entry* entry, need(function));
    id = entry->function.id;
  }
  return books_.lines(id, query, [this](const domain::UsageRecord& r) -> Books::Name {
    if (const auto name = name_of(VersionId{r.version})) return *name;
    for (const auto& [name, entry] : functions_)
      if (entry->function.id.number == r.function) return {name, static_cast<int>(r.version_number)};
    return {"(deleted)", static_cast<int>(r.version_number)};
  });
}

Result<Version> Node::resolve(std::string_view function, std::string_view qualifier) {
  Random first(1);
  TRY(const serve::Target* target, routes_.resolve(function, qualifier, first));
  const Version* version = find(target->version);
  if (!version) return fail(Code::not_found, "this version was deleted");
  return *version;
}

void Node::usage(std::string_view function, WallTime since, WallTime until, Done<UsageReport> done) {
  FunctionId id;
  if (!function.empty()) {
    const auto entry = need(function);
    if (!entry) return done(fail(entry.error()));
    id = (*entry)->function.id;
  }
  if (until <= since) return done(fail(Code::invalid_argument, "the span ends before it begins: give a 'since' that is before 'until'"));
  behind(bulk_work_, "the disk is too busy: try again", [this, id, since, until] { return store_.usage().query(id, since, until); },
         [this, since, until, done = std::move(done)](Result<std::vector<store::UsageSum>> sums) mutable {
    if (!sums) return done(fail(sums.error()));
    Names names;
    for (const store::UsageSum& sum : *sums)
      if (sum.function) names[sum.function.number] = "(deleted)";
    std::vector<FunctionId> gone;
    for (const auto& [name, entry] : functions_)
      if (const auto used = names.find(entry->function.id.number); used != names.end()) used->second = name;
    for (const auto& [number, name] : names)
      if (name == "(deleted)") gone.push_back({number});
    if (gone.empty()) return done(report_of(*sums, names, since, until));
    auto work = [this, gone, names = std::move(names)]() -> Result<Names> {
      Names all = names;
      for (const FunctionId each : gone)
        if (const auto name = store_.catalog().name_of(each)) all[each.number] = *name + " (deleted)";
      return all;
    };
    behind(catalog_work_, kCatalogBusy, std::move(work),
           [this, sums = *std::move(sums), since, until, done = std::move(done)](Result<Names> all) {
      if (!all) return done(fail(all.error()));
      done(report_of(sums, *all, since, until));
    });
  });
}

UsageReport Node::report_of(const std::vector<store::UsageSum>& sums, const Names& names, WallTime since, WallTime until) {
  UsageReport report{.since = since, .until = until, .currency = options_.prices.currency};
  for (const store::UsageSum& sum : sums) {
    if (!sum.function) report.unknown_calls += sum.invocations;
    else report.sums.push_back(priced(sum, names.at(sum.function.number), since, until));
  }
  std::ranges::sort(report.sums, {}, [](const UsageSum& s) { return std::pair(s.function, s.version); });
  return report;
}

UsageSum Node::priced(const store::UsageSum& sum, std::string name, WallTime since, WallTime until) {
  const Version* version = find(sum.version);
  const double span = std::chrono::duration<double>(std::min(until, turn_.wall).since_epoch - since.since_epoch).count();
  UsageSum out{.function = std::move(name), .version = sum.version_number, .invocations = sum.invocations, .errors = sum.errors,
               .cold_starts = sum.cold_starts, .rows = sum.rows, .billed_seconds = static_cast<double>(sum.billed_us) / 1e6,
               .gb_seconds = sum.gb_seconds, .cpu_seconds = static_cast<double>(sum.cpu_ns) / 1e9,
               .overhead_cpu_seconds = static_cast<double>(sum.overhead_cpu_ns) / 1e9};
  out.cost = cost_of(options_.prices, out.gb_seconds, static_cast<double>(out.invocations));
  if (version) {  // it can't have run before it was deployed
    const double lived = std::chrono::duration<double>(turn_.wall.since_epoch - version->created.since_epoch).count();
    out.always_on_cost = always_on_cost(options_.prices, version->manifest.resources.memory, std::clamp(lived, 0.0, std::max(0.0, span)));
  }
  if (const auto n = static_cast<std::int64_t>(sum.invocations); n > 0) {
    out.queue_mean = std::chrono::microseconds(static_cast<std::int64_t>(sum.queue_us) / n);
    out.run_mean = std::chrono::nanoseconds(static_cast<std::int64_t>(sum.run_ns) / n);
    out.total_mean = std::chrono::microseconds(static_cast<std::int64_t>(sum.total_us) / n);
  }
  out.total_max = std::chrono::microseconds(sum.total_us_max);
  return out;
}

domain::EventPolicy Node::event_policy(std::string_view function, std::string_view qualifier) {
  const Entry* entry = find(function);
  return entry ? domain::event_policy(entry->function, qualifier) : domain::EventPolicy{};
}

}  // namespace mayfly::control
