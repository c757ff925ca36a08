#include "instances/fleet.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/assert.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr Duration kRetryFirst = 100ms, kRetryMax = 30s;
constexpr Duration kMeasureEvery = 1s;
constexpr std::size_t kMeasuredAtOnce = 32;  // a look costs the kernel a walk over the process's pages

}  // namespace

std::string_view name(Origin origin) {
  switch (origin) {
    case Origin::fork: return "fork";
    case Origin::artifact: return "artifact";
    case Origin::upload: return "upload";
  }
  return "?";
}

std::string_view name(State state) {
  switch (state) {
    case State::starting: return "starting";
    case State::ready: return "ready";
    case State::draining: return "draining";
  }
  return "?";
}

int Group::count(State state) const {
  return static_cast<int>(std::ranges::count_if(instances, [&](const Process* p) { return p->state == state && p != successor; }));
}

Group& Fleet::define(VersionPlan plan) {
  std::unique_ptr<Group>& group = groups_[plan.version];
  if (!group) group = std::make_unique<Group>();
  else if (launcher_ && group->plan.instance.start_cache != plan.instance.start_cache) launcher_->forget(group->plan.instance);
  group->plan = std::move(plan);
  group->pause = group->template_pause = {};  // the new way of starting deserves a new try
  next_tick_ = std::min(next_tick_, turn_.now);
  return *group;
}

Group* Fleet::find(VersionId version) {
  const auto at = groups_.find(version);
  return at == groups_.end() ? nullptr : at->second.get();
}

void Fleet::forget(VersionId version) {
  Group* group = find(version);
  if (!group) return;
  group->forgotten = true;
  evict_template(*group);
  want(*group, 0);
  drop_if_done(*group);
}

void Fleet::drop_if_done(Group& group) {
  if (group.forgotten && group.instances.empty() && !group.template_) groups_.erase(group.plan.version);
}

Process& Fleet::add(Group& group, bool is_template, Origin origin) {
  const ProcessId id{++processes_made_};
  auto process = std::make_unique<Process>(Process{.id = id, .group = &group, .is_template = is_template, .origin = origin,
                                                   .asked = turn_.now, .last_used = turn_.now});
  Process& added = *process;
  processes_.emplace(id, std::move(process));
  next_tick_ = std::min(next_tick_, turn_.now + kMeasureEvery);
  if (is_template) group.template_ = &added;
  else group.instances.push_back(&added);
  return added;
}

void Fleet::start_instance(Group& group) {
  const bool alone = std::ranges::none_of(group.instances, [](const Process* p) { return p->origin == Origin::fork; });
  if (group.template_ready() && (group.plan.forks_share || alone)) {
    Process& child = add(group, false, Origin::fork);
    launcher_->fork(child.id, group.template_->id);
    return;
  }
  Process& process = add(group, false, group.plan.instance.compiled ? Origin::artifact : Origin::upload);
  group.plan.instance.ahead = domain::is_code(group.plan.instance.role) && !group.plan.template_;
  launcher_->start(process.id, group.plan.instance);
}

void Fleet::want(Group& group, int instances) {
  group.wanted = group.forgotten ? 0 : instances;
  settle(group);
}

void Fleet::settle(Group& group) {
  if (turn_.now >= group.pause.until)
    for (int missing = group.wanted - group.alive(); missing > 0; --missing) start_instance(group);
  if (group.successor && group.alive() > group.wanted) stop(*std::exchange(group.successor, nullptr));
  for (int surplus = group.alive() - group.wanted; surplus > 0; --surplus) {
    // Idle ones first, of these the one from the artifact before forks (which run better), then the one idle longest.
    Process* victim = nullptr;
    const auto rank = [](const Process& p) {
      return std::tuple(p.state == State::starting ? 0 : 1, p.outstanding, p.origin == Origin::fork, p.last_used);
    };
    for (Process* p : group.instances)
      if (p->state != State::draining && (!victim || rank(*p) < rank(*victim))) victim = p;
    if (!victim) break;
    stop(*victim);
  }
}

