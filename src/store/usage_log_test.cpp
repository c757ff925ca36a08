#include "store/usage_log.h"

#include <gtest/gtest.h>

#include <future>
#include <map>

#include "base/random.h"
#include "os/disk.h"
#include "store/detail/crc32c.h"
#include "store/test_folder.h"

namespace mayfly::store {
namespace {

constexpr std::int64_t kHour = 3'600'000'000;
constexpr std::int64_t kStart = 480'000 * kHour;

WallTime at(std::int64_t us) { return {std::chrono::microseconds(us)}; }

domain::UsageRecord record(std::uint64_t version, std::int64_t arrived_us) {
  return {.function = version / 10,
          .version = version,
          .arrived_us = arrived_us,
          .queue_us = 3,
          .run_ns = 5000,
          .total_us = 11,
          .cpu_ns = 7000,
          .billed_us = 1000,
          .memory_bytes = 1 << 29,
          .rows = 2,
          .version_number = static_cast<std::uint32_t>(version % 10)};
}

class UsageLogTest : public testing::Test {
 protected:
  void open(UsageOptions options = {.segment = {64 + 160 * 100}}) {
    log_.reset();
    auto opened = UsageLog::open(folder_ / "usage", folder_ / "usage.db", options);
    ASSERT_TRUE(opened) << opened.error().message;
    log_ = *std::move(opened);
  }
  std::vector<UsageSum> query(std::int64_t since, std::int64_t until, FunctionId function = {}) {
    auto sums = log_->query(function, at(since), at(until));
    EXPECT_TRUE(sums) << (sums ? "" : sums.error().message);
    return sums ? *sums : std::vector<UsageSum>();
  }
  TestFolder folder_;
  std::unique_ptr<UsageLog> log_;
};

TEST(Crc32c, AgreesWithTheStandard) {
  const std::string_view text = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(text))), 0xe3069283U);
}

TEST_F(UsageLogTest, ARecordIsThereAtOnceAndAfterReopening) {
  open();
  for (int i = 0; i < 250; ++i) log_->append(record(11, kStart + i));  // two full segments and a half
  for (int round = 0; round < 3; ++round) {
    const auto recent = log_->recent(0, 1000, {});
    ASSERT_EQ(recent.size(), 250U);
    EXPECT_EQ(recent.front().sequence, 1U);
    EXPECT_EQ(recent.back().sequence, 250U);
    EXPECT_EQ(recent.back().record.arrived_us, kStart + 249);
    const auto sums = query(0, kStart + kHour);
    ASSERT_EQ(sums.size(), 1U);
    EXPECT_EQ(sums[0].invocations, 250U);
    EXPECT_EQ(sums[0].billed_us, 250'000U);
    EXPECT_DOUBLE_EQ(sums[0].gb_seconds, 0.125);
    EXPECT_EQ(sums[0].total_us_max, 11U);
    EXPECT_EQ(sums[0].version_number, 1);
    EXPECT_EQ(sums[0].function, FunctionId{1});
    if (round == 1) {
      ASSERT_TRUE(log_->fold(at(kStart + kHour)));
    }
    if (round != 1) open();
  }
}

TEST_F(UsageLogTest, RecentIsTheNewestOfAFunctionOldestFirst) {
  open();
  for (int i = 0; i < 300; ++i) log_->append(record(i % 2 ? 11 : 21, kStart + i));
  domain::UsageRecord overhead = record(11, kStart + 300);
  overhead.kind = 1;
  log_->append(overhead);
  const auto newest = log_->recent(0, 3, {1});
  ASSERT_EQ(newest.size(), 3U);
  EXPECT_EQ(newest[0].sequence, 296U);
  EXPECT_EQ(newest[2].sequence, 300U);
  const auto after = log_->recent(296, 100, {1});
  ASSERT_EQ(after.size(), 2U);
  EXPECT_EQ(after[0].sequence, 298U);
  EXPECT_TRUE(log_->recent(301, 100, {}).empty());
}

TEST_F(UsageLogTest, KindsAndOutcomesAreToldApart) {
  open();
  domain::UsageRecord failed = record(11, kStart), cold = failed, overhead = failed;
  failed.outcome = 8;
  cold.cold = 2;
  overhead.kind = 1;
  for (const auto& r : {failed, cold, overhead}) log_->append(r);
  for (int round = 0; round < 2; ++round) {
    const auto sums = query(kStart, kStart + kHour);
    ASSERT_EQ(sums.size(), 1U);
    EXPECT_EQ(sums[0].invocations, 2U);
    EXPECT_EQ(sums[0].errors, 1U);
    EXPECT_EQ(sums[0].cold_starts, 1U);
    EXPECT_EQ(sums[0].cpu_ns, 14000U);
    EXPECT_EQ(sums[0].overhead_cpu_ns, 7000U);
    ASSERT_TRUE(log_->fold(at(kStart)));
  }
}

// Against a plain list: spans of any shape, folds, restarts.
TEST_F(UsageLogTest, EveryRecordCountsExactlyOnce) {
  open();
  Random random(3);
  std::vector<domain::UsageRecord> all;
  std::int64_t now = kStart;
  for (int step = 0; step < 400; ++step) {
    for (int n = random.between(0, 40); n > 0; --n) {
      now += random.between(0, 60'000'000);
      all.push_back(record(static_cast<std::uint64_t>(random.between(10, 13)), now - random.between(0, 900'000'000)));
      log_->append(all.back());
    }
    if (random.chance(0.2)) {
      ASSERT_TRUE(log_->fold(at(now)));
    }
    if (random.chance(0.05)) open();
    if (!random.chance(0.3)) continue;
    std::int64_t since = kStart + static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(now - kStart + 1)) - kHour;
    std::int64_t until = since + 1 + static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(5 * kHour));
    if (random.chance(0.2)) since = since / kHour * kHour;
    if (random.chance(0.2)) until = until / kHour * kHour + kHour;
    const FunctionId function{random.chance(0.5) ? 1ULL : 0ULL};
    std::map<std::uint64_t, std::uint64_t> expected, got;
    for (const auto& r : all)
      if (r.arrived_us >= since && r.arrived_us < until) expected[r.version] += r.billed_us;
    for (const UsageSum& sum : query(since, until, function)) {
      EXPECT_TRUE(sum.exact);
      got[sum.version.number] = sum.billed_us;
    }
    ASSERT_EQ(got, expected) << "step " << step << " since " << since << " until " << until;
  }
  EXPECT_GT(all.size(), 4000U);
}

