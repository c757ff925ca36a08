#include "instances/fake_launcher.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace mayfly::instances {

using namespace std::chrono_literals;

Instant FakeLauncher::next_wakeup() const { return agenda_.empty() ? Instant::never() : agenda_.begin()->first.first; }

void FakeLauncher::advance() {
  for (const std::uint64_t before = scheduled_; !agenda_.empty();) {
    const auto first = agenda_.begin();
    if (first->first.first > turn_.now || first->first.second > before) return;
    const Event event = std::move(first->second);
    agenda_.erase(first);
    deliver(event);
  }
}

void FakeLauncher::schedule(Instant when, Event event) { agenda_.emplace(std::pair(when, ++scheduled_), std::move(event)); }

FakeLauncher::Process* FakeLauncher::find(ProcessId id) {
  const auto at = processes_.find(id);
  return at == processes_.end() ? nullptr : &at->second;
}

Duration FakeLauncher::within(Span span) {
  return span.least + (span.most - span.least) * random_.between(0, 1000) / 1000;
}

void FakeLauncher::note(std::uint64_t what, std::uint64_t of) {
  for (const std::uint64_t part : {what, of, static_cast<std::uint64_t>(turn_.now.since_boot.count())})
    trace_ = (trace_ ^ part) * 0x100000001b3;
}

Bytes FakeLauncher::memory() const {
  Bytes sum;
  for (const auto& [id, process] : processes_) sum.count += process.memory.count;
  return sum;
}

void FakeLauncher::start(ProcessId process, const StartOrder& order) {
  const bool is_template = domain::is_template(order.role);
  begin_start(process, order.role, is_template ? behaviour_.template_start : behaviour_.start,
              is_template ? behaviour_.template_memory : behaviour_.memory);
}

void FakeLauncher::fork(ProcessId child, ProcessId from) {
  const Process* parent = find(from);
  const bool code = parent && domain::is_code(parent->role);
  begin_start(child, code ? domain::Role::code : domain::Role::instance, behaviour_.fork, behaviour_.memory);
  // A template that left meanwhile: the order goes nowhere.
  if (!parent || parent->doomed) die(child, turn_.now, {.reason = "its template is gone"});
}

void FakeLauncher::begin_start(ProcessId id, domain::Role role, Span span, Bytes memory) {
  const bool added = processes_.emplace(id, Process{.role = role, .memory = memory}).second;
  ASSERT(added, "a process number is used once");
  most_alive_ = std::max(most_alive_, static_cast<int>(processes_.size()));
  note(1, id.number);
  const Instant done = turn_.now + within(span);
  if (random_.chance(behaviour_.start_fails)) schedule(done, {What::failed, id, {.reason = "not a model that it knows"}});
  else if (random_.chance(behaviour_.start_dies)) crash(id, done);
  else if (random_.chance(behaviour_.start_hangs)) die(id, turn_.now + behaviour_.start_hang, {.reason = "not ready in time"});
  else schedule(done, {What::ready, id});
}

bool FakeLauncher::send(ProcessId id, const Request& request) {
  Process* process = find(id);
  if (!process || process->doomed) return true;  // into the ring of one that has just died: lost, and on_gone tells
  ASSERT(process->state == State::ready, "work for an instance before it is ready");
  ASSERT(!process->stopping, "work for an instance that was told to stop");
  if (static_cast<int>(process->ring.size()) >= behaviour_.ring || random_.chance(behaviour_.ring_refuses)) return false;
  process->ring.push_back({request.ticket, request.deadline});
  process->frozen = false;
  note(2, request.ticket.number);
  return true;
}

void FakeLauncher::cancel(ProcessId id, Ticket ticket) {
  ++cancels_;
  if (Process* process = find(id))
    for (Held& held : process->ring) held.cancelled |= held.ticket == ticket;
}

void FakeLauncher::flush() {
  for (auto& [id, process] : processes_) begin_run(id, process);
}

void FakeLauncher::begin_run(ProcessId id, Process& process) {
  if (process.state != State::ready || process.doomed || process.hangs || !process.running.empty()) return;
  if (process.ring.empty()) {
    if (process.stopping) die(id, turn_.now + 1ms, {.reason = "stopped", .asked = true});
    return;
  }
  for (int i = behaviour_.batch_max; i > 0 && !process.ring.empty(); --i) {
    process.running.push_back(process.ring.front());
    process.ring.pop_front();
  }
  process.begun = turn_.now;
  ++runs_;
  if (random_.chance(behaviour_.run_hangs)) { process.hangs = true; return; }
  const Instant done = turn_.now + within(behaviour_.run);
  if (random_.chance(behaviour_.run_dies)) crash(id, done);
  else schedule(done, {What::done, id});
}

