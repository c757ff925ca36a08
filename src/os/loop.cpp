#include "os/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/assert.h"
#include "os/clock.h"

namespace mayfly::os {
namespace {

constexpr std::uint32_t kWakeup = ~0U;
static_assert(kReadable == EPOLLIN && kWritable == EPOLLOUT && kBroken == EPOLLERR && kHangup == EPOLLHUP && kPeerClosed == EPOLLRDHUP &&
    kEdge == EPOLLET);

std::uint64_t pack(int fd, std::uint32_t generation) {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}

}  // namespace

Result<Loop> Loop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail(os_error("epoll_create1"));
  TRY(Fd wakeup, make_eventfd());
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeup}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.get(), &event) != 0) return fail(os_error("epoll_ctl"));
  Loop loop(std::move(epoll), std::move(wakeup));
  loop.refresh_now();
  return loop;
}

Instant Loop::refresh_now() { return now_ = monotonic_now(); }

Result<void> Loop::watch(int fd, std::uint32_t events, Watcher& watcher) {
  ASSERT(fd >= 0, "watching no descriptor");
  const auto at = static_cast<std::size_t>(fd);
  if (slots_.size() <= at) slots_.resize(at + 64);
  Slot& slot = slots_[at];
  const int operation = slot.watcher ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (!slot.watcher) ++slot.generation;
  epoll_event event{.events = events & ~kFirst, .data = {.u64 = pack(fd, slot.generation)}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return fail(os_error("epoll_ctl"));
  slot.watcher = &watcher;
  const bool first = (events & kFirst) != 0;
  firsts_ += static_cast<int>(first) - static_cast<int>(std::exchange(slot.first, first));
  return {};
}

void Loop::unwatch(int fd) {
  const auto at = static_cast<std::size_t>(fd);
  if (fd < 0 || at >= slots_.size() || !slots_[at].watcher) return;
  slots_[at].watcher = nullptr;
  firsts_ -= static_cast<int>(std::exchange(slots_[at].first, false));
  ++slots_[at].generation;  // an event of this turn that still carries the old one is dropped
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Loop::TimerId Loop::at(Instant when, Task task) {
  const TimerId id{when, ++timers_made_};
  timers_.emplace(id, std::move(task));
  return id;
}

void Loop::post(Task task) {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->tasks.push_back(std::move(task));
  }
  ring_doorbell(wakeup_.get());
}

void Loop::stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopped = true;
  }
  ring_doorbell(wakeup_.get());
}

void Loop::run_posted() {
  clear_doorbell(wakeup_.get());
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(shared_->mutex);
    tasks.swap(shared_->tasks);
  }
  for (Task& task : tasks) task();
}

void Loop::run_timers() {
  // Only those due when we came: a timer that sets another for now does not starve the loop.
  for (const std::uint64_t made = timers_made_; !timers_.empty();) {
    const auto first = timers_.begin();
    if (first->first.at > now_ || first->first.number > made) break;
    Task task = std::move(first->second);
    timers_.erase(first);
    task();
  }
}

// The handlers of this turn: in two rounds where some come first.
void Loop::tell(std::span<epoll_event> events, bool first) {
  for (epoll_event& event : events) {
    if (event.data.u64 == kWakeup || event.events == 0) continue;
    const Slot& slot = slots_[static_cast<std::uint32_t>(event.data.u64)];
    if (!slot.watcher || slot.generation != event.data.u64 >> 32 || (first && !slot.first)) continue;
    const std::uint32_t what = event.events;
    event.events = 0;
    slot.watcher->on_events(what);
  }
}

bool Loop::turn(Duration wait_max) {
  for (const Task& hook : hooks_) hook();
  Duration wait = wait_max;
  if (!timers_.empty()) wait = std::min(wait, std::max(Duration{}, timers_.begin()->first.at - monotonic_now()));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (wait - seconds).count()};
  std::array<epoll_event, 256> events;
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  ASSERT(count >= 0 || errno == EINTR, "epoll_pwait2 failed");
  refresh_now();
  for (const Task& opener : openers_) opener();
  const std::span ready(events.data(), static_cast<std::size_t>(std::max(count, 0)));
  if (firsts_ > 0 && count > 1) tell(ready, true);
  tell(ready, false);
  if (std::ranges::any_of(ready, [](const epoll_event& event) { return event.data.u64 == kWakeup; })) run_posted();
  run_timers();
  const std::lock_guard lock(shared_->mutex);
  return !shared_->stopped;
}

void Loop::run() {
  while (turn(std::chrono::hours(1))) {}
}

}  // namespace mayfly::os