void Fleet::want_template(Group& group) {
  if (!group.plan.template_ || group.template_ || group.forgotten || turn_.now < group.template_pause.until) return;
  Process& process = add(group, true, group.plan.template_->compiled ? Origin::artifact : Origin::upload);
  launcher_->start(process.id, *group.plan.template_);
}

void Fleet::evict_template(Group& group) {
  launcher_->forget(group.plan.instance);
  if (group.template_ && group.template_->state != State::draining) kill(*group.template_);
}

void Fleet::stop(Process& process) {
  if (process.state == State::draining) return;
  const bool starting = process.state == State::starting;
  process.state = State::draining;
  process.frozen = false;
  if (starting) launcher_->kill(process.id);
  else launcher_->stop(process.id);
}

void Fleet::kill(Process& process, std::string why) {
  if (process.failure.empty()) process.failure = std::move(why);
  process.state = State::draining;
  launcher_->kill(process.id);
}

Process* Fleet::pick(Group& group) {
  Process* best = nullptr;
  for (Process* p : group.instances) {
    if (p->state != State::ready || p->blocked || p->outstanding >= p->credit) continue;
    if (!best || p->outstanding < best->outstanding) best = p;
  }
  return best;
}

bool Fleet::send(Process& process, const Request& request) {
  ASSERT(process.state == State::ready && process.outstanding < process.credit, "work beyond credit");
  if (!launcher_->send(process.id, request)) {
    process.blocked = true;
    return false;
  }
  ++process.outstanding;
  process.frozen = false;
  return true;
}

Fleet::JobId Fleet::run_job(StartOrder order, JobDone done, JobLine line) {
  const auto later = order.role == domain::Role::check
      ? std::ranges::find_if(jobs_waiting_, [](const Job& j) { return j.order.role != domain::Role::check; })
      : jobs_waiting_.end();
  const JobId id = ++jobs_made_;
  jobs_waiting_.insert(later, Job{id, std::move(order), std::move(done), std::move(line), {}});
  start_jobs();
  return id;
}

void Fleet::end_job(JobId job) {
  for (const auto& [process, running] : jobs_)
    if (running.id == job) return launcher_->kill(process);
  const auto waiting = std::ranges::find(jobs_waiting_, job, &Job::id);
  if (waiting == jobs_waiting_.end()) return;
  const JobDone done = std::move(waiting->done);
  jobs_waiting_.erase(waiting);
  done(fail(Code::cancelled, "it was ended before it began"));
}

void Fleet::start_jobs() {
  const auto running = [this](domain::Role role) {
    return std::ranges::count_if(jobs_, [role](const auto& job) { return job.second.order.role == role; });
  };
  for (auto next = jobs_waiting_.begin(); next != jobs_waiting_.end();) {
    const auto builds = running(domain::Role::build), optimizing = running(domain::Role::optimize);
    const domain::Role role = next->order.role;
    const bool room = role == domain::Role::build      ? builds < kBuildsMax
                      : role == domain::Role::optimize ? optimizing == 0
                                                       : static_cast<int>(jobs_.size()) - builds - optimizing < kJobsMax;
    if (!room) {
      ++next;
      continue;
    }
    const ProcessId id{++processes_made_};
    Job& job = jobs_.emplace(id, std::move(*next)).first->second;
    next = jobs_waiting_.erase(next);
    launcher_->start(id, job.order);
  }
}

Instant Fleet::tick() {
  if (turn_.now < next_tick_) return next_tick_;  // called every turn of the loop: nothing is walked before it is due
  Instant next = processes_.empty() ? Instant::never() : turn_.now + kMeasureEvery;
  for (auto& [version, group] : groups_) {
    if (group->pause.until > turn_.now) {
      next = std::min(next, group->pause.until);
    } else {
      if (group->wanted > group->alive()) settle(*group);
      renew(*group);
    }
  }
  if (turn_.now - measured_at_ >= kMeasureEvery) {
    measured_at_ = turn_.now;
    measure_some();
    freeze_idle();
  }
  return next_tick_ = processes_.empty() ? next : std::min(next, turn_.now + kMeasureEvery);  // settle() may have started some
}

