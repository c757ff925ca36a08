// Code sandboxes: programs of this machine run in them, and see no more than was bound.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "worker/detail/binds.h"
#include "worker/seccomp.h"
#include "worker/test_sandbox.h"

namespace mayfly::worker {
namespace {

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t size; (size = ::read(fd, part.data(), part.size())) > 0;) text.append(part.data(), static_cast<std::size_t>(size));
  return text;
}

// What a program prints, its errors too. By fork and exec, as a host starts a user's program.
std::string run(std::vector<std::string> words) {
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return errno_of(-1);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(out[1], STDERR_FILENO);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    std::printf("exec: %s", std::strerror(errno));
    std::fflush(stdout);
    ::_exit(127);
  }
  ::close(out[1]);
  std::string text = child < 0 ? errno_of(-1) : read_all(out[0]);
  ::close(out[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return status == 0 ? text : text + " [" + os::describe_exit(status) + "]";
}

std::string shell(const std::string& script) { return run({"/bin/sh", "-c", script}); }

sockaddr_in address(const char* host, std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, host, &at.sin_addr);
  return at;
}

std::string connect_to(const sockaddr_in& at) {
  const os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return errno_of(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at));
}

std::string bind_line(const std::string& source, const std::string& target) { return source + "\t" + target + "\n"; }

class CodeSandboxTest : public SandboxTest {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "code_sandbox_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    std::ofstream(folder_ + "/app.py") << "def handler(event, context): return 1\n";
    std::filesystem::copy_file("/usr/bin/id", folder_ + "/id");
    ::chmod((folder_ + "/id").c_str(), 04755);
  }
  void TearDown() override {
    SandboxTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  // The machine's programs, a user's file, and a program that would run as root outside.
  std::string binds() const {
    std::string lines = bind_line("/usr", "/usr");
    for (const char* path : {"/bin", "/sbin", "/lib", "/lib64"})
      if (std::filesystem::exists(path) && !std::filesystem::is_symlink(path)) lines += bind_line(path, path);
    for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl", "/etc/localtime"})
      if (std::filesystem::exists(path)) lines += bind_line(path, path);
    return lines + bind_line(folder_ + "/app.py", "/var/task/app.py") + bind_line(folder_ + "/id", "/var/task/id");
  }
  std::string in_code_sandbox(const std::function<std::string()>& attempt) { return in_sandbox(attempt, binds()); }
  std::string refusal(std::string_view lines) {
    if (!zygote_) start([](os::Fd) {});
    TestSandbox sandbox;
    const auto answer = order(sandbox, lines);
    if (!answer) return "no answer";
    return read_as<domain::SandboxMade>(answer->bytes).head.kind == domain::MessageKind::sandbox_failed
               ? answer->bytes.substr(sizeof(domain::SandboxMade)) : "made";
  }
  std::string folder_;
};

TEST_F(CodeSandboxTest, AShellRunsAndPrints) {
  const std::string text = in_code_sandbox([] {
    return shell("echo $(id -u) $(id -un) $(pwd) $(hostname); umask; head -c 2 /dev/zero | wc -c; ls -d /bin/sh /etc/passwd\n"
                 "if [ -e /proc/self ]; then echo hi >/dev/stdout; else echo hi; fi");
  });
  EXPECT_EQ(text, "1000 sbx_user1051 / mayfly\n0022\n2\n/bin/sh\n/etc/passwd\nhi");
}

TEST_F(CodeSandboxTest, PythonRuns) {
  const os::Fd found([] {
    std::FILE* pipe = ::popen("python3 -c 'import sys; print(sys.base_prefix)'", "re");
    return pipe ? ::dup(::fileno(pipe)) : -1;
  }());
  std::string prefix = found ? read_all(found.get()) : "";
  if (prefix.empty()) GTEST_SKIP() << "no python3 on this machine";
  prefix.pop_back();
  const std::string lines = binds() + (prefix == "/usr" ? "" : bind_line(prefix, prefix));
  const std::string script =
      "import concurrent.futures, multiprocessing, os, pwd, socket, ssl, subprocess, sys, tempfile, threading\n"
      "sys.path.insert(0, '/var/task')\n"
      "import app\n"
      "print(app.handler({}, None), os.getuid(), subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())\n"
      "with concurrent.futures.ThreadPoolExecutor(4) as pool: print(sum(pool.map(abs, range(-4, 0))))\n"
      "with multiprocessing.get_context('fork').Pool(2) as pool: print(sum(pool.map(abs, range(-4, 0))))\n"
      "with tempfile.NamedTemporaryFile() as file: print(file.name.startswith('/tmp/'), file.write(b'12'))\n"
      "server = socket.create_server(('localhost', 9001))\n"
      "client = socket.create_connection(('127.0.0.1', 9001))\n"
      "server.accept()[0].send(b'pong')\n"
      "print(client.recv(9), socket.if_nameindex(), pwd.getpwuid(os.getuid()).pw_dir)\n";
  EXPECT_EQ(in_sandbox([&] { return run({prefix + "/bin/python3", "-c", script}); }, lines),
            "1 1000 child\n10\n10\nTrue 2\nb'pong' [(1, 'lo')] /tmp");
}

