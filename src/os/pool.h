// A few threads for what blocks: fsync, hashing, large writes. Work goes in from the loop and its
// result comes back as an event on the loop's thread. Bounded: a full pool refuses, and says so.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "os/loop.h"

namespace mayfly::os {

class Pool {
 public:
  using Work = std::function<void()>;

  Pool(Loop& loop, int threads, std::size_t waiting_max = 4096);
  ~Pool();  // finishes what waits
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs work on a pool thread, then `done` on the loop's. False: too much waits already.
  [[nodiscard]] bool run(Work work, Work done);
  std::size_t waiting() const;

 private:
  void serve();

  Loop& loop_;
  const std::size_t waiting_max_;
  mutable std::mutex mutex_;
  std::condition_variable wakeup_;
  std::deque<std::pair<Work, Work>> waiting_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace mayfly::os
