// What is touched is recorded, and read ahead next time: counted in the kernel's own faults, never in time.
#include "worker/prefetch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "worker/touch_watch.h"

namespace mayfly::worker {
namespace {

constexpr std::uint64_t kUnit = domain::kWorkingSetUnit;
constexpr std::uint64_t kSize = (512 << 20) + 100;
constexpr std::uint64_t kApart = 32 << 20;  // further than machines read ahead, twice over
constexpr std::uint64_t kPlaces = kSize / kApart;
// The kernel begins to read what it is asked for without waiting; where the disk is quick enough, it is there before the answer, and then
// all seems to have been there. So a try counts where that did not happen.
constexpr int kTries = 50, kAgain = 255;

// A file that has blocks only where it is touched; forgotten by the page cache, so that a touch waits for the disk.
class PrefetchTest : public testing::Test {
 protected:
  PrefetchTest() : file_(::open((testing::TempDir() + "mayfly-prefetch-" + std::to_string(::getpid())).c_str(), O_RDWR | O_CREAT, 0600)) {
    ::unlink((testing::TempDir() + "mayfly-prefetch-" + std::to_string(::getpid())).c_str());
    EXPECT_EQ(::ftruncate(file_.get(), kSize), 0);
    const std::string data(kUnit, 'x');
    for (std::uint64_t i = 0; i < kPlaces; ++i)
      EXPECT_EQ(::pwrite(file_.get(), data.data(), data.size(), static_cast<off_t>(i * kApart)), static_cast<ssize_t>(data.size()));
    EXPECT_EQ(::fsync(file_.get()), 0);
    forget_pages();
  }
  os::Mapping map() const { return os::map_file(file_.get(), kSize, os::Access::read).value(); }
  // What is still on its way from the disk, read ahead by an earlier touch, is not forgotten but comes: until nothing is there.
  void forget_pages() const {
    const os::Mapping mapping = map();
    std::vector<unsigned char> there((kSize + 4095) / 4096);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_EQ(::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
      ASSERT_EQ(::mincore(const_cast<std::byte*>(mapping.data()), mapping.size(), there.data()), 0);
      if (std::ranges::none_of(there, [](unsigned char page) { return (page & 1) != 0; })) return;
      ::usleep(2000);
    }
  }

  // A status of 0 to 255 of what ran in a process of its own.
  static int in_a_fork(const std::function<int()>& work) {
    const int pid = ::fork();
    if (pid == 0) ::_exit(work());
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // Not in their order, which the kernel would learn.
  static void touch(const os::Mapping& mapping) {
    for (std::uint64_t i = 0; i < kPlaces; ++i)
      static_cast<void>(const_cast<const volatile std::byte*>(mapping.data())[(i * 37 % kPlaces) * kApart + 5000]);
  }
  static int waits_for_the_disk(const os::Mapping& mapping) {
    rusage before{}, after{};
    ::getrusage(RUSAGE_SELF, &before);
    touch(mapping);
    ::getrusage(RUSAGE_SELF, &after);
    return static_cast<int>(after.ru_majflt - before.ru_majflt);
  }

  os::Fd file_;
};

TEST_F(PrefetchTest, what_a_fork_touches_is_noted_exactly) {
  auto watch = TouchWatch::make(kSize).value();
  ASSERT_EQ(in_a_fork([&] {
    const os::Mapping mapping = map();
    if (!watch.watch(mapping)) return 1;
    touch(mapping);
    return static_cast<int>(const_cast<const volatile std::byte*>(mapping.data())[kSize - 1]);  // 0: nothing was written there
  }), 0);
  const domain::WorkingSet set = watch.touched();
  ASSERT_EQ(set.ranges.size(), kPlaces + 1);
  for (std::uint64_t i = 0; i < kPlaces; ++i) EXPECT_EQ(set.ranges[i], (domain::PageRange{i * kApart, kUnit}));
  EXPECT_EQ(set.ranges.back(), (domain::PageRange{kSize - 100, 100}));
}

TEST_F(PrefetchTest, another_fault_still_ends_the_process) {
  auto watch = TouchWatch::make(kSize).value();
  const int pid = ::fork();
  if (pid == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    const os::Mapping mapping = map();
    if (!watch.watch(mapping)) ::_exit(1);
    const os::Mapping shut(::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
    ::_exit(static_cast<int>(*const_cast<const volatile std::byte*>(shut.data())));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
#ifdef __SANITIZE_ADDRESS__
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#else
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
#endif
}

TEST_F(PrefetchTest, the_next_start_does_not_wait_for_what_the_first_touched) {
  const int alone = in_a_fork([&] { return waits_for_the_disk(map()); });
  std::vector<domain::PageRange> touched;
  for (std::uint64_t i = 0; i < kPlaces; ++i) touched.push_back({i * kApart, 8192});
  const domain::WorkingSet set = domain::working_set_of(kSize, touched);
  int ahead = kAgain;
  for (int i = 0; i < kTries && ahead == kAgain; ++i) {
    forget_pages();
    ahead = in_a_fork([&] {
      const os::Mapping mapping = map();
      if (prefetch(file_.get(), mapping, set, UINT64_MAX) != kPlaces * kUnit) return kAgain;
      return waits_for_the_disk(mapping);
    });
  }
  if (alone == 0) GTEST_SKIP() << "the folder of tests is in memory: nothing waits for a disk";
  EXPECT_GE(alone, static_cast<int>(kPlaces / 2)) << "each place was waited for";
  EXPECT_LE(ahead, alone / 8);
}

TEST_F(PrefetchTest, what_is_in_memory_is_left_alone_and_a_wrong_record_too) {
  const os::Mapping mapping = map();
  const domain::WorkingSet set = domain::working_set_of(kSize, {{0, kUnit}, {kApart, kUnit}, {2 * kApart, kUnit}});
  EXPECT_EQ(prefetch(file_.get(), mapping, domain::working_set_of(kSize - 1, {{0, kUnit}}), UINT64_MAX), 0U) << "another file's";
  EXPECT_EQ(prefetch(file_.get(), mapping, set, 0), 0U);
  if (in_a_fork([&] { return waits_for_the_disk(map()); }) == 0) GTEST_SKIP() << "the folder of tests is in memory";
  std::uint64_t few = 0, all = 0;
  for (int i = 0; i < kTries && (few == 0 || all == 0); ++i) {
    forget_pages();
    few = prefetch(file_.get(), mapping, set, kUnit);
    all = prefetch(file_.get(), mapping, set, UINT64_MAX);
  }
  EXPECT_EQ(few, kUnit) << "no more than it may";
  EXPECT_EQ(all, 3 * kUnit);
  EXPECT_EQ(prefetch(file_.get(), mapping, set, UINT64_MAX), 0U) << "all of it is there";
}

}  // namespace
}  // namespace mayfly::worker