void FakeLauncher::reply(ProcessId id, Ticket ticket, std::uint8_t code, const Process& process, int batch) {
  const auto took = static_cast<std::uint64_t>((turn_.now - process.begun).count());
  Reply out;
  out.head = {.ticket = ticket.number, .begun_ns = static_cast<std::uint64_t>(process.begun.since_boot.count()), .run_ns = took,
              .cpu_ns = took / static_cast<std::uint64_t>(batch), .rows = 1, .batch_rows = static_cast<std::uint32_t>(batch), .code = code};
  out.body = code == 0 ? "{}" : "made-up trouble";
  out.head.body_size = out.body.size();
  note(3, ticket.number);
  events_.on_reply(id, std::move(out));
}

void FakeLauncher::end_run(ProcessId id, Process& process) {
  const std::vector<Held> done = std::exchange(process.running, {});
  const int batch = static_cast<int>(done.size());
  process.cpu += turn_.now - process.begun;
  // The lie comes last: what an instance says beyond its work must hurt nobody but itself.
  const bool lies = random_.chance(behaviour_.lies);
  for (const Held& held : done) {
    std::uint8_t code = held.cancelled ? static_cast<std::uint8_t>(Code::cancelled) : 0;
    if (held.deadline <= process.begun) code = static_cast<std::uint8_t>(Code::deadline_exceeded);
    if (random_.chance(behaviour_.reports_error)) code = static_cast<std::uint8_t>(Code::invalid_argument);
    if (random_.chance(behaviour_.wrong_code)) code = static_cast<std::uint8_t>(random_.between(13, 255));
    reply(id, held.ticket, code, process, batch);
    if (random_.chance(behaviour_.answers_twice)) reply(id, held.ticket, 0, process, batch);
  }
  if (lies)
    reply(id, {random_.chance(0.5) ? random_.next() : done.front().ticket.number + static_cast<std::uint64_t>(random_.between(-3, 3))}, 0,
          process, batch);
}

bool FakeLauncher::freeze(ProcessId id) {
  Process* process = find(id);
  if (!process || process->doomed) return false;
  ASSERT(process->state == State::ready && !process->stopping && process->ring.empty() && process->running.empty(),
         "only what is ready and idle is frozen");
  note(4, id.number);
  return process->frozen = true;
}

void FakeLauncher::stop(ProcessId id) {
  Process* process = find(id);
  if (!process || process->doomed) return;
  process->frozen = false;
  process->stopping = true;
  const bool works = process->state == State::ready && !domain::is_template(process->role);
  if (works) begin_run(id, *process);
  else die(id, turn_.now + 1ms, {.reason = "stopped", .asked = true});
}

void FakeLauncher::kill(ProcessId id) { die(id, turn_.now + 1ms, {.reason = "killed", .asked = true}); }

void FakeLauncher::crash(ProcessId id, Instant when) {
  const bool memory = behaviour_.out_of_memory;
  die(id, when, {.reason = memory ? "exceeded its memory limit" : "killed by signal 11 (segmentation fault)", .out_of_memory = memory});
}

void FakeLauncher::die(ProcessId id, Instant when, Death death) {
  Process* process = find(id);
  if (!process) return;
  // A kill overtakes a death that is planned for later; what comes second for an id finds nobody.
  const bool asked = death.asked;
  if (asked || !process->doomed) schedule(std::max(when, turn_.now), {What::gone, id, std::move(death)});
  if (asked || when <= turn_.now) process->doomed = true;
}

Usage FakeLauncher::measure(ProcessId id) {
  const Process* process = find(id);
  return process ? Usage{process->frozen ? Bytes{process->memory.count / 4} : process->memory, process->cpu} : Usage{};
}

void FakeLauncher::deliver(const Event& event) {
  Process* process = find(event.process);
  if (!process) return;
  note(10 + static_cast<std::uint64_t>(event.what), event.process.number);
  switch (event.what) {
    case What::ready: {
      if (process->doomed) return;
      process->state = State::ready;
      const bool job = domain::is_job(process->role);
      if (job) die(event.process, turn_.now + 1ms, {.reason = "done"});
      else if (behaviour_.idle_dies > 0 && random_.chance(behaviour_.idle_dies)) crash(event.process, turn_.now + 1ms);
      events_.on_ready(event.process, {.credit = behaviour_.credit, .load = 1ms, .cpu = 1ms, .private_memory = process->memory,
                                       .result = job ? behaviour_.job_result : std::string()});
      return;
    }
    case What::failed:
      if (process->doomed) return;
      die(event.process, turn_.now + 1ms, {.reason = "exited with status 1"});
      process->doomed = true;
      events_.on_failed(event.process, {Code::invalid_argument, event.death.reason}, {});
      return;
    case What::done:
      if (process->doomed) return;
      end_run(event.process, *process);
      // The events may have sent it more; a map's nodes stay where they are.
      begin_run(event.process, *process);
      return;
    case What::gone: {
      Death death = event.death;
      death.cpu = process->cpu;
      processes_.erase(event.process);
      events_.on_gone(event.process, death);
      return;
    }
  }
}

}  // namespace mayfly::instances