void Fleet::freeze_idle() {
  for (auto& [id, p] : processes_) {
    const std::optional<Duration>& after = p->group->plan.freeze_after;
    if (p->is_template || !p->idle() || p->frozen || !after || turn_.now - p->last_used < *after) continue;
    p->frozen = launcher_->freeze(id);
    p->frozen_at = turn_.now;
  }
}

// Of those at work, the ones that were looked at longest ago: what neither worked nor is new, nor was just frozen, has not changed.
void Fleet::measure_some() {
  std::vector<Process*> due;
  for (auto& [id, p] : processes_)
    if (p->state == State::ready && (p->memory.count == 0 || std::max(p->last_used, p->frozen_at) + 2 * kMeasureEvery > turn_.now))
      due.push_back(p.get());
  const std::size_t count = std::min(due.size(), kMeasuredAtOnce);
  std::ranges::partial_sort(due, due.begin() + static_cast<std::ptrdiff_t>(count), {},
                            [](const Process* p) { return std::pair(p->measured_at, p->id); });
  for (std::size_t i = 0; i < count; ++i) measure(*due[i]);
}

void Fleet::measure(Process& process) {
  process.measured_at = turn_.now;
  const Usage usage = launcher_->measure(process.id);
  if (usage.memory.count) process.memory = usage.memory;
  process.cpu = std::max(process.cpu, usage.cpu);
  // Replies in flight will tell some of it: only a silent process's rest is overhead.
  if (process.outstanding == 0 && process.cpu > process.cpu_told) {
    observer_->on_overhead(process, process.cpu - process.cpu_told);
    process.cpu_told = process.cpu;
  }
}

Bytes Fleet::memory_used() const {
  Bytes sum;
  for (const auto& [id, process] : processes_) sum.count += process->memory.count;
  return sum;
}

void Fleet::on_ready(ProcessId id, const ReadyReport& report) {
  if (const auto job = jobs_.find(id); job != jobs_.end()) {
    job->second.outcome = report;
    return;
  }
  Process& process = *processes_.at(id);
  Group& group = *process.group;
  process.report = report;
  process.ready_at = turn_.now;
  process.last_used = turn_.now;
  process.memory = report.private_memory;
  (process.is_template ? group.template_pause : group.pause).failures = 0;
  observer_->on_started(process);
  if (process.state == State::draining) return;  // no longer wanted: its stop or kill is on its way
  process.state = State::ready;
  if (process.is_template) return renew(group);
  process.credit = std::clamp(report.credit, 1, group.plan.concurrency_max.value_or(1024));
  if (group.successor == &process) {
    group.successor = nullptr;
    if (Process* old = find_outdated(group); old && group.alive() > group.wanted) stop(*old);
  }
  renew(group);
  user_->on_instance_ready(process);
}

// Ready, and would start better today: from the compiled file, or with packed weights from the template. The least busy one.
Process* Fleet::find_outdated(Group& group) {
  const bool forks = group.plan.forks_run_better && group.template_ready(), file = group.plan.replaces_uploaded;
  Process* least = nullptr;
  for (Process* p : group.instances) {
    const bool outdated = (file && p->origin == Origin::upload) || (forks && p->origin != Origin::fork);
    if (p->state == State::ready && outdated && (!least || p->outstanding < least->outstanding)) least = p;
  }
  return least;
}

// One at a time; its successor is there before it drains.
void Fleet::renew(Group& group) {
  if (group.successor || turn_.now < group.pause.until || !find_outdated(group)) return;
  start_instance(group);
  group.successor = group.instances.back();
}

void Fleet::pause(Group::Pause& pause, int& times) {
  const int doublings = std::min(times++, 16);
  pause.until = turn_.now + std::min(kRetryMax, kRetryFirst * (1 << doublings));
  next_tick_ = std::min(next_tick_, pause.until);
}

void Fleet::start_failed(Group& group, bool is_template, const Error& error, std::string_view log) {
  Group::Pause& own = is_template ? group.template_pause : group.pause;
  pause(own, own.failures);
  observer_->on_start_error(group, is_template, error, log);
  if (is_template && error.code == Code::unimplemented) group.plan.template_.reset();  // it will not be another time
  if (!is_template && group.alive() == 0) user_->on_start_failed(group, error, log);
}

