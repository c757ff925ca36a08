#include "control/scale_loop.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace mayfly::control {
namespace {

using namespace std::chrono_literals;
using instances::Group;
using instances::Process;
using instances::State;

constexpr Duration kTick = 100ms;
constexpr Duration kStartUnmeasured = 50ms;   // until a start has been measured
constexpr Bytes kMemoryUnmeasured = 64_MiB;   // of an instance
constexpr Duration kTemplatePause = 1min;     // after one left for want of memory

Duration start_cost(const Group& group, const domain::Tuning& tuning) {
  const auto measured = group.template_ready() ? tuning.fork_first_ns : tuning.cold_first_ns;
  return measured ? Duration(static_cast<Duration::rep>(measured)) : kStartUnmeasured;
}

Bytes memory_each(const Group& group) {  // 0: not measured
  Bytes most;
  for (const Process* p : group.instances) most = std::max(most, p->memory);
  return most;
}

}  // namespace

void ScaleLoop::keep_watch(VersionId version) {
  watched_.try_emplace(version);
  active_.insert(version);
  next_ = std::min(next_, turn_.now + kTick);
}

void ScaleLoop::forget(VersionId version) {
  watched_.erase(version);
  active_.erase(version);
}

void ScaleLoop::on_demand(serve::Lane& lane) {
  keep_watch(lane.version);
  decide(lane.version, watched_[lane.version]);
}

void ScaleLoop::set_count(VersionId version, int instances) {
  keep_watch(version);
  Watched& watched = watched_[version];
  // By hand: what the windows remember would bring back what was just removed. What has come until now is no burst either.
  const serve::Lane* lane = dispatcher_.find_lane(version);
  watched.memory = {.arrivals = lane ? lane->load.arrivals : 0};
  Group* group = group_of_(version);
  if (!group) return;
  const int before = group->alive();
  fleet_.want(*group, instances);
  note_(version, {.at = turn_.wall, .before = before, .after = instances, .reason = "set by hand"});
}

// What all processes take: as measured, or, of one that starts, what its like took.
std::uint64_t ScaleLoop::memory_expected() const {
  std::uint64_t sum = 0;
  for (const auto& [id, p] : fleet_.processes()) {
    const auto watched = watched_.find(p->group->plan.version);
    if (p->memory.count) sum += p->memory.count;
    else if (watched == watched_.end()) sum += kMemoryUnmeasured.count;
    else sum += (p->is_template ? watched->second.template_memory : watched->second.instance_memory).count;
  }
  return sum;
}

autoscale::Policy ScaleLoop::policy_of(const Facts& facts, const Watched& watched) const {
  autoscale::Policy policy{
      .min = facts.scaling.min,
      .max = std::max({1, facts.scaling.min, facts.scaling.max}),
      .reserved = facts.scaling.reserved,
      .concurrency = facts.scaling.concurrency.value_or(0),
      .target_p99 = facts.scaling.target_p99,
      .cores_per_instance = facts.tuning.threads > 1 ? static_cast<double>(facts.tuning.threads) : std::min(1.0, facts.cpu)};
  policy.keep = facts.scaling.keep_alive ? autoscale::KeepWindow{.keep_alive = *facts.scaling.keep_alive}
                                         : watched.gaps.window({.fallback = options_.keep_alive_default});
  return policy;
}