TEST_F(CodeSandboxTest, NothingElseOfTheOutsideIsThere) {
  EXPECT_EQ(in_code_sandbox([this] {
    std::string all;
    for (const std::string& path : std::vector<std::string>{"/root", "/home", "/work", "/etc/shadow", "/sys", "/run", folder_, "/dev/mem",
                                                            "/../../etc/shadow", "/var/lib"})
      if (::access(path.c_str(), F_OK) == 0) all += path + " ";
    return all + shell("cat /var/task/app.py; ls -A /tmp /dev/shm /var /var/task");
  }), "def handler(event, context): return 1\n/dev/shm:\n\n/tmp:\n\n/var:\ntask\n\n/var/task:\napp.py\nid");
}

TEST_F(CodeSandboxTest, OnlyItsOwnMemoryFoldersAreWritten) {
  EXPECT_EQ(in_code_sandbox([] {
    std::string all;
    for (const char* path : {"/x", "/usr/x", "/var/task/app.py", "/var/task/x", "/etc/passwd", "/dev/x", "/usr/bin/env", "/proc/self/comm"})
      all += ::open(path, O_CREAT | O_WRONLY, 0600) < 0 ? "" : std::string(path) + " ";
    return all + shell("printf '#!/bin/sh\\necho ran' >/tmp/run; chmod 755 /tmp/run; /tmp/run; cp /tmp/run /dev/shm/run; "
                       "/dev/shm/run 2>/dev/null || echo not there; head -c 600000000 /dev/zero >/tmp/big 2>/dev/null || echo full");
  }), "ran\nnot there\nfull");
}

