#include "worker/seccomp.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/assert.h"
#include "os/fd.h"
#include "worker/detail/program_calls.h"

namespace mayfly::worker {
namespace {

// Computing, waiting, talking on what is open already: everybody.
constexpr int kEverybody[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv),
    SCMP_SYS(preadv2),
    SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(fstat),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2),
    SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mincore), SCMP_SYS(membarrier),
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(set_tid_address),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall), SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
    SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

// Jobs write what the engine makes into /tmp; there is nothing else to open (worker/sandbox.h).
constexpr int kFiles[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(creat), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(stat),
    SCMP_SYS(lstat), SCMP_SYS(statx), SCMP_SYS(newfstatat), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd), SCMP_SYS(getdents64),
    SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(truncate), SCMP_SYS(copy_file_range), SCMP_SYS(sendfile),
};

// Only an escape tries these: denied like the rest, and said so in the log (SIGSYS handler below).
struct Named { int number; const char* name; };
#define CALL(name) {SCMP_SYS(name), #name}
constexpr Named kTelling[] = {
    CALL(socket), CALL(socketpair), CALL(connect), CALL(bind), CALL(listen), CALL(accept), CALL(accept4), CALL(execve), CALL(execveat),
    CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(kill), CALL(tkill), CALL(tgkill), CALL(rt_sigqueueinfo),
    CALL(rt_tgsigqueueinfo), CALL(pidfd_open), CALL(pidfd_send_signal), CALL(pidfd_getfd), CALL(mount), CALL(umount2), CALL(pivot_root),
    CALL(chroot), CALL(setns), CALL(unshare), CALL(open_tree), CALL(move_mount), CALL(fsopen), CALL(bpf), CALL(perf_event_open),
    CALL(userfaultfd), CALL(keyctl), CALL(add_key), CALL(request_key), CALL(init_module), CALL(finit_module), CALL(delete_module),
    CALL(kexec_load), CALL(reboot), CALL(swapon), CALL(swapoff), CALL(io_uring_setup), CALL(name_to_handle_at), CALL(open_by_handle_at),
    CALL(openat2), CALL(fork), CALL(vfork), CALL(setuid), CALL(setgid), CALL(setresuid), CALL(setresgid), CALL(setgroups), CALL(capset),
    CALL(iopl), CALL(ioperm), CALL(mknod), CALL(mknodat), CALL(symlink), CALL(link), CALL(shmget), CALL(msgget),
    CALL(semget), CALL(mq_open),
    CALL(memfd_secret), CALL(settimeofday), CALL(clock_settime), CALL(sethostname), CALL(process_madvise), CALL(kcmp), CALL(fanotify_init),
};
// … and these for who has no business with files or processes.
constexpr Named kTellingFiles[] = {CALL(open), CALL(openat), CALL(creat), CALL(unlink), CALL(unlinkat),
    CALL(rename), CALL(mkdir), CALL(readlink), CALL(getdents64)};
constexpr Named kTellingClone[] = {CALL(clone)};
#undef CALL

// Of who holds sockets of the machine's network, for a program: no call by which one becomes something else.
constexpr int kCarrying[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close), SCMP_SYS(recvmsg), SCMP_SYS(recvfrom), SCMP_SYS(accept4), SCMP_SYS(shutdown),
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(clock_gettime), SCMP_SYS(futex),
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield), SCMP_SYS(getrandom),
};

// Of who turns a stranger's bytes into pixels: memory, and the result into what is open already.
constexpr int kComputing[] = {
    SCMP_SYS(write), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(clock_gettime),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(getrandom), SCMP_SYS(sched_yield),
};

enum class Filter { common, instance, instance_threads, instance_in_place, template_, job, code, outbound };
constexpr std::size_t kFilters = 8;
using Program = std::vector<sock_filter>;

// Prepared in the zygote and inherited by every fork; the contract (seccomp.h) has no place to hand them on.
std::array<Program, kFilters>& programs() {
  static std::array<Program, kFilters> prepared;
  return prepared;
}