autoscale::Observation ScaleLoop::observe(const Group& group, serve::Lane* lane, const Facts& facts, const Watched& watched,
                                          const autoscale::KeepWindow& keep) const {
  autoscale::Observation seen{.now = turn_.now, .ready = group.count(State::ready), .starting = group.count(State::starting),
                              .draining = group.count(State::draining), .start_cost = start_cost(group, facts.tuning),
                              .start_is_fork = group.template_ready(), .usable_cores = static_cast<double>(options_.cores)};
  for (const Process* p : group.instances) {
    if (p->state == State::ready) seen.slots = std::max(seen.slots, p->credit);
    seen.busy += p->state == State::ready && p->outstanding > 0 ? 1 : 0;
    // One that was started by hand is kept as if it had been called; one that waits for an expected call is not.
    if (keep.pre_warm == Duration{}) seen.last_active = std::max(seen.last_active, p->ready_at);
  }
  const std::uint64_t used = memory_expected();
  seen.room = used >= options_.memory_budget.count
                  ? 0
                  : static_cast<int>(std::min<std::uint64_t>(
                        1'000'000, (options_.memory_budget.count - used) / std::max<std::uint64_t>(1, watched.instance_memory.count)));
  if (!lane) return seen;
  serve::Load& load = lane->load;
  seen.waiting = lane->waiting;
  seen.oldest_wait = dispatcher_.oldest_wait(*lane);
  seen.in_flight = lane->in_flight;
  seen.arrivals = load.arrivals;
  seen.last_active = std::max({seen.last_active, load.last_arrival, load.last_end});
  seen.concurrency_stable = load.concurrency_stable.at(turn_.now);
  seen.concurrency_panic = load.concurrency_panic.at(turn_.now);
  if (load.service.count() > 0) {
    seen.service_mean = load.service.mean();
    seen.service_p99 = load.service.quantile(0.99);
    seen.batch_mean = seen.service_mean;
    seen.batch_p99 = seen.service_p99;
    const Duration alone = std::max(Duration(1us), load.service_row.mean());
    seen.batch_requests = std::max(1.0, static_cast<double>(seen.service_mean.count()) / static_cast<double>(alone.count()));
  }
  return seen;
}

// The time from a version's last answer to its next call, for the histogram.
void ScaleLoop::learn_gaps(Watched& watched, const serve::Lane* lane) {
  if (!lane) return;
  if (lane->load.arrivals != watched.arrivals) {
    if (watched.idle && lane->load.last_arrival > watched.idle_from) watched.gaps.add(lane->load.last_arrival - watched.idle_from);
    watched.arrivals = lane->load.arrivals;
    watched.idle = false;
  }
  if (!watched.idle && lane->waiting == 0 && lane->in_flight == 0) {
    watched.idle = true;
    watched.idle_from = lane->load.last_end;
  }
}

// Behind the first answer, so as not to compete with it; gone when nothing has used it for long.
void ScaleLoop::care_for_template(Group& group, Watched& watched) {
  if (!group.instances.empty()) watched.template_used = turn_.now;
  if (group.template_) {
    if (group.template_->memory.count) watched.template_memory = group.template_->memory;
    if (group.template_ready() && turn_.now - watched.template_used >= options_.template_keep) fleet_.evict_template(group);
    return;
  }
  const bool answered = std::ranges::any_of(group.instances, [](const Process* p) { return p->state == State::ready && p->answered > 0; });
  const bool room =
      turn_.now >= watched.template_again && memory_expected() + watched.template_memory.count <= options_.memory_budget.count;
  if (answered && room) fleet_.want_template(group);
}

Instant ScaleLoop::decide(VersionId version, Watched& watched) {
  const auto facts = facts_of_(version);
  Group* group = facts ? group_of_(version) : nullptr;
  if (!group) return Instant::never();
  serve::Lane* lane = dispatcher_.find_lane(version);
  learn_gaps(watched, lane);
  if (const Bytes each = memory_each(*group); each.count) watched.instance_memory = each;
  const autoscale::Policy policy = policy_of(*facts, watched);
  const autoscale::Observation seen = observe(*group, lane, *facts, watched, policy.keep);
  const autoscale::Decision decision = autoscale::decide(policy, watched.memory, seen);
  watched.memory = decision.memory;
  if (decision.instances != group->wanted || decision.instances != group->alive()) {
    if (decision.instances != group->wanted)
      note_(
          version,
          {.at = turn_.wall, .before = group->alive(), .after = decision.instances, .reason = autoscale::explain(policy, seen, decision)});
    fleet_.want(*group, decision.instances);
  }
  care_for_template(*group, watched);
  const bool busy = seen.waiting > 0 || seen.in_flight > 0 || seen.starting > 0 || group->wanted != group->alive();
  Instant next = busy ? turn_.now + kTick : decision.next;
  if (!group->instances.empty()) next = std::min(next, turn_.now + 1s);
  if (group->template_) next = std::min(next, watched.template_used + options_.template_keep);
  return std::max(next, turn_.now + kTick / 10);
}

