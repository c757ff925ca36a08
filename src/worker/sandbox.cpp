#include "worker/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "domain/link.h"
#include "worker/detail/check.h"
#include "worker/detail/own_network.h"
#include "worker/detail/root.h"
#include "worker/detail/user_lookup.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

constexpr std::uint32_t kInitId = 0, kProcessId = 1000;   // user and group ids inside
constexpr std::uint32_t kGroupIds = 64;                   // at the end of the outside's range
constexpr int kControlAt = 3, kStatusAt = 4, kLogAt = 5, kStartAt = 6, kFirstFree = 7;
constexpr rlim_t kFilesOpenMax = 1024, kProcessesMax = 2048;

Result<void> write_text(const std::string& path, std::string_view text) {
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(os::os_error("open", path));
  return check(::write(fd.get(), text.data(), text.size()), "write", path);
}

std::string map_line(std::uint32_t inside, std::uint32_t outside) {
  return std::to_string(inside) + " " + std::to_string(outside) + " 1\n";
}

// Who is in it: init, where ids of the outside are there for two, and the processes.
struct Inside {
  bool two_ids = false;
  ContainerUser user{.uid = kProcessId, .gid = kProcessId};
};

Inside who_is_inside(const SandboxPlan& plan, const OutsideIds& ids) {
  Inside inside{.two_ids = ids.count > 0};
  const auto root = std::ranges::find(plan.binds, "/", &Bind::target);
  if (plan.user.empty() || root == plan.binds.end()) return inside;
  auto user = look_up_user(root->source, plan.user);
  if (!user || user->uid == kInitId) return inside;       // the process in it says what is wrong (worker/code_environment.h)
  inside.user = *std::move(user);
  if (ids.count <= 2 * kGroupIds) inside.user.groups.clear();
  return inside;
}

// The zygote writes them: a process in the new namespace could only map the node's own id. Where the program's group is 0, init has it,
// too.
Result<void> write_id_maps(int pid, std::uint64_t number, const OutsideIds& ids, const ContainerUser& user) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/";
  if (ids.count == 0) {
    TRY_VOID(write_text(folder + "setgroups", "deny"));
    TRY_VOID(write_text(folder + "uid_map", map_line(user.uid, ::geteuid())));
    return write_text(folder + "gid_map", map_line(user.gid, ::getegid()));
  }
  const std::uint32_t pairs = (ids.count <= 2 * kGroupIds ? ids.count : ids.count - kGroupIds) / 2;
  const std::uint32_t first = ids.first + static_cast<std::uint32_t>(number % pairs) * 2;
  std::string groups = map_line(user.gid, first + 1);
  const bool init_apart = user.gid != kInitId && std::ranges::count(user.groups, kInitId) == 0;
  if (init_apart) groups += map_line(kInitId, first);
  // Of other groups only the number counts: no file belongs to them, and sandboxes share nothing.
  std::uint32_t next = ids.first + ids.count - kGroupIds;
  for (const std::uint32_t group : user.groups) groups += map_line(group, next++);
  TRY_VOID(write_text(folder + "gid_map", groups));
  return write_text(folder + "uid_map", map_line(kInitId, first) + map_line(user.uid, first + 1));
}

Result<void> become(std::uint32_t uid, std::uint32_t gid) {
  TRY_VOID(check(::setresgid(gid, gid, gid), "setresgid"));
  return check(::setresuid(uid, uid, uid), "setresuid");
}

Result<void> forbid_privileges() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    TRY_VOID(check(::prctl(PR_CAPBSET_DROP, capability), "PR_CAPBSET_DROP", std::to_string(capability)));
  return check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
}

