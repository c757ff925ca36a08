#include "serve/dispatcher.h"

#include <algorithm>

#include "base/assert.h"

namespace mayfly::serve {
namespace {

using instances::Death;
using instances::Group;
using instances::Origin;
using instances::Process;
using instances::Reply;

constexpr Duration kTellAgain = std::chrono::milliseconds(5);  // what found no room in a ring

std::uint64_t us(Duration d) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_us(d))); }
std::uint64_t body_bytes(const Invocation& call) { return call.body_memfd ? call.body_size : call.body.size(); }

Code code_of(std::uint8_t code) { return code >= 1 && code <= 12 ? static_cast<Code>(code) : Code::internal; }

}  // namespace

Dispatcher::Dispatcher(const Turn& turn, instances::Fleet& fleet, Routes& routes, DispatcherEvents& events, std::uint64_t seed,
                       Limits limits)
    : turn_(turn), fleet_(fleet), routes_(routes), events_(events), random_(seed), limits_(limits), slots_(1) {}

Lane* Dispatcher::find_lane(VersionId version) {
  const auto at = lanes_.find(version);
  return at == lanes_.end() ? nullptr : at->second.get();
}

void Dispatcher::for_each_lane(const std::function<void(Lane&)>& visit) {
  for (auto& [version, lane] : lanes_)
    if (lane->group) visit(*lane);
}

Lane& Dispatcher::lane_of(const Target& target) {
  std::unique_ptr<Lane>& lane = lanes_[target.version];
  if (!lane) {
    lane = std::make_unique<Lane>(Lane{.version = target.version, .group = &events_.group_of(target)});
  }
  return *lane;
}

int Dispatcher::calls_of(std::string_view function) const {
  const Route* route = routes_.find(function);
  if (!route) return 0;
  int calls = 0;
  for (const Target& target : route->targets)
    if (const auto lane = lanes_.find(target.version); lane != lanes_.end()) calls += lane->second->waiting + lane->second->in_flight;
  return calls;
}

std::uint32_t Dispatcher::take_slot() {
  ++live_;
  if (free_ == 0) {
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }
  const std::uint32_t index = free_;
  free_ = slots_[index].next;
  return index;
}

void Dispatcher::release(std::uint32_t index) {
  Slot& slot = slots_[index];
  slot.step = Step::free;
  ++slot.generation;
  slot.call.body.clear();
  slot.call.body_memfd.reset();
  if (slot.begun) end_parts(slot);
  slot.lane = nullptr;
  slot.sink = nullptr;
  slot.process = nullptr;
  slot.next = free_;
  free_ = index;
  --live_;
}

Dispatcher::Slot* Dispatcher::find(Ticket ticket) {
  const auto index = static_cast<std::uint32_t>(ticket.number);
  if (index == 0 || index >= slots_.size()) return nullptr;
  Slot& slot = slots_[index];
  return slot.step != Step::free && slot.generation == ticket.number >> 32 ? &slot : nullptr;
}

void Dispatcher::enqueue(Lane& lane, std::uint32_t index) {
  Slot& slot = slots_[index];
  slot.step = Step::waiting;
  slot.next = 0;
  slot.before = lane.last;
  (lane.last ? slots_[lane.last].next : lane.first) = index;
  lane.last = index;
  ++lane.waiting;
}

void Dispatcher::unlink(Lane& lane, std::uint32_t index) {
  Slot& slot = slots_[index];
  (slot.before ? slots_[slot.before].next : lane.first) = slot.next;
  (slot.next ? slots_[slot.next].before : lane.last) = slot.before;
  slot.next = slot.before = 0;
  --lane.waiting;
}

Ticket Dispatcher::refuse(const Invocation& call, const Target* target, Error error, ReplySink& sink) {
  const std::uint32_t index = take_slot();
  Slot& slot = slots_[index];
  slot.step = Step::replied;
  slot.record = {.request_id_high = call.request_id_high, .request_id_low = call.request_id_low,
                 .function = target ? target->function.number : 0, .version = target ? target->version.number : 0,
                 .arrived_us = turn_.wall.since_epoch.count(), .version_number = static_cast<std::uint32_t>(target ? target->number : 0),
                 .bytes_in = body_bytes(call), .format = static_cast<std::uint8_t>(call.format)};
  slot.call.arrived = call.arrived;
  slot.call.trace = call.trace;
  const Ticket ticket = ticket_of(index);
  close_record(slot, &error);
  sink.on_reply(ticket, {.error = std::move(error), .version = target ? target->number : 0});
  return ticket;
}

