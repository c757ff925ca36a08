// The queue of events: calls that nobody waits for. Each is run until it has an outcome, as AWS Lambda does with its Event invocations
// (docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html): what the function itself fails at is tried twice more, after
// one minute and after two; what finds no room is tried again after a second, then at ever longer waits of up to five minutes; both until
// the event is six hours old. A function may set its own (domain/settings.h), and name another that gets each outcome.
//
// Promises: durable when add() says so; run at least once, also after a crash; an outcome and the event that tells it change hands in
// one transaction. Not promised: order, or that it runs only once.
// The loop drives it: plain state, with no thread and no clock; disk work goes to a background line and comes back.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/turn.h"
#include "base/units.h"
#include "domain/settings.h"
#include "serve/invocation.h"
#include "store/events.h"

namespace mayfly::jobs {

struct EventOptions {
  std::size_t waiting_max = 100'000;                      // events; more are refused
  Bytes bytes_max{4ULL << 30};                            // of their bodies, on disk
  Bytes held_max{64ULL << 20};                            // … of which so many are kept in memory, too
  int running_max = 64, running_of_one_max = 16;          // at a time: of all functions, of one
  Duration retry_wait = std::chrono::minutes(1);          // after a failure; after the next one twice as long
  Duration room_wait = std::chrono::seconds(1), room_wait_max = std::chrono::minutes(5);
};

struct EventCounts {                                      // since this node started
  std::uint64_t accepted = 0, succeeded = 0, failed = 0, retried = 0;
};

class EventQueue final : public serve::ReplySink {
 public:
  using Background = std::function<bool(std::function<void()> work, std::function<void()> done)>;  // a line of its own
  using Policy = std::function<domain::EventPolicy(std::string_view function, std::string_view qualifier)>;
  using Done = std::function<void(Result<void>)>;

  EventQueue(const Turn& turn, store::Events& events, Background background, serve::Invoker& invoker, Policy policy, EventOptions options);

  [[nodiscard]] Result<void> open();                      // what a former node left is due
  // `done` once it is on disk. Refused at once: where too much waits, and what is too large.
  void add(store::Event event, Done done);
  // After the events of a turn: runs what is due, writes what has changed. Returns when to be called next, at the latest.
  Instant end_turn();

  std::size_t waiting() const { return items_.size(); }
  const EventCounts& counts() const { return counts_; }

  void on_reply(Ticket ticket, serve::InvocationReply&& reply) override;

 private:
  struct Item {
    store::Event event;                                   // its body may be on disk alone
    bool held = false;                                    // … or here
  };
  struct Lane {                                           // of one function
    std::set<std::pair<std::chrono::microseconds, std::uint64_t>> due;
    int running = 0;
  };
  struct Outcome;

  void keep(store::Event event);
  void wake() { next_ = {}; }
  bool start_next(Lane& lane);
  void read_body(Item& item);
  void run(Item& item);
  void settle(Item& item, const Outcome& outcome);
  void again(Item& item, Duration wait);
  void finish(Item& item, const domain::EventPolicy& policy, const Outcome& outcome, std::string_view condition);
  void leave(Item& item);                                 // it runs no more
  void tell(const Item& item, const Outcome& outcome, std::string_view condition, const std::string& target);
  void write();
  void written(store::EventChanges& changes, std::vector<Done>& adders, Result<void> result);

  const Turn& turn_;
  store::Events& events_;
  const Background background_;
  serve::Invoker& invoker_;
  const Policy policy_;
  const EventOptions options_;
  std::unordered_map<std::uint64_t, Item> items_;
  std::map<std::string, Lane, std::less<>> lanes_;
  std::unordered_map<Ticket, std::uint64_t> running_;
  std::uint64_t starting_ = 0;                            // the event whose invoke() is on the stack
  store::EventChanges pending_;
  std::vector<Done> adders_;                              // of pending_.added, in their order; null: nobody asks
  bool writing_ = false;
  Bytes bytes_, held_;
  EventCounts counts_;
  Instant write_after_{};                                // a disk that failed is tried again
  Instant next_{};                                        // when end_turn() has something to do
};

}  // namespace mayfly::jobs
