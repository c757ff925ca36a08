// Real sandboxes made by a real zygote, with a process entry of the test's own. They run as root and as a user with
// user namespaces, and under ASan: its needs are within the filters (no leak check at the end: that needs ptrace).
#include "worker/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "domain/link.h"
#include "os/clock.h"
#include "os/process.h"
#include "worker/seccomp.h"
#include "worker/test_sandbox.h"

namespace mayfly::worker {
namespace {

TEST_F(SandboxTest, TheRootIsEmptyAndReadOnly) {
  EXPECT_EQ(in_sandbox([] {
    std::string all;
    DIR* root = ::opendir("/");
    while (const dirent* entry = root ? ::readdir(root) : nullptr)
      if (entry->d_name[0] != '.') all += std::string(entry->d_name) + " ";
    all += errno_of(::open("/file", O_CREAT | O_WRONLY, 0600)) + ", ";
    all += errno_of(::open("/etc/passwd", O_RDONLY)) + ", ";
    all += errno_of(::open("/proc/self/status", O_RDONLY)) + ", ";
    all += errno_of(::open("/../../etc/passwd", O_RDONLY)) + ", ";
    all += errno_of(::open("/tmp/file", O_CREAT | O_WRONLY, 0700));
    return all;
  }), "tmp Read-only file system, No such file or directory, No such file or directory, No such file or directory, allowed");
}

TEST_F(SandboxTest, ItHasNoPrivilegesAndCannotGetAny) {
  start([](os::Fd control) {
    std::string all = std::to_string(::getuid()) + " " + std::to_string(::getgid()) + " pid " + std::to_string(::getpid());
    all += ::getppid() == 1 ? " child of init" : " child of another";
    rlimit files{}, core{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    ::getrlimit(RLIMIT_CORE, &core);
    say(control, all + " files " + std::to_string(files.rlim_max) + " core " + std::to_string(core.rlim_max));
    std::array<std::byte, 16> word;
    [[maybe_unused]] const auto end = os::receive_packet(control.get(), word);
  });
  sandbox_ = make();
  const auto answer = receive(sandbox_.control);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->bytes, "1000 1000 pid 2 child of init files 1024 core 0");
  const auto status_of = [](int pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  // Init drops its own once it has made the process, so a moment later.
  const Instant end = os::monotonic_now() + 2s;
  while (!status_of(sandbox_.init_pid).contains("CapPrm:\t0000000000000000") && os::monotonic_now() < end) ::usleep(1000);
  for (const int pid : {sandbox_.init_pid, answer->pid}) {
    const std::string status = status_of(pid);
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
      EXPECT_NE(status.find(std::string(set) + ":\t0000000000000000"), std::string::npos) << set << " of " << status;
    EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos) << status;
  }
}

TEST_F(SandboxTest, DeniedCallsFailAndAreLogged) {
  EXPECT_EQ(in_sandbox([] {
    std::string all = errno_of(::socket(AF_INET, SOCK_STREAM, 0)) + ", ";
    all += errno_of(::execl("/bin/sh", "sh", nullptr)) + ", ";
    all += errno_of(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)) + ", ";
    all += errno_of(::kill(-1, SIGKILL)) + ", ";
    all += errno_of(::mount("x", "/tmp", "tmpfs", 0, nullptr)) + ", ";
    all += errno_of(::unshare(CLONE_NEWUSER)) + ", ";
    all += errno_of(::syscall(SYS_setuid, 0));  // not the C library's, which tells the threads of a sanitizer first
    return all;
  }), "Operation not permitted, Operation not permitted, Operation not permitted, Operation not permitted, Operation not permitted, "
      "Operation not permitted, Operation not permitted");
  EXPECT_EQ(sandbox_.read_log(),
            "mayfly: denied: the sandboxed process tried socket\nmayfly: denied: the sandboxed process tried execve\n"
            "mayfly: denied: the sandboxed process tried ptrace\nmayfly: denied: the sandboxed process tried kill\n"
            "mayfly: denied: the sandboxed process tried mount\nmayfly: denied: the sandboxed process tried unshare\n"
            "mayfly: denied: the sandboxed process tried setuid\n");
}

TEST_F(SandboxTest, AnInstanceOpensNoFileAndMakesNoProcess) {
  EXPECT_EQ(in_sandbox([] {
    if (!apply_role_filter(domain::Role::instance)) return std::string("no filter");
    std::string all = errno_of(::open("/tmp/file", O_CREAT | O_WRONLY, 0600)) + ", ";
    all += errno_of(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) + ", ";
    all += errno_of(::syscall(SYS_clone3, nullptr, 0)) + ", ";
    all += ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? "no code, " : "code, ";
    all += ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? "no memory, " : "memory, ";
    all += errno_of(::syscall(SYS_seccomp, 1, 0, nullptr));
    return all;
  }), "Operation not permitted, Operation not permitted, Function not implemented, no code, memory, Operation not permitted");
}

TEST_F(SandboxTest, WhereWeightsAreUsedInPlaceAnInstanceMayAskForNamesAndOpenNone) {
  EXPECT_EQ(in_sandbox([] {
    if (!apply_in_place_filter()) return std::string("no filter");
    struct stat status {};
    std::array<char, 64> folder{};
    std::string all = errno_of(::stat(".", &status)) + ", ";
    all += (::getcwd(folder.data(), folder.size()) ? std::string(folder.data()) : "nowhere") + ", ";
    all += errno_of(::open("/tmp", O_RDONLY)) + ", ";
    all += errno_of(::open("/tmp/file", O_CREAT | O_WRONLY, 0600)) + ", ";
    all += errno_of(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    return all;
  }), "allowed, /, Operation not permitted, Operation not permitted, Operation not permitted");
}

TEST_F(SandboxTest, ATemplateForksSiblingsThatOutliveIt) {
  start([](os::Fd control) {
    if (!apply_role_filter(domain::Role::template_)) return;
    const long child = ::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (child != 0) return;  // the template ends at once
    say(control, ::getppid() == 1 ? "child of init" : "child of another");
    std::array<std::byte, 16> nothing;
    [[maybe_unused]] const auto end = os::receive_packet(control.get(), nothing);
  });
  TestSandbox sandbox = make();
  const auto answer = receive(sandbox.control);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->bytes, "child of init");
  EXPECT_GT(answer->pid, 0);
  EXPECT_EQ(os::process_facts(answer->pid)->parent, sandbox.init_pid);
  const int inside = os::process_facts(answer->pid)->pid_inside;
  EXPECT_GT(inside, 2);
  auto ended = receive(sandbox.status);
  ASSERT_TRUE(ended);
  EXPECT_EQ(read_as<domain::ProcessEnded>(ended->bytes).pid, 2);
  sandbox.control.reset();  // the child ends, and with it the sandbox
  ended = receive(sandbox.status);
  ASSERT_TRUE(ended);
  EXPECT_EQ(read_as<domain::ProcessEnded>(ended->bytes).pid, inside);
  ended = receive(sandbox.status);
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->closed);
  const auto gone = receive(zygote_);
  ASSERT_TRUE(gone);
  EXPECT_EQ(read_as<domain::SandboxEnded>(gone->bytes).head.kind, domain::MessageKind::sandbox_ended);
}