int Dispatcher::http_version(std::string_view function, std::string_view qualifier) {
  const Route* route = routes_.find(function);  // the way of every plain call: for a model it ends here
  if (!route || !route->any_http) return 0;
  const auto found = routes_.resolve(function, qualifier, random_);
  return found && (*found)->http ? (*found)->number : 0;
}

Ticket Dispatcher::invoke(Invocation&& call, ReplySink& sink) {
  const auto found = routes_.resolve(call.function, call.qualifier, random_);
  if (!found) return refuse(call, nullptr, found.error(), sink);
  const Target& target = **found;
  if (target.http != (call.format == domain::WireFormat::http))
    return refuse(call, &target, {Code::unimplemented, "function '" + std::string(call.function) + "' is a program that " +
                                  (target.http ? "serves HTTP: call it by any method at /functions/" + std::string(call.function) + "/…"
                                               : "takes no HTTP: call POST /functions/" + std::string(call.function))}, sink);
  const Bytes sent{body_bytes(call) - (target.http ? call.json_size : call.context_size)};
  if (sent > target.body_max)
    return refuse(call, &target, {Code::invalid_argument, "a body of " + to_text(sent) + "; function '" +
                                  std::string(call.function) + "' takes at most " + to_text(target.body_max) + " (input.bytes_max)"}, sink);
  if (target.calls_max && calls_of(call.function) >= *target.calls_max)
    return refuse(call, &target, {Code::exhausted, *target.calls_max == 0
        ? "function '" + std::string(call.function) + "' takes no calls: its concurrency is set to 0"
        : std::to_string(*target.calls_max) + " calls of function '" + std::string(call.function) +
              "' are under way, as many as its concurrency is set to: try again later"}, sink);
  Lane& lane = lane_of(target);
  if (lane.waiting >= target.queue_max)
    return refuse(call, &target, {Code::exhausted, std::to_string(lane.waiting) + " calls of function '" + std::string(call.function) +
                                  "' wait already, its limit is " + std::to_string(target.queue_max) +
                                  " (queue.max): try again later"}, sink);
  if (live_ >= limits_.in_flight_max)
    return refuse(call, &target, {Code::exhausted, std::to_string(live_) + " calls are under way, as many as this node takes: "
                                  "try again later"}, sink);

  if (target.recorded) [[unlikely]] events_.on_recorded_call(target, call);
  const std::uint32_t index = take_slot();
  Slot& slot = slots_[index];
  slot.lane = &lane;
  slot.sink = &sink;
  slot.record = {.request_id_high = call.request_id_high, .request_id_low = call.request_id_low,
                 .function = target.function.number, .version = target.version.number,
                 .arrived_us = turn_.wall.since_epoch.count(), .version_number = static_cast<std::uint32_t>(target.number),
                 .bytes_in = body_bytes(call), .format = static_cast<std::uint8_t>(call.format)};
  const Duration timeout = call.timeout > Duration{} ? std::min(call.timeout, target.timeout) : target.timeout;
  slot.call = std::move(call);
  slot.deadline = slot.call.arrived + timeout;
  next_deadline_ = std::min(next_deadline_, slot.deadline);
  lane.load.last_arrival = turn_.now;
  ++lane.load.arrivals;
  const Ticket ticket = ticket_of(index);
  if (lane.waiting > 0 || !give(lane, index)) {
    enqueue(lane, index);
    demand(lane);
  }
  lane.load.level(turn_.now, lane.waiting + lane.in_flight);
  return ticket;
}

bool Dispatcher::give(Lane& lane, std::uint32_t index) {
  Slot& slot = slots_[index];
  const instances::Request request{.ticket = ticket_of(index), .deadline = slot.deadline, .format = slot.call.format,
                                   .json_size = slot.call.json_size, .body = slot.call.body, .body_memfd = slot.call.body_memfd.get(),
                                   .body_size = body_bytes(slot.call), .context_size = slot.call.context_size,
                                   .request_id_high = slot.call.request_id_high, .request_id_low = slot.call.request_id_low,
                                   .wants_log = slot.call.wants_log, .reply_form = slot.call.reply_form};
  Process* process = fleet_.pick(*lane.group);
  while (process && !fleet_.send(*process, request)) process = fleet_.pick(*lane.group);  // one whose ring is full is not picked again
  if (!process) return false;
  slot.step = Step::running;
  slot.process = process;
  slot.given = turn_.now;
  slot.reminded = false;
  if (process->ready_at > slot.call.arrived) {  // it waited for this start, or for a part of it
    slot.record.cold = process->origin == Origin::fork ? 1 : 2;
    slot.record.init_us = us(process->ready_at - std::max(process->asked, slot.call.arrived));
  }
  slot.call.body_memfd.reset();
  ++lane.in_flight;
  return true;
}

