// The way of a request between the protocols and the fleet: resolve, limit, queue, give to an instance
// that has credit, answer, record. A state machine on a Turn: no thread, no clock, no I/O but through
// the Fleet.
//
// Promises: each invoke() gets exactly one reply through its sink unless it was cancelled; nobody waits past its deadline (of code: past
// last_words more); a queue has at most queue_max waiting and leaves in order of arrival; an instance
// that dies fails only what it held; one that holds a call past its deadline and stays silent is killed.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "base/turn.h"
#include "domain/usage.h"
#include "instances/fleet.h"
#include "serve/invocation.h"
#include "serve/load.h"
#include "serve/routes.h"

namespace mayfly::serve {

// The queue of one version and what is known of its work.
struct Lane {
  VersionId version;
  instances::Group* group = nullptr;
  std::uint32_t first = 0, last = 0;       // waiting calls, as a list through Slot::next; 0: none
  int waiting = 0, in_flight = 0;
  Load load;
  bool demanded = false;                   // in this turn, already
};

class DispatcherEvents {
 public:
  // A call waits and nobody has room for it: more instances may be needed. At most once a turn and lane.
  virtual void on_demand(Lane& lane) = 0;
  virtual void on_record(const domain::UsageRecord& record, const TraceId& trace, const Error* error) = 0;
  // The first call of a version since the node started: how are its processes started?
  virtual instances::Group& group_of(const Target& target) = 0;
  // Of a version whose calls are recorded, one that was taken: before it goes on its way.
  virtual void on_recorded_call(const Target&, const Invocation&) {}

 protected:
  ~DispatcherEvents() = default;
};

class Dispatcher final : public Invoker, public instances::FleetUser {
 public:
  struct Limits {
    std::size_t in_flight_max = 100'000;   // calls of all functions, waiting or running
    Duration silence_max = std::chrono::seconds(1);  // after a deadline, before the instance is killed
    Duration last_words = std::chrono::milliseconds(100);  // after it, for the host of code to say itself what its program was at
    std::uint64_t untaken_max = 1ULL << 30;  // bytes of replies in parts that callers have not taken, of all calls
  };

  Dispatcher(const Turn& turn, instances::Fleet& fleet, Routes& routes, DispatcherEvents& events, std::uint64_t seed, Limits limits);
  Dispatcher(const Turn& turn, instances::Fleet& fleet, Routes& routes, DispatcherEvents& events, std::uint64_t seed)
      : Dispatcher(turn, fleet, routes, events, seed, Limits()) {}

  // Invoker
  Ticket invoke(Invocation&& call, ReplySink& sink) override;
  void cancel(Ticket ticket) override;
  void sent(Ticket ticket, Instant when, std::uint64_t bytes) override;
  void taken(Ticket ticket, std::uint64_t bytes) override;
  int http_version(std::string_view function, std::string_view qualifier) override;

  // FleetUser
  void on_instance_ready(instances::Process& process) override;
  void on_reply(instances::Process& process, instances::Reply&& reply) override;
  void on_part(instances::Process& process, instances::Reply&& reply) override;
  void on_instance_gone(instances::Process& process, const instances::Death& death) override;
  void on_start_failed(instances::Group& group, const Error& error, std::string_view log) override;

  // Deadlines. Returns when to be called next, at the latest.
  Instant tick();
  // After the events of a turn: wakes the instances that were given work.
  void flush();

  Lane* find_lane(VersionId version);
  void for_each_lane(const std::function<void(Lane&)>& visit);
  void forget(VersionId version);          // fails what waits there; what runs finishes
  std::size_t in_flight() const { return live_; }
  Duration oldest_wait(const Lane& lane) const { return lane.first ? turn_.now - slots_[lane.first].call.arrived : Duration{}; }

 private:
  enum class Step : std::uint8_t { free, waiting, running, orphaned, replied };
  struct Slot {
    Step step = Step::free;
    std::uint32_t generation = 1;
    std::uint32_t next = 0, before = 0;    // in the lane's list, or the free list (next)
    Lane* lane = nullptr;
    ReplySink* sink = nullptr;
    instances::Process* process = nullptr;
    Invocation call;
    Instant deadline, given;
    bool begun = false;                    // its reply comes in parts
    bool reminded = false;                 // its instance, that its time is over
    std::uint64_t untaken = 0, owed = 0;   // bytes of it: with the caller's protocol; taken, and the instance was not told
    domain::UsageRecord record;
  };

  Lane& lane_of(const Target& target);
  int calls_of(std::string_view function) const;
  std::uint32_t take_slot();
  void release(std::uint32_t index);
  Slot* find(Ticket ticket);
  Ticket ticket_of(std::uint32_t index) const { return {static_cast<std::uint64_t>(slots_[index].generation) << 32 | index}; }
  void enqueue(Lane& lane, std::uint32_t index);
  void unlink(Lane& lane, std::uint32_t index);
  bool give(Lane& lane, std::uint32_t index);
  void serve_waiting(Lane& lane);
  void demand(Lane& lane);
  void answer(std::uint32_t index, InvocationReply&& reply);
  void tell_taken(std::uint32_t index);
  void tell_untold();
  void end_parts(Slot& slot);
  void refuse_parts(std::uint32_t index, Error error, bool lied);
  void fail_slot(std::uint32_t index, Error error);
  void close_record(Slot& slot, const Error* error);
  Ticket refuse(const Invocation& call, const Target* target, Error error, ReplySink& sink);
  void expire(std::uint32_t index);
  static bool runs_on(const Slot& slot);   // though its caller has left
  Instant remind(Slot& slot);
  Instant due(const Slot& slot) const;     // when its caller is told that its time is over
  void note_timing(Slot& slot, const instances::Process& process, const domain::ReplyHead& head, Phases& phases);

  const Turn& turn_;
  instances::Fleet& fleet_;
  Routes& routes_;
  DispatcherEvents& events_;
  Random random_;
  const Limits limits_;
  std::deque<Slot> slots_;                 // 0 is never used: 0 means none
  std::uint32_t free_ = 0;
  std::size_t live_ = 0;
  std::uint64_t untaken_ = 0;
  std::vector<Ticket> untold_;             // of which what was taken found no room in the ring
  Instant next_deadline_ = Instant::never();
  std::unordered_map<VersionId, std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> demanded_;
  std::size_t forgotten_ = 0;              // lanes of deleted versions, until nothing runs there
};

}  // namespace mayfly::serve
