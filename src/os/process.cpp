#include "os/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "os/clock.h"

namespace mayfly::os {
namespace {

constexpr int kSocketAt = 3;

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

Result<Child> adopt(int pid) {
  auto pidfd = open_process(pid);
  if (!pidfd) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail(std::move(pidfd).error());
  }
  return Child{pid, std::move(*pidfd)};
}

// The number behind "NAME:" in a /proc file, the `last` of the line or the first; -1 where there is none.
long field(std::istream& file, std::string_view name, bool last = false) {
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t at = last ? line.find_last_of(" \t") : line.find_first_of("0123456789", name.size());
    return at == std::string::npos ? -1 : std::strtol(line.c_str() + at, nullptr, 10);
  }
  return -1;
}

// With no signal blocked and none ignored. `flags` are posix_spawn's; ends the life of `files`.
Result<Child> spawn_with(const Command& command, posix_spawn_file_actions_t& files, short flags) {
  std::vector<std::string> arguments{command.program}, environment = command.environment;
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, static_cast<short>(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  pid_t pid = 0;
  errno = ::posix_spawn(&pid, command.program.c_str(), &files, &attributes, pointers(arguments).data(), pointers(environment).data());
  const int error = errno;
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  errno = error;
  if (error != 0) return fail(os_error("posix_spawn", command.program));
  return adopt(pid);
}

}  // namespace

Result<Child> spawn(const Command& command, const Fd& socket) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
  ::posix_spawn_file_actions_adddup2(&files, 0, 1);
  ::posix_spawn_file_actions_adddup2(&files, socket.get(), kSocketAt);
  ::posix_spawn_file_actions_addclosefrom_np(&files, kSocketAt + 1);
  return spawn_with(command, files, 0);
}

Result<Child> spawn_in_group(const Command& command, const std::string& folder, const Descriptors& descriptors) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, descriptors.out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, descriptors.err.get(), STDERR_FILENO);
  int next = STDERR_FILENO + 1;
  for (const Fd* socket : {descriptors.third, descriptors.third ? descriptors.fourth : nullptr})
    if (socket) ::posix_spawn_file_actions_adddup2(&files, socket->get(), next++);
  ::posix_spawn_file_actions_addclosefrom_np(&files, next);
  ::posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
  return spawn_with(command, files, POSIX_SPAWN_SETPGROUP);
}

Result<Child> fork_child(Fd socket, const std::function<int(Fd)>& body) {
  const pid_t pid = ::fork();
  if (pid < 0) return fail(os_error("fork"));
  if (pid == 0) ::_exit(body(std::move(socket)));
  return adopt(pid);
}

void close_all_but(std::vector<int> kept) {
  std::ranges::sort(kept);
  unsigned from = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (static_cast<unsigned>(fd) > from) ::close_range(from, static_cast<unsigned>(fd) - 1, 0);
    from = std::max(from, static_cast<unsigned>(fd) + 1);
  }
  ::close_range(from, ~0U, 0);
}

void end(Child& child) {
  if (child.pid > 0) {
    signal_process(child.pidfd, SIGKILL);
    while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {}
  }
  child = {};
}

int end_group(Child& child) {
  int status = 0;
  if (child.pid > 0) {
    ::kill(-child.pid, SIGKILL);  // before its status is taken: until then the number means this group
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {}
  }
  child = {};
  return status;
}

Result<Fd> open_process(int pid) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return fail(os_error("pidfd_open", std::to_string(pid)));
  return fd;
}

int pid_of(const Fd& pidfd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(pidfd.get()));
  return static_cast<int>(std::max(0L, field(file, "Pid:", true)));
}

bool signal_process(const Fd& pidfd, int signal) {
  return pidfd && ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

bool has_ended(const Fd& pidfd) {
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, 0) > 0;
}

bool signal_process(const Fd& pidfd, int signal, std::uint64_t value) {
  siginfo_t info{};
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_value.sival_ptr = reinterpret_cast<void*>(value);
  return pidfd && ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, &info, 0) == 0;
}

Result<ProcessFacts> process_facts(int pid) {
  // Read in one go: it is on the way of every fork.
  const Fd fd(::open(("/proc/" + std::to_string(pid) + "/status").c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(4096, '\0');
  const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  std::istringstream file(text);
  const long parent = field(file, "PPid:");
  const long inside = field(file, "NSpid:", true);
  if (parent < 0 || inside < 0) return fail(Code::not_found, "process " + std::to_string(pid) + " is gone, or /proc is not mounted");
  return ProcessFacts{static_cast<int>(parent), static_cast<int>(inside)};
}

// clock_getcpuclockid() makes the same number (clock_getres(2), "the high bits are the complement of the pid"), and asks the kernel
// whether it is one, which reading it does as well.
Duration process_cpu(int pid) {
  constexpr unsigned kScheduled = 2;
  return pid <= 0 ? Duration{} : read_clock(static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | kScheduled));
}

Bytes process_memory(int pid) {
  if (pid <= 0) return {};
  const std::string folder = "/proc/" + std::to_string(pid);
  std::ifstream rollup(folder + "/smaps_rollup");
  long kilobytes = field(rollup, "Pss:");
  if (kilobytes < 0) {
    std::ifstream status(folder + "/status");
    kilobytes = field(status, "VmRSS:");
  }
  return {kilobytes < 0 ? 0 : static_cast<std::uint64_t>(kilobytes) << 10};
}

void give_way() {
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, 0, kNice);
}

std::string describe_exit(int wait_status) {
  const int signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status) == 128 + SIGABRT ? SIGABRT : 0;
  if (signal == 0) return "ended with status " + std::to_string(WEXITSTATUS(wait_status));
  const char* text = ::sigdescr_np(signal);
  return "killed by signal " + std::to_string(signal) + " (" + (text ? text : "unknown") + ")";
}

Result<std::pair<Fd, Fd>> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return fail(os_error("pipe2"));
  return std::pair{Fd(fds[0]), Fd(fds[1])};
}

}  // namespace mayfly::os