void Dispatcher::serve_waiting(Lane& lane) {
  while (lane.first) {
    const std::uint32_t index = lane.first;
    unlink(lane, index);
    if (give(lane, index)) continue;
    // Back to the head: order of arrival.
    Slot& slot = slots_[index];
    slot.next = lane.first;
    (lane.first ? slots_[lane.first].before : lane.last) = index;
    lane.first = index;
    ++lane.waiting;
    return;
  }
}

void Dispatcher::demand(Lane& lane) {
  if (lane.demanded) return;
  lane.demanded = true;
  demanded_.push_back(&lane);
}

void Dispatcher::flush() {
  // Once a turn, after all arrivals: the scaler sees the whole burst and not its first call.
  for (std::size_t i = 0; i < demanded_.size(); ++i) {
    demanded_[i]->demanded = false;
    if (demanded_[i]->group) events_.on_demand(*demanded_[i]);
  }
  demanded_.clear();
  if (!untold_.empty()) tell_untold();
  fleet_.flush();
}

void Dispatcher::close_record(Slot& slot, const Error* error) {
  slot.record.outcome = error ? static_cast<std::uint8_t>(error->code) : 0;
  slot.record.total_us = us(turn_.now - slot.call.arrived);
  if (error) events_.on_record(slot.record, slot.call.trace, error);  // failures are recorded when they happen: their message is at hand
}

void Dispatcher::answer(std::uint32_t index, InvocationReply&& reply) {
  Slot& slot = slots_[index];
  ReplySink* sink = slot.sink;
  slot.step = Step::replied;
  slot.process = nullptr;
  if (!reply.ok) close_record(slot, &reply.error);
  if (slot.begun) sink->on_end(ticket_of(index), std::move(reply));
  else sink->on_reply(ticket_of(index), std::move(reply));
}

void Dispatcher::fail_slot(std::uint32_t index, Error error) {
  answer(index, {.error = std::move(error), .version = static_cast<int>(slots_[index].record.version_number)});
}

void Dispatcher::sent(Ticket ticket, Instant when, std::uint64_t bytes) {
  Slot* slot = find(ticket);
  if (!slot || slot->step != Step::replied) return;
  if (slot->record.outcome == 0) {
    slot->record.bytes_out = bytes;
    slot->record.total_us = us(when - slot->call.arrived);
    events_.on_record(slot->record, slot->call.trace, nullptr);
  }
  release(static_cast<std::uint32_t>(ticket.number));
}

void Dispatcher::cancel(Ticket ticket) {
  Slot* slot = find(ticket);
  if (!slot) return;
  const auto index = static_cast<std::uint32_t>(ticket.number);
  static const Error kLeft{Code::cancelled, "the client left before its answer"};
  switch (slot->step) {
    case Step::waiting:
      unlink(*slot->lane, index);
      close_record(*slot, &kLeft);
      slot->lane->load.level(turn_.now, slot->lane->waiting + slot->lane->in_flight);
      release(index);
      return;
    case Step::running:  // the instance still holds it, and is told to stop if it can: the slot stays until its reply
      close_record(*slot, &kLeft);
      slot->step = Step::orphaned;
      slot->sink = nullptr;
      if (!runs_on(*slot)) fleet_.cancel(*slot->process, ticket);
      return;
    case Step::replied:
      sent(ticket, turn_.now, 0);
      return;
    case Step::orphaned:
    case Step::free:
      return;
  }
}

// A handler of events can't be interrupted but by the end of its process, and a caller who leaves is no reason for that: it runs to its
// end, or its deadline, as on Lambda. One whose answer goes out in parts may be waiting for its reader (and see on_part()).
bool Dispatcher::runs_on(const Slot& slot) {
  return domain::is_code(slot.process->group->plan.instance.role) && slot.call.format == domain::WireFormat::plain_json &&
         !slot.begun;
}