class Builder {
 public:
  Builder() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM))) {
    failed_ = !context_;
    if (failed_) return;
    note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
    note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_NNP, 0));
    note(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  }
  void allow(std::span<const int> calls) {
    for (const int call : calls) add(SCMP_ACT_ALLOW, call);
  }
  void tell(std::span<const Named> calls) {
    for (const Named& call : calls) add(SCMP_ACT_TRAP, call.number);
  }
  template <class... Comparison>
  void add(std::uint32_t action, int call, Comparison... comparisons) {
    if (failed_) return;
    const std::array<scmp_arg_cmp, sizeof...(comparisons)> all{comparisons...};
    note(::seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(all.size()), all.data()));
  }
  [[nodiscard]] Result<Program> finish() {
    if (failed_) return fail(Code::internal, "libseccomp refused a rule of the system-call filter");
    TRY(const os::Fd memory, os::make_memfd("mayfly-filter", 0));
    if (::seccomp_export_bpf(context_.get(), memory.get()) != 0)
      return fail(Code::internal, "libseccomp could not export the system-call filter");
    const off_t size = ::lseek(memory.get(), 0, SEEK_END);
    if (size <= 0) return fail(os::os_error("lseek", "the system-call filter"));
    Program program(static_cast<std::size_t>(size) / sizeof(sock_filter));
    if (::pread(memory.get(), program.data(), static_cast<std::size_t>(size), 0) != size)
      return fail(os::os_error("pread", "the system-call filter"));
    return program;
  }

 private:
  struct Release {
    void operator()(void* context) const { ::seccomp_release(context); }
  };
  void note(int returned) { failed_ = failed_ || returned != 0; }
  std::unique_ptr<void, Release> context_;
  bool failed_ = false;
};

constexpr scmp_arg_cmp when(unsigned argument, scmp_compare comparison, std::uint64_t a, std::uint64_t b = 0) {
  return {argument, comparison, a, b};
}

// Calls of which only some forms are harmless.
void allow_parts(Builder& builder, Filter filter) {
  constexpr int kFcntl[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_DUPFD, 1033 /* F_ADD_SEALS */, 1034 /* F_GET_SEALS */};
  for (const int command : kFcntl) builder.add(SCMP_ACT_ALLOW, SCMP_SYS(fcntl), when(1, SCMP_CMP_EQ, static_cast<std::uint64_t>(command)));
  // Nothing new becomes code: the engine was loaded before.
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mmap), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  constexpr int kPrctl[] = {PR_SET_NAME, PR_SET_VMA, PR_SET_THP_DISABLE, PR_GET_DUMPABLE, PR_SET_NO_NEW_PRIVS};
  for (const int option : kPrctl) builder.add(SCMP_ACT_ALLOW, SCMP_SYS(prctl), when(0, SCMP_CMP_EQ, static_cast<std::uint64_t>(option)));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), when(0, SCMP_CMP_EQ, 0));  // only its own
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(getrlimit));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(setrlimit));                          // without CAP_SYS_RESOURCE: only down
  // fstat in glibc is newfstatat(fd, "", …, AT_EMPTY_PATH).
  if (filter == Filter::instance || filter == Filter::instance_threads || filter == Filter::template_)
    builder.add(SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), when(3, SCMP_CMP_EQ, 0x1000 /* AT_EMPTY_PATH */));
  constexpr int kWhere[] = {SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(getcwd)};
  if (filter == Filter::instance_in_place) builder.allow(kWhere);
  // clone3 hides its flags in memory; glibc then falls back to clone.
  builder.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
}

void allow_threads(Builder& builder) {
  constexpr std::uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(clone), when(0, SCMP_CMP_MASKED_EQ, kThread, kThread));
  constexpr int kCalls[] = {SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler)};
  builder.allow(kCalls);
}

void allow_forks(Builder& builder) {
  constexpr std::uint64_t kNever = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                   CLONE_NEWPID | CLONE_NEWNET |
                                   CLONE_THREAD | CLONE_VM | CLONE_PTRACE;
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(clone), when(0, SCMP_CMP_MASKED_EQ, kNever, 0));
}

// Only the low half of a register is an int; what is above it is anybody's.
constexpr scmp_arg_cmp equals(unsigned argument, std::uint32_t value) { return when(argument, SCMP_CMP_MASKED_EQ, 0xffffffff, value); }

