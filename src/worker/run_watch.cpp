#include "worker/run_watch.h"

#include <signal.h>

#include <algorithm>
#include <span>

#include "base/assert.h"
#include "domain/link.h"

namespace mayfly::worker {
namespace {

static_assert(std::atomic<RunWatch*>::is_always_lock_free && std::atomic<std::size_t>::is_always_lock_free);
std::atomic<RunWatch*> watching{nullptr};  // what the handler finds

void on_cancel(int, siginfo_t* info, void*) {
  RunWatch* watch = watching.load(std::memory_order_acquire);
  if (watch && info->si_code == SI_QUEUE) watch->cancelled(reinterpret_cast<std::uint64_t>(info->si_value.sival_ptr));
}

void mask(int how) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, domain::kCancelSignal);
  ::pthread_sigmask(how, &signals, nullptr);
}

}  // namespace

void hold_cancel_signal() { mask(SIG_BLOCK); }

RunWatch::RunWatch(Model& model) : model_(model) {
  watching.store(this, std::memory_order_release);
  struct sigaction action {};
  action.sa_sigaction = on_cancel;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  const bool installed = ::sigaction(domain::kCancelSignal, &action, nullptr) == 0;
  ASSERT(installed, "the cancel signal can't be caught");
  mask(SIG_UNBLOCK);
}

RunWatch::~RunWatch() {
  hold_cancel_signal();
  watching.store(nullptr, std::memory_order_release);
}

void RunWatch::add(std::uint64_t ticket) {
  if (count_ < kTicketsMax) tickets_[count_] = ticket;
  ++count_;
}

bool RunWatch::end() {
  left_.store(0, std::memory_order_release);
  count_ = 0;
  const bool stopped = stopped_.exchange(false);
  if (stopped) model_.go_on();
  return stopped;
}

void RunWatch::cancelled(std::uint64_t ticket) {
  const std::size_t left = left_.load(std::memory_order_acquire);
  if (left == 0) return;
  const auto running = std::span(tickets_).first(count_);
  const auto at = std::ranges::find(running, ticket);
  if (at == running.end()) return;
  *at = 0;  // no call has it
  left_.store(left - 1, std::memory_order_release);
  if (left > 1) return;
  stopped_.store(true, std::memory_order_release);
  model_.stop();
}

}  // namespace mayfly::worker
