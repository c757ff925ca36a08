#include "worker/child_work.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "base/units.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/fd.h"
#include "os/process.h"

namespace mayfly::worker {
namespace {

constexpr int kLookMs = 100;  // how often `stops` is asked at least
constexpr std::uint64_t kResultMax = 1ULL << 31;

// The first byte of a result is 0, or the code of an error whose message follows.
std::string packed(const Result<std::string>& result) {
  return result ? '\0' + *result : static_cast<char>(result.error().code) + result.error().message;
}

[[noreturn]] void run_child(const std::function<Result<std::string>()>& work, int into, int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(1);
  sigset_t none;  // the parent may have them blocked, to see them at its own time
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // Where memory runs out, it is this process that ends, and not one of the user's.
  if (const os::Fd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)); score) {
    if (::write(score.get(), "1000", 4) != 4) ::_exit(1);
  }
  std::string result;
  try {
    result = packed(work());
  } catch (const std::exception& error) {
    result = packed(fail(Code::exhausted, std::string("out of memory, or a library failed: ") + error.what()));
  }
  const auto written = os::write_all(into, std::as_bytes(std::span(result)), "a result");
  ::_exit(written ? 0 : 1);
}

Result<std::string> result_of(const os::Fd& from, int status) {
  struct stat file {};
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || ::fstat(from.get(), &file) != 0 || file.st_size < 1)
    return fail(Code::internal, "its process " + os::describe_exit(status) +
                                    (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "; was it out of memory?" : ""));
  const auto size = static_cast<std::uint64_t>(file.st_size);
  if (size > kResultMax) return fail(Code::exhausted, "its result has " + to_text(Bytes{size}) + ", too much");
  TRY(const os::Mapping mapped, os::map_file(from.get(), size, os::Access::read));
  const std::string_view bytes = mapped.text();
  if (bytes[0] == 0) return std::string(bytes.substr(1));
  return fail(static_cast<Code>(bytes[0]), std::string(bytes.substr(1)));
}

}  // namespace

Result<std::string> in_a_process(const std::function<Result<std::string>()>& work, const ChildLimits& limits) {
  TRY(const os::Fd result, os::make_memfd("result", 0));
  const int parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(os::os_error("fork"));
  if (pid == 0) run_child(work, result.get(), parent);
  auto pidfd = os::open_process(pid);
  const Instant end = os::monotonic_now() + limits.time_max;
  Error why{Code::internal, ""};
  bool ended = false;
  while (pidfd && !ended) {
    pollfd wait{.fd = pidfd->get(), .events = POLLIN, .revents = 0};
    const Duration left = end - os::monotonic_now();
    ended = ::poll(&wait, 1, static_cast<int>(std::clamp<double>(to_ms(left), 0, kLookMs))) == 1;
    if (ended) break;
    if (limits.stops()) why = {Code::cancelled, "interrupted"};
    else if (left <= Duration{}) why = {Code::deadline_exceeded, "it took more than " + to_text(limits.time_max)};
    if (why.code != Code::internal) break;
  }
  if (!pidfd) why = pidfd.error();
  if (!ended) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (!ended) return fail(why);
  // Ctrl-C reaches the whole group: then the child ends of it before this process has looked.
  if (limits.stops()) return fail(Code::cancelled, "interrupted");
  return result_of(result, status);
}

}  // namespace mayfly::worker
