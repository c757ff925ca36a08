// What must hold when somebody is hostile or dies: the probe's attempts, and kill -9 of the node.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "node.h"

namespace mayfly::security {

int run_doomed_node() {
  Node node;
  std::vector<int> pids;
  const ProcessId parent = node.start(domain::Role::template_, "echo");
  if (!node.ready(parent)) return 1;
  pids.push_back(node.launcher->pid_of(parent));
  for (int i = 0; i < 3; ++i) {
    const ProcessId id = i == 0 ? node.start(domain::Role::instance, "echo") : node.fork(parent);
    if (!node.ready(id) || !node.send(id, i < 2 ? "spin" : "idle")) return 1;
    node.launcher->flush();
    pids.push_back(node.launcher->pid_of(id));
  }
  pids.push_back(node.launcher->zygote_pid());
  for (const int pid : pids) std::printf("%d ", pid);
  std::printf("\n");
  std::fflush(stdout);
  for (;;) node.until([] { return false; });
}

namespace {

const std::string kEngine = MAYFLY_DEPS "/onnxruntime-" MAYFLY_ENGINE_VERSION "/lib/libonnxruntime.so.1";

TEST(Escape, NothingThatAHostileModelTriesWorks) {
  Node node({.engine_library = kEngine, .blanks = 1});
  const ProcessId id = node.start(domain::Role::probe, "probe");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].error.message << node.heard[id].death.reason;
  const std::string result = node.heard[id].report.result;
  EXPECT_TRUE(result.ends_with("\"managed\":[]}")) << result;
  EXPECT_TRUE(result.starts_with("{\"tried\":")) << result;
  EXPECT_GE(std::atoi(result.c_str() + 9), 70) << result;
  ASSERT_TRUE(node.gone(id));
  for (const char* call : {"openat", "socket", "kill", "fork", "clone", "execve", "ptrace",
                           "process_vm_readv", "mount", "setuid", "unshare", "bpf"})
    EXPECT_TRUE(node.heard[id].log.contains(std::string("tried ") + call + "\n")) << call << " is not in the log:\n" << node.heard[id].log;
}

int processes_called(const std::string& name) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string comm;
    found += std::getline(std::ifstream(entry.path() / "comm"), comm) && comm == name;
  }
  return found;
}

TEST(Escape, ForksWithoutEndComeToTheLimitAndEndWithTheirSandbox) {
  Node node({.blanks = 1});
  if (!node.launcher->note().empty()) GTEST_SKIP() << node.launcher->note();
  ASSERT_EQ(processes_called("fork-bomb"), 0) << "of another run";
  const ProcessId other = node.start(domain::Role::instance, "echo");
  ASSERT_TRUE(node.ready(other));
  const ProcessId id = node.start(domain::Role::check, "forks");
  ASSERT_TRUE(node.ready(id)) << node.heard[id].error.message << node.heard[id].death.reason;
  EXPECT_GT(processes_called("fork-bomb"), 1);
  EXPECT_LT(processes_called("fork-bomb"), 200);
  EXPECT_TRUE(node.until([&] { return node.heard[id].log.contains(" failed: Resource temporarily unavailable\n"); })) << node.heard[id].log;
  ASSERT_TRUE(node.send(other, "still"));
  EXPECT_TRUE(node.replies(other, 1)) << "its neighbour is not disturbed";
  ASSERT_TRUE(node.gone(id));
  EXPECT_TRUE(node.until([] { return processes_called("fork-bomb") == 0; }));
}

TEST(Escape, NothingIsLeftASecondAfterTheNodeWasKilled) {
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  const pid_t doomed = ::fork();
  if (doomed == 0) {
    ::dup2(out[1], 1);
    ::execl("/proc/self/exe", "security_tests", "doomed", nullptr);
    ::_exit(127);
  }
  ::close(out[1]);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(::fdopen(out[0], "r"), std::fclose);
  std::vector<os::Fd> processes;
  for (int pid = 0; processes.size() < 5 && std::fscanf(file.get(), "%d", &pid) == 1;) {
    auto process = os::open_process(pid);
    ASSERT_TRUE(process) << pid;
    processes.push_back(std::move(*process));
  }
  ASSERT_EQ(processes.size(), 5U);
  ::kill(doomed, SIGKILL);
  ::waitpid(doomed, nullptr, 0);
  const Instant killed = os::monotonic_now();
  for (const os::Fd& process : processes) {
    pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ended, 1, 1000), 1) << "a process outlives its node";
  }
  EXPECT_LT(os::monotonic_now() - killed, 1s);
}

}  // namespace
}  // namespace mayfly::security
