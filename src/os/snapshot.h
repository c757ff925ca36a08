// A value that one thread replaces while others read it: readers get a shared_ptr to what was there, and
// keep it for as long as they look. For what changes seldom and is read more often.
// (Not std::atomic<std::shared_ptr>: load() of GCC 12 races with a store, by the thread sanitizer.)
#pragma once
#include <memory>
#include <mutex>
#include <utility>

namespace mayfly::os {

template <class T>
class Snapshot {
 public:
  explicit Snapshot(T value) : value_(std::make_shared<const T>(std::move(value))) {}

  std::shared_ptr<const T> get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  // Replaces it by a copy that `change` has changed; changes of several threads do not get lost.
  template <class Change>
  void change(Change change) {
    const std::lock_guard lock(mutex_);
    auto copy = std::make_shared<T>(*value_);
    change(*copy);
    value_ = std::move(copy);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace mayfly::os