TEST_F(CodeSandboxTest, TheNetworkIsLoopbackAlone) {
  const std::string name = std::string("mayfly-test-") + std::to_string(::getpid());
  sockaddr_un abstract{};
  abstract.sun_family = AF_UNIX;
  std::memcpy(abstract.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const os::Fd outside(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(outside.get(), reinterpret_cast<const sockaddr*>(&abstract), size), 0);
  ASSERT_EQ(::listen(outside.get(), 1), 0);
  EXPECT_EQ(in_code_sandbox([&] {
    std::string all;
    const os::Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in here = address("127.0.0.1", 9001);
    all += errno_of(::bind(server.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here)) + ", ";
    all += errno_of(::listen(server.get(), 1)) + ", ";
    for (const sockaddr_in& at : {here, address("192.0.2.1", 80), address("10.0.0.1", 80)}) all += connect_to(at) + ", ";
    const os::Fd local(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    all += errno_of(::connect(local.get(), reinterpret_cast<const sockaddr*>(&abstract), size)) + ", ";
    for (const int family : {AF_PACKET, 40 /* AF_VSOCK */, AF_ALG, AF_KEY}) all += ::socket(family, SOCK_RAW, 0) < 0 ? "" : "a socket, ";
    all += errno_of(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)) + ", " + errno_of(::socket(AF_NETLINK, SOCK_RAW, 4)) + ", ";
    return all + errno_of(::socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
  }), "allowed, allowed, allowed, Network is unreachable, Network is unreachable, Connection refused, Operation not permitted, "
      "Operation not permitted, Operation not permitted");
}

std::string listen_at(const char* host, std::uint16_t port) {
  const os::Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in here = address(host, port);
  if (const int bound = ::bind(server.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here); bound != 0) return errno_of(bound);
  return errno_of(::listen(server.get(), 1));
}

TEST_F(CodeSandboxTest, DestinationsStandOnItsLoopback) {
  const std::string lines = binds() + "@198.18.1.1\tapi.example\n@10.1.2.3\t\n@2001:db8::1\t\n";
  EXPECT_EQ(in_sandbox([] {
    std::string all;
    for (const char* host : {"198.18.1.1", "10.1.2.3", "127.0.0.1", "198.18.1.2"}) all += listen_at(host, 443) + ", ";
    for (const char* host : {"198.18.1.2", "10.1.2.4", "192.0.2.1"}) all += connect_to(address(host, 443)) + ", ";
    return all + shell("getent hosts api.example | tr -s ' '; getent hosts other.example || echo unknown");
  }, lines), "allowed, allowed, allowed, Cannot assign requested address, Network is unreachable, Network is unreachable, "
             "Network is unreachable, 198.18.1.1 api.example\nunknown");
  EXPECT_EQ(in_sandbox([] { return std::string("ran"); }, binds() + "@1.2.3\t\n"), "not set up: '1.2.3' is no address for a sandbox");
}

// Whoever holds a socket of the machine's network for a program can't make another one of it.
TEST_F(CodeSandboxTest, WhoCarriesConnectionsCanDoNothingElse) {
  EXPECT_EQ(in_code_sandbox([] {
    const os::Fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in to = address("127.0.0.1", 9001);
    const auto* at = reinterpret_cast<const sockaddr*>(&to);
    if (const auto filtered = apply_outbound_filter(); !filtered) return filtered.error().message;
    std::string managed;
    const auto call = [&](const char* what, long returned) { managed += returned < 0 && errno == EPERM ? "" : std::string(what) + " "; };
    call("connect", ::connect(made.get(), at, sizeof to));
    call("bind", ::bind(made.get(), at, sizeof to));
    call("listen", ::listen(made.get(), 1));
    call("socket", ::socket(AF_INET, SOCK_STREAM, 0));
    call("fast open", ::sendto(made.get(), "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, at, sizeof to));
    call("send to", ::sendto(made.get(), "x", 1, MSG_NOSIGNAL, at, sizeof to));
    msghdr message{};
    call("fast open message", ::sendmsg(made.get(), &message, MSG_FASTOPEN | MSG_NOSIGNAL));
    const int on = 1;
    call("option", ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    call("exec", ::execl("/bin/true", "true", nullptr));
    call("fork", ::syscall(SYS_fork));
    call("open", ::syscall(SYS_openat, AT_FDCWD, "/etc/hosts", O_RDONLY));
    call("pidfd_getfd", ::syscall(SYS_pidfd_getfd, 0, 0, 0));
    call("kill", ::syscall(SYS_kill, 1, 0));
    call("executable memory", ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    return managed + "done";
  }), "done");
}

TEST_F(CodeSandboxTest, ProcShowsItsOwnProcesses) {
  const std::string seen = in_code_sandbox([] {
    if (::access("/proc/self", F_OK) != 0) return std::string("none");
    return shell("cd /proc; ls -d [0-9]* | wc -l; cat /proc/1/environ 2>&1; ls /proc/1/fd 2>&1; true");
  });
  if (seen == "none") GTEST_SKIP() << sandbox_.read_log();
  const int count = std::atoi(seen.c_str());
  EXPECT_GE(count, 1);
  EXPECT_LE(count, 6) << seen;
  EXPECT_TRUE(seen.contains("Permission denied") || seen.contains("No such file")) << seen;
}

TEST_F(CodeSandboxTest, NothingThatLeadsOutWorks) {
  EXPECT_EQ(in_code_sandbox([] {
    std::string managed;
    const auto call = [&](const char* what, auto number, auto... arguments) {
      if (::syscall(number, arguments...) >= 0) managed += std::string(what) + " ";
    };
    call("mount", SYS_mount, "x", "/tmp", "tmpfs", 0, nullptr);
    call("remount", SYS_mount, nullptr, "/usr", nullptr, MS_REMOUNT | MS_BIND, nullptr);
    call("umount", SYS_umount2, "/var/task/app.py", MNT_DETACH);
    call("open_tree", SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE);
    call("fsopen", SYS_fsopen, "tmpfs", 0);
    call("pivot_root", SYS_pivot_root, "/tmp", "/tmp");
    call("chroot", SYS_chroot, "/tmp");
    for (const int space : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID}) call("unshare", SYS_unshare, space);
    call("clone", SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    call("clone3", SYS_clone3, nullptr, 0);
    call("setns", SYS_setns, 0, 0);
    call("ptrace", SYS_ptrace, PTRACE_ATTACH, 1, nullptr, nullptr);
    call("traceme", SYS_ptrace, PTRACE_TRACEME, 0, nullptr, nullptr);
    call("read memory", SYS_process_vm_readv, ::getpid(), nullptr, 0, nullptr, 0, 0);
    call("pidfd_getfd", SYS_pidfd_getfd, 0, 0, 0);
    call("setuid", SYS_setuid, 0);
    call("setresuid", SYS_setresuid, 0, 0, 0);
    call("setgroups", SYS_setgroups, 0, nullptr);
    call("mknod", SYS_mknod, "/tmp/null", S_IFCHR | 0600, 0x103);
    call("keyctl", SYS_keyctl, 0, -3, 1);
    call("bpf", SYS_bpf, BPF_PROG_LOAD, nullptr, 0);
    call("perf", SYS_perf_event_open, nullptr, 0, -1, -1, 0);
    call("userfaultfd", SYS_userfaultfd, 0);
    call("io_uring", SYS_io_uring_setup, 8, nullptr);
    call("handle", SYS_name_to_handle_at, AT_FDCWD, "/", nullptr, nullptr, 0);
    call("personality", SYS_personality, ADDR_NO_RANDOMIZE);
    call("host name", SYS_sethostname, "x", 1);
    call("init's memory", SYS_openat, AT_FDCWD, "/proc/1/mem", O_RDWR, 0);
    ::kill(1, SIGKILL);
    const int newer = ::syscall(460, 0) < 0 ? errno : 0;
    managed += errno_of(::personality(0xffffffff)) + ", " + errno_of(::mkfifo("/tmp/fifo", 0600)) + ", ";
    return managed + "newer: " + std::strerror(newer) + ", " + shell("/var/task/id -u; mount -t tmpfs x /tmp 2>/dev/null || echo no mount");
  }), "allowed, allowed, newer: Function not implemented, 1000\nno mount");
}

TEST_F(CodeSandboxTest, ItsProcessesEndWithTheNodesEndOfTheStatusSocket) {
  start([](os::Fd control) {
    if (::fork() == 0) {
      ::setsid();
      say(control, "daemon");
      ::execl("/bin/sleep", "sleep", "1000", nullptr);
    }
  });
  TestSandbox sandbox = make(binds());
  const auto hello = receive(sandbox.control);
  ASSERT_TRUE(hello);
  const auto process = os::open_process(hello->pid);
  ASSERT_TRUE(process);
  sandbox.status.reset();
  EXPECT_TRUE(readable(process->get(), 1s)) << "a program lives on after its node has gone";
}

TEST_F(CodeSandboxTest, OddOrdersAreRefusedAndTheZygoteGoesOn) {
  EXPECT_TRUE(refusal("/usr\t/proc\n").contains("not '/proc'"));
  EXPECT_TRUE(refusal("/usr /usr\n").contains("SOURCE<tab>TARGET"));
  EXPECT_NE(refusal(std::string(kBindsTextMax + 1, 'x')), "made");
  EXPECT_EQ(refusal({}), "made");
}

TEST_F(CodeSandboxTest, ASourceThatIsNotThereIsSaid) {
  EXPECT_EQ(in_sandbox([] { return std::string("ran"); }, "/not/there\t/opt\n"),
            "not set up: open_tree /not/there: No such file or directory");
}

TEST(Binds, Table) {
  const std::vector<Bind> two{{"/usr", "/usr"}, {"/a b", "/opt/x"}};
  EXPECT_EQ(read_outside("/usr\t/usr\n/a b\t/opt/x\n")->binds, two);
  EXPECT_TRUE(read_outside("")->binds.empty());
  const std::vector<NamedAddress> hosts{{"198.18.1.1", "api.example.com"}, {"2001:db8::1", ""}};
  EXPECT_EQ(read_outside("@198.18.1.1\tapi.example.com\n/usr\t/usr\n@2001:db8::1\t\n")->hosts, hosts);
  for (const char* text : {"@\t\n", "@\ta\n", "@198.18.1.1\n", "@198.18.1.1\ta b\n", "@198.18.1.1 \ta\n", "@198.18.1.1\ta\tb\n"})
    EXPECT_FALSE(read_outside(text)) << text;
  for (const char* text : {"/a\t/b", "/a\n", "\t/b\n", "a\t/b\n", "/a\tb\n", "/a\t/\trw\n", "/a\t\n", "/a\t/b/../c\n", "/a\t/b/\n",
                           "/a\t/b//c\n", "/a\t/./b\n", "/a\t/proc\n", "/a\t/proc/1\n",
                           "/a\t/dev/sda\n", "/a\t/tmp/x\n", "/a\t/b\t/c\n", "/a\t/..\n"})
    EXPECT_FALSE(read_outside(text)) << text;
  EXPECT_TRUE(read_outside("/a\t/\n")) << "a container's root";
  EXPECT_TRUE(read_outside("/a\t/process\n/a\t/devices\n/a\t/tmp2\n/a\t/b..c\n"));
  std::string many;
  for (std::size_t i = 0; i < kBindsMax; ++i) many += "/a\t/b\n";
  EXPECT_TRUE(read_outside(many));
  EXPECT_FALSE(read_outside(many + "/a\t/b\n"));
}

}  // namespace
}  // namespace mayfly::worker