TEST_F(UsageLogTest, OldSegmentsGoAndTheirSumsStay) {
  open({.segment = {64 + 160 * 100}, .keep = std::chrono::hours(24), .keep_max = {10 * 16064}});
  for (int i = 0; i < 3050; ++i) log_->append(record(11, kStart + i));
  EXPECT_EQ(os::list_folder(folder_ / "usage")->size(), 31U);
  ASSERT_TRUE(log_->fold(at(kStart)));
  EXPECT_EQ(os::list_folder(folder_ / "usage")->size(), 10U);
  EXPECT_EQ(query(kStart, kStart + kHour)[0].invocations, 3050U);
  // The edge hour's records are gone in part: the whole hour counts, and says so.
  const auto edge = query(kStart + 1, kStart + kHour);
  EXPECT_EQ(edge[0].invocations, 3050U);
  EXPECT_FALSE(edge[0].exact);
  ASSERT_TRUE(log_->fold(at(kStart + 25 * kHour)));
  EXPECT_EQ(os::list_folder(folder_ / "usage")->size(), 1U);
  open();
  log_->append(record(11, kStart + kHour));
  EXPECT_EQ(log_->recent(0, 1, {})[0].sequence, 3051U);
  EXPECT_EQ(query(kStart, kStart + 2 * kHour)[0].invocations, 3051U);
}

TEST_F(UsageLogTest, ATornRecordEndsTheLogThere) {
  open();
  for (int i = 0; i < 50; ++i) log_->append(record(11, kStart + i));
  log_.reset();
  const std::string path = folder_ / "usage/" + os::list_folder(folder_ / "usage")->at(0);
  {
    const auto fd = os::open_file(path, os::OpenMode::read_write);
    const auto mapping = os::map_file(fd->get(), 64 + 160 * 50, os::Access::write);
    mapping->data()[60] ^= std::byte{1};              // the head: as if it had not been sealed
    mapping->data()[64 + 160 * 49 + 8] ^= std::byte{1};  // the last record
  }
  open();
  EXPECT_EQ(log_->recent(0, 100, {}).size(), 49U);
  log_->append(record(11, kStart));
  EXPECT_EQ(log_->recent(0, 100, {}).back().sequence, 50U);
}

TEST_F(UsageLogTest, ASpareSegmentIsMadeReadyAndUsed) {
  open();
  for (int i = 0; i < 60; ++i) log_->append(record(11, kStart + i));
  ASSERT_TRUE(log_->fold(at(kStart)));
  EXPECT_EQ(os::list_folder(folder_ / "usage")->size(), 2U);
  for (int i = 0; i < 60; ++i) log_->append(record(11, kStart + i));
  EXPECT_EQ(os::list_folder(folder_ / "usage")->size(), 2U);
  EXPECT_EQ(query(kStart, kStart + kHour)[0].invocations, 120U);
  ASSERT_TRUE(log_->fold(at(kStart)));
  open();  // an unused spare is removed
  EXPECT_EQ(query(kStart, kStart + kHour)[0].invocations, 120U);
}

// One thread appends while another folds, removes and asks, as in the node. Run with the thread sanitizer.
TEST_F(UsageLogTest, FoldingDoesNotDisturbAppending) {
  open({.segment = {64 + 160 * 100}, .keep_max = {5 * 16064}});
  std::atomic<bool> done = false;
  auto folding = std::async(std::launch::async, [&] {
    std::uint64_t seen = 0;
    while (!done) {
      EXPECT_TRUE(log_->fold(at(kStart)));
      const auto sums = log_->query({}, at(kStart), at(kStart + kHour));
      EXPECT_TRUE(sums);
      if (sums->empty()) continue;
      EXPECT_GE(sums->front().invocations, seen);
      seen = sums->front().invocations;
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    log_->append(record(11, kStart + i));
    if (i % 1000 != 0) continue;
    EXPECT_EQ(log_->recent(0, 1, {}).size(), 1U);
  }
  done = true;
  folding.get();
  EXPECT_EQ(log_->lost(), 0U);
  EXPECT_EQ(query(kStart, kStart + kHour)[0].invocations, 20'000U);
}

}  // namespace
}  // namespace mayfly::store
