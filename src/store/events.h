// Events: calls that nobody waits for, on disk until they are done. Durable when add() returns, given out again after a crash: each is
// run at least once. It blocks: one background line runs it, one call at a time (a second thread inside stops the process).
// When and how often one is tried is jobs/event_queue.h's to say.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/detail/sqlite.h"

namespace mayfly::store {

struct Event {
  std::uint64_t id = 0;               // in the order of their coming; never reused
  std::string function, qualifier;    // as in serve::Invocation
  std::string body;                   // with `context_size` bytes of the caller's words at its end (domain/frame.h)
  std::uint64_t body_size = 0;        // also where the body was not read
  std::uint64_t context_size = 0;
  std::uint64_t request_id_high = 0, request_id_low = 0;
  WallTime queued, due;
  int attempts = 0;                   // that failed
  int waits = 0;                      // times that there was no room for it
  int hops = 0;                       // events before it, of which it is the outcome
};

// What is written in one transaction.
struct EventChanges {
  std::vector<Event> added;           // whose ids apply() gives
  std::vector<Event> changed;         // due, attempts and waits of these ids
  std::vector<std::uint64_t> done;
};

class Events {
 public:
  [[nodiscard]] static Result<Events> open(const std::string& path);

  [[nodiscard]] Result<std::vector<Event>> load();                 // by id, without their bodies
  [[nodiscard]] Result<void> apply(EventChanges& changes);
  [[nodiscard]] Result<std::string> body(std::uint64_t id);

 private:
  explicit Events(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  std::unique_ptr<Database> database_;
};

}  // namespace mayfly::store