Instant ScaleLoop::tick() {
  if (turn_.now < next_) return next_;
  next_ = Instant::never();
  keep_budget();
  const std::vector<VersionId> active(active_.begin(), active_.end());
  for (const VersionId version : active) {
    const auto at = watched_.find(version);
    const Instant next = at == watched_.end() ? Instant::never() : decide(version, at->second);
    if (next == Instant::never()) active_.erase(version);
    next_ = std::min(next_, next);
  }
  return next_;
}

autoscale::Candidate ScaleLoop::candidate(const Process& process, bool pinned) {
  const Group& group = *process.group;
  const auto facts = facts_of_(group.plan.version);
  autoscale::Candidate found{.process = process.id, .memory = process.memory, .pinned = pinned};
  // A template costs what its own start took; an instance what the next one would.
  if (process.is_template) found.restore = process.ready_at - process.asked;
  else if (facts) found.restore = start_cost(group, facts->tuning);
  // By Little's law: calls of the last minute or so.
  if (serve::Lane* lane = dispatcher_.find_lane(group.plan.version); lane && lane->load.service.count() > 0)
    found.calls = lane->load.concurrency_stable.at(turn_.now) * 60 / std::max(1e-6, to_seconds(lane->load.service.mean()));
  // The evictor's clock moves only in plan(): what was used since the last one was used at today's.
  const auto watched = watched_.find(group.plan.version);
  const Instant last = process.is_template && watched != watched_.end() ? watched->second.template_used : process.last_used;
  Used& used = used_.try_emplace(process.id, Used{last, evictor_.clock()}).first->second;
  if (used.last != last) used = {last, evictor_.clock()};
  found.used_at = used.clock;
  return found;
}

// What works, starts or is kept by `min` or `reserved` is pinned; of the kept ones those that were used last.
std::vector<autoscale::Candidate> ScaleLoop::candidates() {
  std::erase_if(used_, [this](const auto& entry) { return !fleet_.processes().contains(entry.first); });
  std::vector<autoscale::Candidate> all;
  for (const auto& [version, group] : fleet_.groups()) {
    const auto facts = facts_of_(version);
    int kept = facts ? std::max(facts->scaling.min, facts->scaling.reserved) : 0;
    std::vector<const Process*> instances;
    for (const Process* p : group->instances)
      if (p->state != State::draining) instances.push_back(p);
    std::ranges::sort(instances, [](const Process* a, const Process* b) {
      return std::tuple(a->idle(), b->last_used, b->id) < std::tuple(b->idle(), a->last_used, a->id);
    });
    for (const Process* p : instances) all.push_back(candidate(*p, kept-- > 0 || !p->idle()));
    if (group->template_ready()) all.push_back(candidate(*group->template_, group->count(State::starting) > 0));
  }
  return all;
}

// Over the budget, what is cheapest to rebuild per byte and least likely to be needed leaves first.
void ScaleLoop::keep_budget() {
  std::uint64_t used = memory_expected();
  for (const auto& [id, process] : fleet_.processes())
    if (process->state == State::draining) used -= std::min(used, process->memory.count);
  if (used <= options_.memory_budget.count) return;
  for (const ProcessId id : evictor_.plan(candidates(), Bytes{used - options_.memory_budget.count}).leave) {
    Process& process = *fleet_.processes().at(id);
    Group& group = *process.group;
    const int before = group.alive();
    const bool is_template = process.is_template;
    if (is_template) {
      watched_[group.plan.version].template_again = turn_.now + kTemplatePause;
      fleet_.evict_template(group);
    } else {
      fleet_.stop(process);
      fleet_.want(group, group.alive());
    }
    note_(group.plan.version, {.at = turn_.wall, .before = before, .after = group.alive(),
                               .reason = "memory: the node is over its budget of " + to_text(options_.memory_budget) +
                                         (is_template ? "; the template leaves" : "; an idle instance leaves")});
  }
}

}  // namespace mayfly::control