// TCP, UDP and unix sockets; netlink as programs list their addresses. Anything else would have the kernel load a protocol.
void allow_sockets(Builder& builder) {
  constexpr int kSocket = SCMP_SYS(socket);
  constexpr std::uint64_t kTypeBits = 0xf;  // beside them are SOCK_CLOEXEC and SOCK_NONBLOCK
  const auto type = [](int wanted) { return when(1, SCMP_CMP_MASKED_EQ, kTypeBits, static_cast<std::uint64_t>(wanted)); };
  for (const std::uint32_t family : {AF_INET, AF_INET6}) {
    for (const std::uint32_t protocol : {0, static_cast<int>(IPPROTO_TCP)})
      builder.add(SCMP_ACT_ALLOW, kSocket, equals(0, family), type(SOCK_STREAM), equals(2, protocol));
    for (const std::uint32_t protocol : {0, static_cast<int>(IPPROTO_UDP)})
      builder.add(SCMP_ACT_ALLOW, kSocket, equals(0, family), type(SOCK_DGRAM), equals(2, protocol));
  }
  builder.add(SCMP_ACT_ALLOW, kSocket, equals(0, AF_UNIX));
  builder.add(SCMP_ACT_ALLOW, kSocket, equals(0, AF_NETLINK), equals(2, NETLINK_ROUTE));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(socketpair), equals(0, AF_UNIX));
}

void allow_program_parts(Builder& builder) {
  constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                        CLONE_NEWNET;
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(clone), when(0, SCMP_CMP_MASKED_EQ, kNamespaces | CLONE_PTRACE, 0));
  builder.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  for (const std::uint32_t persona : {0U, 0xffffffffU /* asks */}) builder.add(SCMP_ACT_ALLOW, SCMP_SYS(personality), equals(0, persona));
  for (const std::uint64_t kind : {S_IFREG, S_IFIFO}) {
    builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mknod), when(1, SCMP_CMP_MASKED_EQ, S_IFMT, kind));
    builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mknodat), when(2, SCMP_CMP_MASKED_EQ, S_IFMT, kind));
  }
  allow_sockets(builder);
}

// Libraries try calls that are newer than these lists and fall back where there is none: they are told so, not that it is denied.
Program with_newer_calls_missing(const Program& rest) {
  constexpr std::uint32_t kFirstUnknown = 451, kOtherNumbers = 0x40000000;  // x32's, which the rest refuses
  Program program{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* offsetof(seccomp_data, nr) */),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kFirstUnknown, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kOtherNumbers, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  program.insert(program.end(), rest.begin(), rest.end());
  return program;
}

// Nothing tells here: a trap without its handler, which exec forgets, would end the program.
Result<Program> build_code() {
  Builder builder;
  builder.allow(kEverybody);
  builder.allow(kFiles);
  builder.allow(kPrograms);
  allow_program_parts(builder);
  TRY(const Program program, builder.finish());
  return with_newer_calls_missing(program);
}

Result<Program> build_outbound() {
  Builder builder;
  builder.allow(kCarrying);
#ifdef __SANITIZE_ADDRESS__
  constexpr int kSanitizers[] = {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask)};
  builder.allow(kSanitizers);
#endif
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mmap), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  // To nobody but the peer: an address would connect (TCP Fast Open).
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(sendto), when(3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0), when(4, SCMP_CMP_EQ, 0));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), when(2, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), equals(1, SOL_SOCKET), equals(2, SO_LINGER));
  return builder.finish();
}

Result<Program> build_decoder() {
  Builder builder;
  builder.allow(kComputing);
#ifdef __SANITIZE_ADDRESS__
  constexpr int kSanitizers[] = {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(read), SCMP_SYS(close), SCMP_SYS(sigaltstack), SCMP_SYS(getpid)};
  builder.allow(kSanitizers);
#endif
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mmap), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  builder.add(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), when(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  return builder.finish();
}

