// The node's event loop: one thread, epoll, timers, and results coming back from the pool. It owns no
// state of the node; it calls handlers. Everything here runs on the loop's thread but post() and stop().
//
// Promises: a handler that was unwatched is not called again, not even for an event of the same turn;
// timers fire in order of their time, never early; before the loop sleeps, every before_sleep hook has
// run after the last handler: that is where bursts are flushed.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

struct epoll_event;

namespace mayfly::os {

// epoll's, so that nobody else needs its header.
constexpr std::uint32_t kReadable = 0x001, kWritable = 0x004, kBroken = 0x008, kHangup = 0x010, kPeerClosed = 0x2000, kEdge = 1U << 31;
// Ours alone: of the descriptors that are ready in one turn, these have their handlers called before all others.
constexpr std::uint32_t kFirst = 1U << 27;

class Watcher {  // who is told that a descriptor is ready; `events` are epoll's
 public:
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

class Loop {
 public:
  struct TimerId {
    Instant at{};
    std::uint64_t number = 0;  // 0: none
    friend auto operator<=>(const TimerId&, const TimerId&) = default;
  };
  using Task = std::function<void()>;

  [[nodiscard]] static Result<Loop> create();
  Loop(Loop&&) = default;

  // One watcher a descriptor; watch again to change the events. Unwatch before the descriptor closes.
  [[nodiscard]] Result<void> watch(int fd, std::uint32_t events, Watcher& watcher);
  void unwatch(int fd);

  TimerId at(Instant when, Task task);
  TimerId after(Duration wait, Task task) { return at(now() + wait, std::move(task)); }
  void cancel(TimerId timer) { timers_.erase(timer); }

  // Runs every turn, after the handlers and before the loop may sleep.
  void before_sleep(Task task) { hooks_.push_back(std::move(task)); }
  // Runs every turn, once its time is known and before its handlers.
  void before_turn(Task task) { openers_.push_back(std::move(task)); }
  // From any thread: runs on the loop's thread, soon.
  void post(Task task);

  // Time as of this turn.
  Instant now() const { return now_; }
  Instant refresh_now();

  void run();                                       // until stop()
  bool turn(Duration wait_max);                     // one turn; false once stopped
  void stop();                                      // from any thread

 private:
  struct Shared {  // what other threads may touch
    std::mutex mutex;
    std::vector<Task> tasks;
    bool stopped = false;
  };
  struct Slot {
    Watcher* watcher = nullptr;
    std::uint32_t generation = 0;
    bool first = false;
  };

  Loop(Fd epoll, Fd wakeup) : epoll_(std::move(epoll)), wakeup_(std::move(wakeup)), shared_(std::make_unique<Shared>()) {}
  void run_posted();
  void tell(std::span<epoll_event> events, bool first);
  void run_timers();

  Fd epoll_;
  Fd wakeup_;
  std::unique_ptr<Shared> shared_;
  std::vector<Slot> slots_;                         // by descriptor
  std::map<TimerId, Task> timers_;
  std::uint64_t timers_made_ = 0;
  int firsts_ = 0;                                  // slots that are watched with kFirst
  std::vector<Task> hooks_, openers_;
  Instant now_{};
};

}  // namespace mayfly::os
