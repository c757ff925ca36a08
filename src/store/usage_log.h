// A record of each invocation: the bill and the log in one. append() is a copy into mapped memory,
// no system call, and survives the node's kill -9 (not a power cut: records of the last seconds may go).
// fold() sums the records into hours in usage.db, each record exactly once; old segments then go.
// append() belongs to the loop's thread and recent() too; fold() and query() block and belong to one background
// line. Nothing here stops the node: where the disk is full, append() counts what it lost.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/usage.h"
#include "os/snapshot.h"
#include "store/detail/segment.h"
#include "store/detail/sqlite.h"

namespace mayfly::store {

struct UsageOptions {
  Bytes segment = 16_MiB;
  Duration keep = std::chrono::hours(7 * 24);  // single records; the sums by the hour stay
  Bytes keep_max = 1_GiB;
};

struct UsageSum {                     // of one version over a span
  FunctionId function;
  VersionId version;
  int version_number = 0;
  std::uint64_t invocations = 0, errors = 0, cold_starts = 0, rows = 0;
  std::uint64_t billed_us = 0, cpu_ns = 0, overhead_cpu_ns = 0;
  double gb_seconds = 0;              // billed time × measured memory, in GiB
  std::uint64_t queue_us = 0, run_ns = 0, total_us = 0;
  std::uint64_t queue_us_max = 0, run_ns_max = 0, total_us_max = 0;
  std::uint64_t records = 0;
  bool exact = true;                  // false: a whole hour at an edge of the span, since its records are gone

  void add(const domain::UsageRecord& record);
  void add(const UsageSum& other);
};

struct RecentRecord {
  std::uint64_t sequence = 0;
  domain::UsageRecord record;
};

class UsageLog {
 public:
  // `folder` is for the segments, `database` the file of the sums.
  [[nodiscard]] static Result<std::unique_ptr<UsageLog>> open(const std::string& folder, const std::string& database,
                                                              UsageOptions options = {});
  ~UsageLog();

  void append(const domain::UsageRecord& record);
  std::uint64_t lost() const { return lost_; }
  // Why records are being lost, once; absent where none are.
  std::optional<Error> take_trouble();
  // The newest at most `count` with a sequence above `after`, oldest first; function 0: of all. Looks at the newest
  // million records at most.
  std::vector<RecentRecord> recent(std::uint64_t after, std::size_t count, FunctionId function) const;

  // Every minute or so. Also makes the next segment ready and removes what is older than it should be.
  [[nodiscard]] Result<void> fold(WallTime now);
  // By version, of arrivals in [since, until); function 0: of all.
  [[nodiscard]] Result<std::vector<UsageSum>> query(FunctionId function, WallTime since, WallTime until);

  UsageLog(std::string folder, UsageOptions options, std::unique_ptr<Database> sums);

 private:
  using Segments = std::vector<std::shared_ptr<const Segment>>;

  Result<void> open_segments();
  bool rotate();
  Result<std::unique_ptr<Segment>> new_segment(bool touch);
  Result<void> fold_some(const Segments& segments, std::uint64_t& position);
  Result<void> remove_old(WallTime now, std::uint64_t position);
  Result<std::uint64_t> read_position();
  std::shared_ptr<const Segments> segments() const { return segments_.get(); }

  const std::string folder_;
  const UsageOptions options_;
  const std::unique_ptr<Database> sums_;
  os::Snapshot<Segments> segments_{{}};                    // oldest first; the last may be open
  os::Snapshot<std::shared_ptr<Segment>> spare_{nullptr};  // made ready by fold(), taken by rotate()
  std::atomic<std::uint64_t> files_made_ = 0;

  // The loop's.
  std::shared_ptr<Segment> open_;
  std::uint64_t next_ = 1;                                 // sequence of the next record
  std::uint64_t lost_ = 0, try_again_at_ = 0;
  std::optional<Error> trouble_;
  bool trouble_told_ = false;
};

}  // namespace mayfly::store