Result<Program> build(Filter filter) {
  if (filter == Filter::code) return build_code();
  if (filter == Filter::outbound) return build_outbound();
  constexpr int kTighten[] = {SCMP_SYS(seccomp)};
  Builder builder;
  builder.allow(kEverybody);
#ifdef __SANITIZE_ADDRESS__
  // The sanitizers look through a pipe whether memory is there.
  constexpr int kSanitizers[] = {SCMP_SYS(pipe), SCMP_SYS(pipe2)};
  builder.allow(kSanitizers);
#endif
  builder.tell(kTelling);
  allow_parts(builder, filter);
  const bool files = filter == Filter::common || filter == Filter::job;
  // Jobs fork too: the measurement of a template forks as one (worker/jobs.h). Limits on processes are the cgroup's.
  const bool forks = filter == Filter::common || filter == Filter::template_ || filter == Filter::job;
  const bool threads = filter == Filter::common || filter == Filter::job || filter == Filter::instance_threads;
  if (files) builder.allow(kFiles);
  else builder.tell(kTellingFiles);
  if (forks) allow_forks(builder), builder.allow(kTighten);
  if (threads) allow_threads(builder);
  if (!forks && !threads) builder.tell(kTellingClone);
  return builder.finish();
}

const char* name_of(int call) {
  for (const std::span<const Named> list : {std::span<const Named>(kTelling), std::span<const Named>(kTellingFiles),
                                              std::span<const Named>(kTellingClone)})
    for (const Named& named : list)
      if (named.number == call) return named.name;
  return "?";
}

// Runs inside the denied process: only async-signal-safe calls. Code that has taken the process over may replace
// it; then the call is still denied, only not logged.
void on_denied(int, siginfo_t* info, void* context) {
  const int saved = errno;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (info->si_syscall == SYS_tgkill && registers[REG_RDX] == SIGABRT) ::_exit(128 + SIGABRT);  // abort(): let it end
  char line[96] = "mayfly: denied: the sandboxed process tried ";
  std::size_t size = std::strlen(line);
  for (const char* name = name_of(info->si_syscall); *name && size < sizeof line - 2; ++name) line[size++] = *name;
  line[size++] = '\n';
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line, size);
  registers[REG_RAX] = -EPERM;
  errno = saved;
}

Result<void> install(Program& program) {
  if (program.empty()) return fail(Code::internal, "prepare_filters() has not run");
  const sock_fprog raw{static_cast<unsigned short>(program.size()), program.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw) != 0) return fail(os::os_error("seccomp"));
  return {};
}

Result<void> install(Filter filter) { return install(programs()[static_cast<std::size_t>(filter)]); }

}  // namespace

Result<void> prepare_filters() {
  for (std::size_t i = 0; i < kFilters; ++i) {
    TRY(programs()[i], build(static_cast<Filter>(i)));
  }
  return {};
}

Result<void> apply_common_filter() {
  struct sigaction action {};
  action.sa_sigaction = on_denied;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return fail(os::os_error("sigaction", "SIGSYS"));
  return install(Filter::common);
}

Result<void> apply_code_filter() { return install(Filter::code); }

Result<void> apply_outbound_filter() { return install(Filter::outbound); }

Result<void> apply_in_place_filter() { return install(Filter::instance_in_place); }

Result<void> apply_decoder_filter() {
  TRY(Program program, build_decoder());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(os::os_error("prctl", "PR_SET_NO_NEW_PRIVS"));
  return install(program);
}

Result<void> apply_role_filter(domain::Role role, int threads) {
  switch (role) {
    case domain::Role::instance:
    case domain::Role::probe: return install(threads > 1 ? Filter::instance_threads : Filter::instance);
    case domain::Role::template_: return install(Filter::template_);
    case domain::Role::check:
    case domain::Role::compile:
    case domain::Role::tune: return install(Filter::job);
    case domain::Role::code:
    case domain::Role::code_template:
    case domain::Role::unpack:
    case domain::Role::start_cache:
    case domain::Role::optimize:
    case domain::Role::build: return {};  // its sandbox came with the filter, which what it execs gets too
  }
  return fail(Code::invalid_argument, "a process was given a role that does not exist: " + std::to_string(static_cast<int>(role)));
}

}  // namespace mayfly::worker