TEST_F(SandboxTest, ACrashIsToldWithItsSignal) {
  start([](os::Fd) { std::abort(); });
  TestSandbox sandbox = make();
  const auto ended = receive(sandbox.status);
  ASSERT_TRUE(ended);
  EXPECT_EQ(os::describe_exit(read_as<domain::ProcessEnded>(ended->bytes).wait_status), "killed by signal 6 (Aborted)");
}

TEST_F(SandboxTest, EverythingEndsWithTheNodesEndOfTheStatusSocket) {
  start([](os::Fd control) {
    say(control, "hello");
    for (;;) asm volatile("" ::: "memory");  // an engine that never comes back
  });
  TestSandbox sandbox = make();
  const auto hello = receive(sandbox.control);
  ASSERT_TRUE(hello);
  const auto process = os::open_process(hello->pid);
  ASSERT_TRUE(process);
  sandbox.status.reset();
  EXPECT_TRUE(readable(process->get(), 1s)) << "the process lives on after its node has gone";
}

TEST_F(SandboxTest, SandboxesOutliveTheirZygote) {
  start([](os::Fd control) {
    std::array<std::byte, 16> word;
    while (true) {
      const auto got = os::receive_packet(control.get(), word);
      if (!got || got->size == 0) return;
      say(control, "still here");
    }
  });
  TestSandbox sandbox = make();
  ASSERT_TRUE(os::signal_process(child_.pidfd, SIGKILL));
  ::waitpid(std::exchange(child_.pid, 0), nullptr, 0);
  say(sandbox.control, "you?");
  const auto answer = receive(sandbox.control);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->bytes, "still here");
}

}  // namespace
}  // namespace mayfly::worker