void Dispatcher::note_timing(Slot& slot, const Process& process, const domain::ReplyHead& head, Phases& phases) {
  // The instance's word, within what this side saw.
  const Instant begun = std::clamp(Instant{Duration(static_cast<Duration::rep>(head.begun_ns))}, slot.given, turn_.now);
  const auto bounded = [&](std::uint64_t ns) { return std::min(ns, static_cast<std::uint64_t>((turn_.now - slot.given).count())); };
  domain::UsageRecord& record = slot.record;
  record.queue_us = us(begun - slot.call.arrived);
  record.decode_ns = bounded(head.decode_ns);
  record.run_ns = bounded(head.run_ns);
  record.encode_ns = bounded(head.encode_ns);
  record.cpu_ns = head.cpu_ns;
  record.rows = head.rows;
  record.batch_rows = std::max(head.rows, head.batch_rows);
  record.memory_bytes = process.memory.count;
  record.process = static_cast<std::uint32_t>(process.id.number);
  // A call pays for its share of the batch, not for the company that it had.
  const double share = record.batch_rows ? static_cast<double>(record.rows) / record.batch_rows : 1;
  const auto run_ns = static_cast<std::uint64_t>(static_cast<double>(record.run_ns) * share);
  record.billed_us = (record.decode_ns + record.encode_ns + run_ns + 999) / 1000;
  slot.lane->load.service.add(turn_.now - begun);
  slot.lane->load.service_row.add(std::chrono::microseconds(record.billed_us));
  phases = {.queue = begun - slot.call.arrived, .init = std::chrono::microseconds(record.init_us), .decode = Duration(record.decode_ns),
            .run = Duration(record.run_ns), .encode = Duration(record.encode_ns), .cold = record.cold};
}

void Dispatcher::on_reply(Process& process, Reply&& reply) {
  Slot* slot = find({reply.head.ticket});
  // Another's ticket, or one that it has answered: not its business, and nobody's loss.
  if (!slot || slot->process != &process || (slot->step != Step::running && slot->step != Step::orphaned)) return;
  const auto index = static_cast<std::uint32_t>(reply.head.ticket);
  Lane& lane = *slot->lane;
  if (slot->step == Step::running && slot->begun != (reply.head.part == domain::ReplyPart::end)) {
    // Its credit is back, so nothing more of this call may come of it.
    reply.head.code = static_cast<std::uint8_t>(Code::internal);
    reply.head.function_error = 0;
    reply.body = "the instance answered in parts that don't fit together";
  }
  --lane.in_flight;
  lane.load.last_end = turn_.now;
  InvocationReply answered{.version = static_cast<int>(slot->record.version_number)};
  note_timing(*slot, process, reply.head, answered.phases);
  answered.memory = process.memory;
  if (!reply.head.log_shared) answered.log = std::move(reply.log);
  if (slot->step == Step::orphaned) {
    process.cpu_told -= Duration(static_cast<Duration::rep>(reply.head.cpu_ns));  // its record is closed: the process's overhead
    release(index);
  } else if (reply.head.code != 0) {
    constexpr std::size_t kMessageSize = 4096;
    answered.error = {code_of(reply.head.code), std::string(reply.body.substr(0, kMessageSize))};
    answered.function_error = reply.head.function_error != 0 && !reply.body_memfd;
    if (answered.function_error) answered.body = reply.body;
    answer(index, std::move(answered));
  } else {
    answered.ok = true;
    answered.body = reply.body;
    answered.body_memfd = std::move(reply.body_memfd);
    answered.body_size = reply.head.body_size;
    answered.json_size = reply.head.json_size;
    answer(index, std::move(answered));
  }
  if (lane.first && lane.group) serve_waiting(lane);
  lane.load.level(turn_.now, lane.waiting + lane.in_flight);
}

namespace {

// Of a model's memory less may be asked for at a time. Code that took too much has ended like any program that ends, only with its host.
Error ended(domain::Role role, const Death& death) {
  if (death.out_of_memory && domain::is_code(role))
    return {Code::unavailable, "Runtime.ExitError: signal 9 (Killed): it " + death.reason};
  return {death.out_of_memory ? Code::exhausted : Code::unavailable,
          "the instance that ran this call ended: " + death.reason + "; other calls are not affected"};
}

}  // namespace

void Dispatcher::on_instance_ready(Process& process) {
  if (Lane* lane = find_lane(process.group->plan.version); lane && lane->group) serve_waiting(*lane);
}

void Dispatcher::on_instance_gone(Process& process, const Death& death) {
  Lane* lane = find_lane(process.group->plan.version);
  if (!lane) return;
  for (std::uint32_t i = 1; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.process != &process) continue;
    --lane->in_flight;
    if (slot.step == Step::orphaned) {
      release(i);
    } else {
      answer(i, {.error = ended(process.group->plan.instance.role, death), .died = true,
                 .version = static_cast<int>(slot.record.version_number)});
    }
  }
  lane->load.level(turn_.now, lane->waiting + lane->in_flight);
  if (lane->waiting > 0) demand(*lane);
}

