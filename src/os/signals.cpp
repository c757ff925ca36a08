#include "os/signals.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace mayfly::os {

namespace {

sigset_t end_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

Result<Fd> catch_end_signals() {
  const sigset_t set = end_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail(os_error("signalfd"));
  return fd;
}

Result<HeldEndSignals> HeldEndSignals::hold() {
  TRY(Fd fd, catch_end_signals());
  return HeldEndSignals(std::move(fd));
}

HeldEndSignals::~HeldEndSignals() {
  if (!fd_) return;  // moved from
  const sigset_t set = end_signals();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool HeldEndSignals::came() const { return take_signal(fd_); }

Result<void> end_with_parent() {
  const pid_t parent = ::getppid();
  if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return fail(os_error("PR_SET_PDEATHSIG"));
  if (parent == 1 || ::getppid() != parent) ::raise(SIGTERM);  // it was gone before
  return {};
}

bool take_signal(const Fd& signals) {
  signalfd_siginfo info{};
  return ::read(signals.get(), &info, sizeof info) == sizeof info;
}

}  // namespace mayfly::os
