// Stops a run that nobody waits for any more. While the engine computes, the serve loop reads no frame; so with each
// cancel frame the node sends a signal that carries the ticket (domain::kCancelSignal). Its handler works on the serve
// loop's thread, amid the run; once each ticket of the run was cancelled it has the engine stop between two operators.
//
// Promises: nothing is stopped but the run between begin() and end(); no thread, no system call a run, no look at what
// another process wrote. Not promised: a cancel that comes between the last look into the ring and begin() is lost, and one
// operator that computes for long is not left; then the node's own limits end it. One a process: a handler finds no other.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "worker/model.h"

namespace mayfly::worker {

// Nothing hears the signal from here on, neither this thread nor those it starts; before there are any.
void hold_cancel_signal();

class RunWatch {
 public:
  static constexpr std::size_t kTicketsMax = 64;

  explicit RunWatch(Model& model);   // this thread hears the signal from here on
  ~RunWatch();
  RunWatch(const RunWatch&) = delete;
  RunWatch& operator=(const RunWatch&) = delete;

  void add(std::uint64_t ticket);    // of the run that comes; one with more than kTicketsMax is not watched
  void begin() { left_.store(count_ <= kTicketsMax ? count_ : 0, std::memory_order_release); }
  [[nodiscard]] bool end();          // true: the engine was told to stop

  void cancelled(std::uint64_t ticket);  // of the handler

 private:
  Model& model_;
  std::array<std::uint64_t, kTicketsMax> tickets_{};
  std::size_t count_ = 0;
  std::atomic<std::size_t> left_{0};  // not cancelled; 0: nothing runs
  std::atomic<bool> stopped_{false};
};

}  // namespace mayfly::worker