void Dispatcher::on_start_failed(Group& group, const Error& error, std::string_view log) {
  Lane* lane = find_lane(group.plan.version);
  if (!lane) return;
  while (lane->first) {
    const std::uint32_t index = lane->first;
    unlink(*lane, index);
    const Code code = error.code == Code::exhausted ? Code::exhausted : Code::unavailable;
    answer(index, {.error = {code, "no instance of function '" + group.plan.function_name + "' could start: " + error.message},
                   .not_started = true, .version = group.plan.number, .log = std::string(log)});
  }
}

Instant Dispatcher::due(const Slot& slot) const {
  const bool of_code = slot.step == Step::running && slot.process && domain::is_code(slot.process->group->plan.instance.role);
  return of_code ? slot.deadline + limits_.last_words : slot.deadline;
}

// The host of code whose program has its calls from the node sleeps until then. When that is, or never again.
Instant Dispatcher::remind(Slot& slot) {
  if (slot.reminded || !domain::is_code(slot.process->group->plan.instance.role)) return Instant::never();
  if (slot.deadline > turn_.now) return slot.deadline;
  slot.reminded = true;
  fleet_.remind(*slot.process);
  return Instant::never();
}

void Dispatcher::expire(std::uint32_t index) {
  Slot& slot = slots_[index];
  Lane& lane = *slot.lane;
  const auto limit = std::to_string(to_us(slot.deadline - slot.call.arrived) / 1000) + " ms";
  if (slot.step == Step::waiting) {
    unlink(lane, index);
    fail_slot(index, {Code::deadline_exceeded, "no instance took the call within its time limit of " + limit +
                      " (resources.timeout, or the caller's own): allow more time, or more instances (scaling.max)"});
    lane.load.level(turn_.now, lane.waiting + lane.in_flight);
    return;
  }
  Process* process = slot.process;
  const Ticket ticket = ticket_of(index);
  ReplySink* sink = slot.sink;
  const Error error{Code::deadline_exceeded, "no answer within the time limit of " + limit +
                    " (resources.timeout, or the caller's own): send less at a time, or allow more"};
  close_record(slot, &error);
  slot.step = Step::orphaned;
  slot.sink = nullptr;
  fleet_.cancel(*process, ticket);
  InvocationReply reply{.error = error, .version = static_cast<int>(slot.record.version_number)};
  if (slot.begun) sink->on_end(ticket, std::move(reply));
  else sink->on_reply(ticket, std::move(reply));
}

Instant Dispatcher::tick() {
  if (forgotten_ > 0) forgotten_ -= std::erase_if(lanes_, [](const auto& entry) {
    const Lane& lane = *entry.second;
    return !lane.group && !lane.demanded && lane.waiting == 0 && lane.in_flight == 0;
  });
  const Instant again = untold_.empty() ? Instant::never() : turn_.now + kTellAgain;
  if (turn_.now < next_deadline_) return std::min(next_deadline_, again);
  Instant next = Instant::never();
  std::vector<Process*> silent;
  for (std::uint32_t i = 1; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.step == Step::running || slot.step == Step::orphaned) next = std::min(next, remind(slot));
    if ((slot.step == Step::waiting || slot.step == Step::running) && due(slot) <= turn_.now) expire(i);
    if (slot.step == Step::waiting || slot.step == Step::running) next = std::min(next, due(slot));
    if (slot.step != Step::orphaned) continue;
    // Silent since the deadline: it hangs. Whatever it answered meanwhile proves that it does not.
    const Instant until = std::max(slot.deadline, slot.process->last_used) + limits_.silence_max;
    if (until <= turn_.now) silent.push_back(slot.process);
    else next = std::min(next, until);
  }
  std::ranges::sort(silent, {}, &Process::id);  // and not by address: the same run ends the same
  const auto repeated = std::ranges::unique(silent);
  silent.erase(repeated.begin(), repeated.end());
  for (Process* process : silent)
    fleet_.kill(*process, "said nothing for " + to_text(limits_.silence_max) + " after the deadline of a call and was killed");
  if (!silent.empty()) next = std::min(next, turn_.now + limits_.silence_max);
  next_deadline_ = next;
  return std::min(next, again);
}

void Dispatcher::forget(VersionId version) {
  Lane* lane = find_lane(version);
  if (!lane || !lane->group) return;
  ++forgotten_;
  while (lane->first) {
    const std::uint32_t index = lane->first;
    unlink(*lane, index);
    fail_slot(index, {Code::not_found, "this version was deleted while the call waited: call another"});
  }
  lane->group = nullptr;  // the lane leaves at a tick once nothing runs there
}

}  // namespace mayfly::serve
