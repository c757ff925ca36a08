#include "worker/probe.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

namespace mayfly::worker {
namespace {

class Probe {
 public:
  // Raw calls: the C library's own checks are not what keeps a hostile program in.
  template <class... Arguments>
  void call(std::string_view what, long number, Arguments... arguments) {
    note(what, ::syscall(number, arguments...) >= 0);
  }
  void note(std::string_view what, bool managed) {
    ++report.tried;
    if (managed) report.managed.emplace_back(what);
  }
  ProbeReport report;
};

void try_files(Probe& probe) {
  for (const char* path : {"/etc/passwd", "/proc/self/status", "/proc/1/environ", "/proc/self/fd/0",
                           "/dev/null", "/sys/fs/cgroup", "/tmp", "/", "../../etc/passwd"})
    probe.call(std::string("open ") + path, SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
  probe.call("create a file in /tmp", SYS_openat, AT_FDCWD, "/tmp/x", O_CREAT | O_WRONLY, 0600);
  probe.call("create a file in /", SYS_open, "/x", O_CREAT | O_WRONLY, 0600);
  probe.call("make a device", SYS_mknodat, AT_FDCWD, "/tmp/sda", S_IFBLK | 0600, 0x800);
  probe.call("link", SYS_symlink, "/etc", "/tmp/etc");
  probe.call("list /", SYS_getdents64, 0, nullptr, 0);
  probe.call("chroot", SYS_chroot, "/tmp");
  probe.call("mount", SYS_mount, "x", "/tmp", "proc", 0, nullptr);
  probe.call("unmount", SYS_umount2, "/tmp", MNT_DETACH);
  probe.call("open by handle", SYS_open_by_handle_at, AT_FDCWD, nullptr, 0);
}

void try_network(Probe& probe) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET, 40 /* AF_VSOCK */})
    probe.call("socket of family " + std::to_string(family), SYS_socket, family, SOCK_STREAM, 0);
  std::array<int, 2> pair{};
  probe.call("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair.data());
  probe.call("io_uring", SYS_io_uring_setup, 8, nullptr);
}

void try_processes(Probe& probe) {
  for (const int pid : {1, 2, 3, -1, 0}) probe.call("signal " + std::to_string(pid), SYS_kill, pid, SIGKILL);
  probe.call("signal a thread of init", SYS_tgkill, 1, 1, SIGKILL);
  probe.call("queue a signal", SYS_rt_sigqueueinfo, 1, SIGKILL, nullptr);
  probe.call("own SIGIO of another", SYS_fcntl, 0, F_SETOWN, 1);
  const auto alone = [&](std::string_view what, long pid) {
    if (pid == 0) ::_exit(0);
    probe.note(what, pid > 0);
  };
  alone("fork", ::syscall(SYS_fork));
  alone("clone", ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  alone("clone as a sibling", ::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  alone("clone into new namespaces", ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  probe.call("clone3", SYS_clone3, nullptr, 0);
  const std::array<char*, 1> none{nullptr};
  probe.call("execve", SYS_execve, "/bin/sh", none.data(), none.data());
  probe.call("execveat", SYS_execveat, 0, "", none.data(), none.data(), AT_EMPTY_PATH);
  probe.call("ptrace init", SYS_ptrace, PTRACE_ATTACH, 1, nullptr, nullptr);
  char byte = 0;
  const iovec here{&byte, 1}, there{&byte, 1};
  probe.call("read another's memory", SYS_process_vm_readv, 1, &here, 1, &there, 1, 0);
  probe.call("write another's memory", SYS_process_vm_writev, 1, &here, 1, &there, 1, 0);
  probe.call("open a process", SYS_pidfd_open, 1, 0);
  const rlimit most{RLIM_INFINITY, RLIM_INFINITY};
  probe.call("raise its limits", SYS_prlimit64, 0, RLIMIT_NOFILE, &most, nullptr);
  probe.call("change another's limits", SYS_prlimit64, 1, RLIMIT_NOFILE, nullptr, nullptr);
  probe.call("set another's scheduling", SYS_sched_setscheduler, 1, SCHED_FIFO, nullptr);
}

void try_privileges(Probe& probe) {
  probe.call("setuid 0", SYS_setuid, 0);
  probe.call("setresuid 0", SYS_setresuid, 0, 0, 0);
  probe.call("capset", SYS_capset, nullptr, nullptr);
  probe.call("unshare", SYS_unshare, CLONE_NEWUSER);
  probe.call("setns", SYS_setns, 0, 0);
  probe.call("ambient capability", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0);
  probe.call("be dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  probe.call("loosen seccomp", SYS_seccomp, 1, 0, nullptr);
  probe.call("bpf", SYS_bpf, BPF_PROG_LOAD, nullptr, 0);
  probe.call("userfaultfd", SYS_userfaultfd, 0);
  probe.call("perf", SYS_perf_event_open, nullptr, 0, -1, -1, 0);
  probe.call("keyring", SYS_keyctl, 0, 0, 0);
  probe.call("load a module", SYS_init_module, nullptr, 0, "");
  probe.call("reboot", SYS_reboot, 0xfee1dead, 672274793, 0, nullptr);
  probe.call("set the clock", SYS_clock_settime, 0, nullptr);
  probe.call("host name", SYS_sethostname, "x", 1);
  probe.call("type into a terminal", SYS_ioctl, 2, TIOCSTI, "x");
}

void try_memory(Probe& probe, int model, int ring) {
  const auto map = [&](std::string_view what, std::size_t size, int protection, int flags, int fd) {
    void* at = reinterpret_cast<void*>(::syscall(SYS_mmap, nullptr, size, protection, flags, fd, 0));
    probe.note(what, at != MAP_FAILED);
  };
  map("new code", 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  map("write the model's file", 4096, PROT_READ | PROT_WRITE, MAP_SHARED, model);
  map("run the model's file", 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, model);
  probe.call("write to the model's file", SYS_pwrite64, model, "x", 1, 0);
  probe.call("truncate the model's file", SYS_ftruncate, model, 0);
  probe.call("make the model's file longer", SYS_fallocate, model, 0, 0, 1 << 20);
  probe.call("shrink the ring", SYS_ftruncate, ring, 0);
  probe.call("grow the ring", SYS_ftruncate, ring, 1 << 30);
  alignas(4096) static char page[4096];
  probe.call("make data code", SYS_mprotect, page, sizeof page, PROT_READ | PROT_EXEC);
  probe.call("lock memory", SYS_mlock, page, sizeof page);
  probe.call("system V memory", SYS_shmget, 0, 4096, 0x380);
}

// Ends at the limit of open files, and gives them back.
void try_descriptors(Probe& probe, int model) {
  constexpr int kFar = 100'000;
  int first = -1, last = -1, made = 0;
  for (; made < kFar; ++made) {
    const int fd = ::dup(model);
    if (fd < 0) break;
    if (first < 0) first = fd;
    last = fd;
  }
  probe.note("open files without end", made == kFar);
  if (first >= 0) ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0);
}

}  // namespace

ProbeReport probe_sandbox(int model, int ring) {
  Probe probe;
  try_files(probe);
  try_network(probe);
  try_processes(probe);
  try_privileges(probe);
  try_memory(probe, model, ring);
  try_descriptors(probe, model);
  return probe.report;
}

std::string to_json(const ProbeReport& report) {
  std::string json = "{\"tried\":" + std::to_string(report.tried) + ",\"managed\":[";
  for (std::size_t i = 0; i < report.managed.size(); ++i) json += (i ? ",\"" : "\"") + report.managed[i] + "\"";
  return json + "]}";
}

}  // namespace mayfly::worker
