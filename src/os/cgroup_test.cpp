#include "os/cgroup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <utility>

namespace mayfly::os {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
void put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

// A made-up /proc and /sys/fs/cgroup: what the kernel would make in a group is put there by the test.
class FakeTree : public ::testing::Test {
 protected:
  FakeTree() {
    char name[] = "/tmp/mayfly-cgroup-XXXXXX";
    root = ::mkdtemp(name);
    fs::create_directories(root / "proc");
  }
  ~FakeTree() override { fs::remove_all(root); }
  fs::path folder(const fs::path& parent) {
    for (const auto& entry : fs::directory_iterator(parent))
      if (entry.path().filename().string().starts_with("mayfly-") && !entry.path().string().ends_with("-node")) return entry.path();
    return {};
  }
  fs::path root;
};

TEST_F(FakeTree, VersionOneIsFoundBelowTheNodesOwnGroups) {
  for (const char* controller : {"memory", "cpu", "pids"}) fs::create_directories(root / controller / "a/b");
  put(root / "proc/mountinfo", "31 23 0:28 / " + root.string() + "/memory rw - cgroup cgroup rw,memory\n"
                               "32 23 0:29 /docker " + root.string() + "/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                               "33 23 0:30 / " + root.string() + "/pids rw - cgroup cgroup rw,pids\n");
  put(root / "proc/cgroup", "3:memory:/a/b\n2:cpu,cpuacct:/docker/a\n1:pids:/\n0::/\n");
  const auto groups = Cgroups::open((root / "proc").string(), 1);
  ASSERT_TRUE(groups->works()) << groups->note();
  groups->settle();
  const fs::path memory = folder(root / "memory/a/b") / "s1", cpu = folder(root / "cpu/a") / "s1", pids = folder(root / "pids") / "s1";
  ASSERT_TRUE(fs::exists(memory) && fs::exists(cpu) && fs::exists(pids));
  for (const char* file : {"memory.limit_in_bytes", "cgroup.procs"}) put(memory / file, "");
  for (const char* file : {"cpu.shares", "cpu.cfs_quota_us", "cgroup.procs"}) put(cpu / file, "");
  for (const char* file : {"pids.max", "cgroup.procs"}) put(pids / file, "");
  put(cpu / "cpuacct.usage", "1000");
  put(memory / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  Cgroups::Group group = groups->take();
  ASSERT_TRUE(groups->limit(group, {.memory_max = 512_MiB, .cpu = 0.5, .processes_max = 9}));
  groups->put_in(group, 1);
  groups->settle();
  EXPECT_EQ(text_of(memory / "memory.limit_in_bytes"), "536870912");
  EXPECT_EQ(text_of(cpu / "cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(text_of(cpu / "cpu.shares"), "512");
  EXPECT_EQ(text_of(pids / "pids.max"), "9");
  EXPECT_EQ(text_of(pids / "cgroup.procs"), "1");
  put(cpu / "cpuacct.usage", "4500");
  put(memory / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  put(memory / "memory.usage_in_bytes", "77");
  EXPECT_EQ(groups->usage(group).cpu, Duration(3500));
  EXPECT_EQ(groups->usage(group).out_of_memory, 1U);
  EXPECT_EQ(groups->usage(group).memory.count, 77U);
}

TEST_F(FakeTree, VersionTwoMovesTheNodeAsideAndHandsControllersDown) {
  fs::create_directories(root / "cg/unit");
  put(root / "proc/mountinfo", "31 23 0:28 / " + (root / "cg").string() + " rw - cgroup2 cgroup2 rw\n");
  put(root / "proc/cgroup", "0::/unit\n");
  put(root / "cg/unit/cgroup.controllers", "cpu memory pids\n");
  put(root / "cg/unit/cgroup.subtree_control", "");
  // The folder's own file can't be there before the folder is: the kernel makes it, here nobody does.
  const auto groups = Cgroups::open((root / "proc").string(), 1);
  EXPECT_FALSE(groups->works());
  EXPECT_EQ(text_of(root / "cg/unit/cgroup.subtree_control"), "+memory +cpu +pids");
  EXPECT_NE(groups->note().find("cgroup.subtree_control"), std::string::npos) << groups->note();
}

TEST_F(FakeTree, WithoutControllersTheNoteSaysWhatToDo) {
  put(root / "proc/mountinfo", "");
  put(root / "proc/cgroup", "");
  const auto groups = Cgroups::open((root / "proc").string());
  EXPECT_FALSE(groups->works());
  EXPECT_FALSE(static_cast<bool>(groups->take()));
  EXPECT_NE(groups->note().find("Delegate=yes"), std::string::npos) << groups->note();
}

TEST_F(FakeTree, WhatADeadNodeLeftIsRemovedAndWhatALivingOneHasIsNot) {
  fs::create_directories(root / "memory/mayfly-1/s1");
  fs::create_directories(root / "memory/mayfly-1/s2");
  put(root / "proc/mountinfo", "31 23 0:28 / " + root.string() + "/memory rw - cgroup cgroup rw,memory\n");
  put(root / "proc/cgroup", "3:memory:/\n");
  const auto first = Cgroups::open((root / "proc").string(), 1);
  EXPECT_FALSE(fs::exists(root / "memory/mayfly-1"));
  const fs::path own = folder(root / "memory");
  const auto second = Cgroups::open((root / "proc").string(), 1);
  ASSERT_TRUE(second->works()) << second->note();
  EXPECT_TRUE(fs::exists(own));
  EXPECT_TRUE(fs::exists(own.string() + "-1"));
}

TEST(Cgroups, TheKernelLimitsAndCounts) {
  const auto groups = Cgroups::open();
  if (!groups->works()) GTEST_SKIP() << groups->note();
  Cgroups::Group group = groups->take();
  const GroupLimits limits{.memory_max = 16_MiB, .cpu = 1, .processes_max = 4};
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    if (::read(go[0], &byte, 1) != 1) ::_exit(1);
    for (;;) {
      void* at = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at != MAP_FAILED) std::memset(at, 1, 1 << 20);
    }
  }
  groups->put_in(group, child, &limits);
  groups->settle();
  EXPECT_EQ(groups->take_failure(), "");
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(groups->usage(group).out_of_memory, 1U);
  EXPECT_GT(groups->usage(group).cpu, Duration(0));
  groups->give_back(std::move(group));
  EXPECT_FALSE(static_cast<bool>(group));
}

// A child that counts in memory which it shares with the test.
class Counting : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!groups->works() || !groups->can_freeze()) GTEST_SKIP() << "no freezer: " << groups->note();
    auto* const shared = ::mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    count = new (shared) Count(0);
    child = ::fork();
    if (child == 0)
      for (;; ::usleep(100)) ++*count;
    groups->put_in(group, child);
    groups->settle();
  }
  void TearDown() override {
    if (child > 0) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
    if (count) ::munmap(count, sizeof(Count));
  }
  // Whether it counts, seen within 2 s; and whether it is still, seen for 50 ms.
  bool goes_on() const {
    const std::uint64_t before = *count;
    for (int look = 0; look < 2000 && *count == before; ++look) ::usleep(1000);
    return *count != before;
  }
  bool stands() const {
    for (int look = 0; look < 40; ++look) {
      const std::uint64_t before = *count;
      ::usleep(50'000);
      if (*count == before) return true;
    }
    return false;
  }
  using Count = std::atomic<std::uint64_t>;
  std::unique_ptr<Cgroups> groups = Cgroups::open();
  Cgroups::Group group = groups->take();
  Count* count = nullptr;
  pid_t child = -1;
};

TEST_F(Counting, WhatIsFrozenStandsUntilItIsThawed) {
  EXPECT_TRUE(goes_on());
  groups->freeze(group);
  groups->settle();
  EXPECT_TRUE(stands());
  groups->thaw(group);
  EXPECT_TRUE(goes_on());
  for (int i = 0; i < 20; ++i) {
    groups->freeze(group);
    groups->thaw(group);
  }
  groups->settle();
  EXPECT_TRUE(goes_on()) << "the last word counts";
  EXPECT_EQ(groups->take_failure(), "");
}

TEST_F(Counting, WhatIsFrozenCanBeKilledAndItsGroupUsedAgain) {
  groups->freeze(group);
  groups->settle();
  ::kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(std::exchange(child, -1), &status, 0) > 0 && WIFSIGNALED(status), true);
  groups->give_back(std::move(group));
  groups->settle();
  EXPECT_EQ(groups->take_failure(), "");
}

}  // namespace
}  // namespace mayfly::os