void Fleet::on_failed(ProcessId id, const Error& error, std::string_view log) {
  if (const auto job = jobs_.find(id); job != jobs_.end()) {
    job->second.outcome = fail(error);
    return;
  }
  Process& process = *processes_.at(id);
  const bool wanted = process.state == State::starting;
  process.state = State::draining;
  if (process.group->successor == &process) process.group->successor = nullptr;
  if (wanted) start_failed(*process.group, process.is_template, error, log);
}

void Fleet::on_reply(ProcessId id, Reply&& reply) {
  const auto at = processes_.find(id);
  if (at == processes_.end() || at->second->outstanding == 0) return;  // more replies than requests: a lie, ignored
  Process& process = *at->second;
  // It is no sign that a call ends: last_used stays, so that one whose time is over and goes on and on counts as silent.
  if (!domain::is_last(reply.head.part)) return user_->on_part(process, std::move(reply));
  --process.outstanding;
  process.blocked = false;
  process.last_used = turn_.now;
  if (++process.answered == 1) {
    process.group->pause.deaths = 0;
    observer_->on_first_answer(process);
  }
  // Told CPU can't be more than there was time for.
  const Duration most = (turn_.now - process.ready_at + 1s) * std::max(1, process.report.threads);
  const Duration told = std::clamp(Duration(static_cast<Duration::rep>(reply.head.cpu_ns)), Duration{}, most);
  reply.head.cpu_ns = static_cast<std::uint64_t>(told.count());
  process.cpu_told += told;
  if (reply.head.last && process.state == State::ready) process.state = State::draining;  // it ends by itself
  if (reply.head.last && reply.head.code != 0 && !reply.head.function_error && process.failure.empty()) {
    constexpr std::size_t kFailureMax = 1024;
    process.failure = reply.body.substr(0, kFailureMax);
    process.failure_log = reply.log;
  }
  user_->on_reply(process, std::move(reply));
}

void Fleet::on_gone(ProcessId id, const Death& death) {
  if (const auto job = jobs_.find(id); job != jobs_.end()) {
    Job ended = std::move(job->second);
    jobs_.erase(job);
    Result<ReadyReport> outcome = ended.outcome ? std::move(*ended.outcome)
        : Result<ReadyReport>(fail(death.out_of_memory ? Code::exhausted : Code::invalid_argument,
                                   std::string(is_of_model(ended.order.role) ? "the model's process" : "its process") +
                                       " ended: " + death.reason));
    ended.done(std::move(outcome));
    start_jobs();
    return;
  }
  const auto at = processes_.find(id);
  ASSERT(at != processes_.end(), "a process ended twice");
  const std::unique_ptr<Process> process = std::move(at->second);
  processes_.erase(at);
  Group& group = *process->group;
  const State state = process->state;
  process->state = State::draining;
  if (group.successor == process.get()) group.successor = nullptr;
  if (process->is_template) group.template_ = nullptr;
  else std::erase(group.instances, process.get());
  process->cpu = std::max(process->cpu, death.cpu);
  if (process->cpu > process->cpu_told) observer_->on_overhead(*process, process->cpu - process->cpu_told);
  observer_->on_ended(*process, death);
  const bool exhausted = death.out_of_memory && !domain::is_code(group.plan.instance.role);  // code ends like any program
  if (state == State::starting)
    start_failed(group, process->is_template,
                 {exhausted ? Code::exhausted : Code::unavailable, "the instance ended while it started: " + death.reason}, {});
  // Nobody's call did it: started again at once it would end again at once.
  else if (state == State::ready && !process->is_template && process->answered == 0 && process->outstanding == 0)
    pause(group.pause, group.pause.deaths);
  if (!process->is_template) user_->on_instance_gone(*process, death);
  settle(group);
  drop_if_done(group);
}

void Fleet::on_log(ProcessId id, const domain::Printed& line) {
  if (const auto job = jobs_.find(id); job != jobs_.end() && job->second.line) return job->second.line(line.text);
  const auto at = processes_.find(id);
  observer_->on_log(at == processes_.end() ? nullptr : at->second->group, id, line);
}

}  // namespace mayfly::instances