Result<void> drop_capabilities() {
  __user_cap_header_struct head{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, 2> none{};
  TRY_VOID(check(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT"));
  return check(::syscall(SYS_capset, &head, none.data()), "capset");
}

Result<void> limit(__rlimit_resource resource, rlim_t most, std::string_view name) {
  rlimit now{};
  TRY_VOID(check(::getrlimit(resource, &now), "getrlimit", name));
  const rlim_t bounded = std::min(most, now.rlim_max);
  const rlimit wanted{bounded, bounded};
  return check(::setrlimit(resource, &wanted), "setrlimit", name);
}

Result<void> apply_limits(std::uint64_t memory_max) {
  TRY_VOID(limit(RLIMIT_CORE, 0, "core"));
  TRY_VOID(limit(RLIMIT_NOFILE, kFilesOpenMax, "open files"));
  TRY_VOID(limit(RLIMIT_NPROC, kProcessesMax, "processes"));
  TRY_VOID(limit(RLIMIT_MEMLOCK, 0, "locked memory"));
  TRY_VOID(limit(RLIMIT_MSGQUEUE, 0, "message queues"));
  if (memory_max > 0) TRY_VOID(limit(RLIMIT_DATA, memory_max, "memory"));
  return {};
}

// Puts the descriptors where the rest of this file expects them and closes all others but 0 to 2.
Result<void> place_descriptors(std::array<int, 4> fds) {
  for (int& fd : fds) {
    fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 64);
    if (fd < 0) return fail(os::os_error("fcntl"));
  }
  for (int i = 0; i < 4; ++i) TRY_VOID(check(::dup3(fds[static_cast<std::size_t>(i)], kControlAt + i, O_CLOEXEC), "dup3"));
  return check(::close_range(kFirstFree, ~0U, 0), "close_range");
}

[[noreturn]] void run_blank(const SandboxPlan& plan, const Inside& inside, const ProcessEntry& entry) {
  const auto prepare = [&]() -> Result<void> {
    if (inside.two_ids) {
      const ContainerUser& user = inside.user;
      TRY_VOID(check(::setgroups(user.groups.size(), user.groups.data()), "setgroups"));
      TRY_VOID(become(user.uid, user.gid));
    }
    ::prctl(PR_SET_NAME, "mayfly-blank");
    TRY_VOID(drop_capabilities());
    // Whoever is the node's own user may look at it (memory use); where it has an id of its own, nobody may.
    TRY_VOID(check(::prctl(PR_SET_DUMPABLE, inside.two_ids ? 0 : 1), "PR_SET_DUMPABLE"));
    TRY_VOID(apply_limits(plan.memory_max));
    TRY_VOID(check(::dup2(kLogAt, STDOUT_FILENO), "dup2"));
    TRY_VOID(check(::dup2(kLogAt, STDERR_FILENO), "dup2"));
    if (plan.machine_network) leave_abstract_sockets(kLogAt);
    TRY_VOID(check(::close_range(kControlAt + 1, ~0U, 0), "close_range"));
    return plan.binds.empty() ? apply_common_filter() : apply_code_filter();
  };
  if (const auto prepared = prepare(); !prepared) {
    std::fprintf(stderr, "mayfly: a sandboxed process could not be prepared: %s\n", prepared.error().message.c_str());
    ::_exit(1);
  }
  entry(os::Fd(kControlAt));
  ::_exit(0);
}

void report_end(int pid, int wait_status) {
  const domain::ProcessEnded report{.pid = pid, .wait_status = wait_status};
  ::send(kStatusAt, &report, sizeof report, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Reaps what has ended. False: nothing is left; `first` is then the status of the first that failed.
bool reap(int& first) {
  for (;;) {
    int status = 0;
    const int pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == 0) return true;
    if (pid < 0) return errno == EINTR ? true : false;
    report_end(pid, status);
    if (first == 0) first = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

// Until nothing is left or the node is gone. The kernel ends every process of the namespace with its pid 1.
[[noreturn]] void run_init(int children) {
  ::close_range(0, kStatusAt - 1, 0);
  ::dup2(children, 0);
  ::close_range(kStatusAt + 1, ~0U, 0);
  int first = 0;
  while (reap(first)) {
    std::array<pollfd, 2> wait{{{.fd = kStatusAt, .events = POLLIN, .revents = 0}, {.fd = 0, .events = POLLIN, .revents = 0}}};
    ::poll(wait.data(), wait.size(), -1);
    if (wait[0].revents) ::_exit(0);  // the node says nothing on it: it has closed
    signalfd_siginfo info{};
    if (wait[1].revents) [[maybe_unused]] const auto got = ::read(0, &info, sizeof info);
  }
  ::_exit(first);
}

// A program has the same id where there is only one: it is not to write to init's memory, which no filter binds.
Result<void> guard_init() {
  TRY_VOID(check(::prctl(PR_SET_DUMPABLE, 0), "PR_SET_DUMPABLE"));
  return apply_code_filter();
}

Result<void> prepare_init(const SandboxPlan& plan, const Inside& inside) {
  char go = 0;
  if (::read(kStartAt, &go, 1) != 1) ::_exit(1);  // the zygote ended; the node sees this socket close and starts over
  ::close(kStartAt);
  const bool code = !plan.binds.empty();
  OutsideTrees outside;
  if (code) {
    TRY(outside, open_outside(plan.binds));
    if (!plan.machine_network) TRY_VOID(raise_loopback(plan.hosts));
  }
  if (inside.two_ids) {
    TRY_VOID(check(::setgroups(0, nullptr), "setgroups"));
    TRY_VOID(become(kInitId, kInitId));
  }
  ::prctl(PR_SET_NAME, "mayfly-init");
  TRY_VOID(check(::sethostname("mayfly", 6), "sethostname"));
  ::umask(code ? 0022 : 0077);
  const Owner owner{.uid = inside.user.uid, .gid = inside.user.gid};
  const CodeRoot root{.owner = owner, .log = kLogAt, .hosts = plan.hosts, .machine_network = plan.machine_network};
  TRY_VOID(code ? build_code_root(outside, root) : build_blank_root(owner));
  return forbid_privileges();
}

[[noreturn]] void fail_init(std::uint64_t number, const Error& error) {
  std::string packet(sizeof(domain::SandboxMade), '\0');
  const domain::SandboxMade report{.head = {domain::MessageKind::sandbox_failed, static_cast<std::uint32_t>(error.message.size())},
                                   .sandbox = number};
  std::memcpy(packet.data(), &report, sizeof report);
  packet += error.message;
  ::send(kStatusAt, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::_exit(1);
}

[[noreturn]] void start_init(const SandboxPlan& plan, int start, const Inside& inside, const ProcessEntry& entry) {
  if (const auto placed = place_descriptors({plan.control.get(), plan.status.get(), plan.log.get(), start}); !placed) ::_exit(1);
  if (const auto prepared = prepare_init(plan, inside); !prepared) fail_init(plan.number, prepared.error());
  sigset_t child_ended, none;
  ::sigemptyset(&none);
  ::sigemptyset(&child_ended);
  ::sigaddset(&child_ended, SIGCHLD);
  ::sigprocmask(SIG_SETMASK, &child_ended, nullptr);
  const int children = ::signalfd(-1, &child_ended, SFD_CLOEXEC);
  const pid_t blank = children < 0 ? -1 : ::fork();
  if (blank == 0) {
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    run_blank(plan, inside, entry);
  }
  if (blank < 0) fail_init(plan.number, os::os_error("fork"));
  if (const auto dropped = drop_capabilities(); !dropped) fail_init(plan.number, dropped.error());
  if (const auto guarded = plan.binds.empty() ? Result<void>{} : guard_init(); !guarded) fail_init(plan.number, guarded.error());
  run_init(children);
}

int clone_with(std::uint64_t namespaces) {
  clone_args args{};
  args.flags = namespaces;
  args.exit_signal = SIGCHLD;
  return static_cast<int>(::syscall(SYS_clone3, &args, sizeof args));
}

}  // namespace

OutsideIds find_outside_ids() {
  constexpr std::uint32_t kWanted = 100'000, kCount = 200'000;
  if (::geteuid() != 0) return {};
  // In a container only part of all ids exists: take a range high up in what there is.
  std::FILE* map = std::fopen("/proc/self/uid_map", "re");
  if (!map) return {};
  OutsideIds ids;
  unsigned long inside = 0, outside = 0, count = 0;
  while (std::fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3) {
    const std::uint64_t end = inside + count;
    if (inside <= kWanted && end >= kWanted + kCount) ids = {kWanted, kCount};
    else if (ids.count == 0 && inside <= 1'000 && end >= 20'000)
      ids = {static_cast<std::uint32_t>(end / 2), static_cast<std::uint32_t>((end - end / 2 - 2) & ~1UL)};
  }
  std::fclose(map);
  return ids;
}

Result<int> make_sandbox(SandboxPlan plan, const OutsideIds& ids, const ProcessEntry& entry) {
  const std::uint64_t namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
                                    (plan.machine_network && !plan.binds.empty() ? 0 : CLONE_NEWNET);
  int start[2];
  if (::pipe2(start, O_CLOEXEC) != 0) return fail(os::os_error("pipe2"));
  os::Fd start_read(start[0]), start_write(start[1]);
  const Inside inside = who_is_inside(plan, ids);
  int pid = clone_with(namespaces | CLONE_NEWCGROUP);
  if (pid < 0 && (errno == EINVAL || errno == EPERM)) pid = clone_with(namespaces);
  if (pid == 0) {
    start_write.reset();  // so that a zygote that ends here is noticed
    start_init(plan, start_read.get(), inside, entry);
  }
  if (pid < 0) {
    Error error = os::os_error("clone3", "with new namespaces");
    error.message += ": sandboxes need user namespaces; allow them (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
                     "kernel.apparmor_restrict_unprivileged_userns) or run the node as root";
    return fail(std::move(error));
  }
  if (auto mapped = write_id_maps(pid, plan.number, ids, inside.user); !mapped) {
    ::kill(pid, SIGKILL);
    return fail(std::move(mapped).error());
  }
  const char go = 1;
  TRY_VOID(check(::write(start_write.get(), &go, 1), "write"));
  return pid;
}

}  // namespace mayfly::worker
