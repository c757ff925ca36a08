#include "os/pool.h"

#include "base/assert.h"

namespace mayfly::os {

Pool::Pool(Loop& loop, int threads, std::size_t waiting_max) : loop_(loop), waiting_max_(waiting_max) {
  ASSERT(threads >= 1, "a pool has a thread");
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wakeup_.notify_all();
}

bool Pool::run(Work work, Work done) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= waiting_max_) return false;
    waiting_.emplace_back(std::move(work), std::move(done));
  }
  wakeup_.notify_one();
  return true;
}

std::size_t Pool::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

void Pool::serve() {
  for (;;) {
    std::unique_lock lock(mutex_);
    wakeup_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto [work, done] = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
    if (done) loop_.post(std::move(done));
  }
}

}  // namespace mayfly::os
