// The half of UsageLog that sums: records into hours, and hours and records into an answer.
#include <algorithm>
#include <compare>
#include <map>

#include "store/usage_log.h"

namespace mayfly::store {
namespace {

constexpr std::string_view kSchema[] = {
    R"(CREATE TABLE hours (hour INTEGER NOT NULL, function INTEGER NOT NULL, version INTEGER NOT NULL, version_number INTEGER NOT NULL,
         records INTEGER NOT NULL, invocations INTEGER NOT NULL, errors INTEGER NOT NULL, cold_starts INTEGER NOT NULL,
         rows INTEGER NOT NULL, billed_us INTEGER NOT NULL, gb_seconds REAL NOT NULL, cpu_ns INTEGER NOT NULL,
         overhead_cpu_ns INTEGER NOT NULL, queue_us INTEGER NOT NULL, run_ns INTEGER NOT NULL, total_us INTEGER NOT NULL,
         queue_us_max INTEGER NOT NULL, run_ns_max INTEGER NOT NULL, total_us_max INTEGER NOT NULL,
         PRIMARY KEY (hour, function, version)) WITHOUT ROWID;
       CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL);
       INSERT INTO position VALUES (1, 0);)",
};
constexpr std::int64_t kHour = 3'600'000'000;  // µs
constexpr std::uint64_t kFoldMax = 500'000;    // records of one transaction

std::int64_t floor_hour(std::int64_t us) { return us / kHour - (us % kHour < 0 ? 1 : 0); }
std::int64_t as_signed(std::uint64_t number) { return static_cast<std::int64_t>(number); }

struct Key {
  std::int64_t hour = 0;
  std::uint64_t function = 0, version = 0;
  friend auto operator<=>(const Key&, const Key&) = default;
};
using Sums = std::map<Key, UsageSum>;

UsageSum sum_from(const Statement& row) {  // columns as in kColumns
  const auto number = [&](int column) { return static_cast<std::uint64_t>(row.integer(column)); };
  return {.function = {number(1)},
          .version = {number(2)},
          .version_number = static_cast<int>(row.integer(3)),
          .invocations = number(5),
          .errors = number(6),
          .cold_starts = number(7),
          .rows = number(8),
          .billed_us = number(9),
          .cpu_ns = number(11),
          .overhead_cpu_ns = number(12),
          .gb_seconds = row.real(10),
          .queue_us = number(13),
          .run_ns = number(14),
          .total_us = number(15),
          .queue_us_max = number(16),
          .run_ns_max = number(17),
          .total_us_max = number(18),
          .records = number(4)};
}
constexpr std::string_view kColumns =
    "hour, function, version, version_number, records, invocations, errors, cold_starts, rows, billed_us, gb_seconds, cpu_ns, "
    "overhead_cpu_ns, queue_us, run_ns, total_us, queue_us_max, run_ns_max, total_us_max";

// Adds to `segments` in [first, end) of sequences: visit(sequence, record) for each sound record.
template <class Visit>
void each_record(const std::vector<std::shared_ptr<const Segment>>& segments, std::uint64_t first, std::uint64_t end, Visit visit) {
  for (const auto& segment : segments) {
    const std::uint64_t from = std::max(first, segment->base()), to = std::min(end, segment->end());
    for (std::uint64_t sequence = from; sequence < to; ++sequence) {
      const domain::UsageRecord& record = segment->at(sequence - segment->base());
      if (is_sound(record)) visit(sequence, record);
    }
  }
}

}  // namespace

void UsageSum::add(const domain::UsageRecord& r) {
  function = {r.function};
  version = {r.version};
  version_number = static_cast<int>(r.version_number);
  ++records;
  if (r.kind == 1) {
    overhead_cpu_ns += r.cpu_ns;
    return;
  }
  ++invocations;
  errors += r.outcome != 0;
  cold_starts += r.cold != 0;
  rows += r.rows;
  billed_us += r.billed_us;
  cpu_ns += r.cpu_ns;
  gb_seconds += static_cast<double>(r.billed_us) / 1e6 * static_cast<double>(r.memory_bytes) / static_cast<double>(1ULL << 30);
  queue_us += r.queue_us;
  run_ns += r.run_ns;
  total_us += r.total_us;
  queue_us_max = std::max(queue_us_max, r.queue_us);
  run_ns_max = std::max(run_ns_max, r.run_ns);
  total_us_max = std::max(total_us_max, r.total_us);
}

void UsageSum::add(const UsageSum& o) {
  function = o.function;
  version = o.version;
  version_number = o.version_number;
  records += o.records;
  invocations += o.invocations;
  errors += o.errors;
  cold_starts += o.cold_starts;
  rows += o.rows;
  billed_us += o.billed_us;
  cpu_ns += o.cpu_ns;
  overhead_cpu_ns += o.overhead_cpu_ns;
  gb_seconds += o.gb_seconds;
  queue_us += o.queue_us;
  run_ns += o.run_ns;
  total_us += o.total_us;
  queue_us_max = std::max(queue_us_max, o.queue_us_max);
  run_ns_max = std::max(run_ns_max, o.run_ns_max);
  total_us_max = std::max(total_us_max, o.total_us_max);
  exact = exact && o.exact;
}

Result<std::unique_ptr<UsageLog>> UsageLog::open(const std::string& folder, const std::string& database, UsageOptions options) {
  // Not synced at each commit: what a power cut takes from the sums is still in the segments.
  TRY(auto sums, Database::open(database, Database::Sync::normal));
  TRY_VOID(sums->migrate(kSchema, std::size(kSchema)));
  auto log = std::make_unique<UsageLog>(folder, options, std::move(sums));
  TRY_VOID(log->open_segments());
  return log;
}

Result<std::uint64_t> UsageLog::read_position() {
  TRY(Statement read, sums_->prepare("SELECT sequence FROM position"));
  TRY(const bool row, read.step());
  if (!row) return fail(Code::data_loss, "usage.db has lost its position: move it away, and sums begin anew");
  return static_cast<std::uint64_t>(read.integer(0));
}

// Up to kFoldMax records behind `position`, and the position itself, in one transaction: exactly once.
Result<void> UsageLog::fold_some(const Segments& segments, std::uint64_t& position) {
  const std::uint64_t end = std::min(segments.back()->end(), position + 1 + kFoldMax);
  Sums sums;
  each_record(segments, position + 1, end, [&](std::uint64_t, const domain::UsageRecord& record) {
    sums[{floor_hour(record.arrived_us), record.function, record.version}].add(record);
  });
  TRY(Transaction transaction, Transaction::begin(*sums_));
  TRY(Statement add,
      sums_->prepare(
          "INSERT INTO hours (" + std::string(kColumns) +
          ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (hour, function, version) DO UPDATE SET "
          "records = records + excluded.records, invocations = invocations + excluded.invocations, errors = errors + excluded.errors, "
          "cold_starts = cold_starts + excluded.cold_starts, rows = rows + excluded.rows, billed_us = billed_us + excluded.billed_us, "
          "gb_seconds = gb_seconds + excluded.gb_seconds, cpu_ns = cpu_ns + excluded.cpu_ns, "
          "overhead_cpu_ns = overhead_cpu_ns + excluded.overhead_cpu_ns, queue_us = queue_us + excluded.queue_us, "
          "run_ns = run_ns + excluded.run_ns, total_us = total_us + excluded.total_us, "
          "queue_us_max = max(queue_us_max, excluded.queue_us_max), run_ns_max = max(run_ns_max, excluded.run_ns_max), "
          "total_us_max = max(total_us_max, excluded.total_us_max)"));
  for (const auto& [key, s] : sums) {
    add.bind(1, key.hour).bind(11, s.gb_seconds).bind(4, std::int64_t{s.version_number});
    const std::pair<int, std::uint64_t> numbers[] = {{2, key.function}, {3, key.version},        {5, s.records},     {6, s.invocations},
                                                     {7, s.errors},     {8, s.cold_starts},      {9, s.rows},        {10, s.billed_us},
                                                     {12, s.cpu_ns},    {13, s.overhead_cpu_ns}, {14, s.queue_us},   {15, s.run_ns},
                                                     {16, s.total_us},  {17, s.queue_us_max},    {18, s.run_ns_max}, {19, s.total_us_max}};
    for (const auto& [at, number] : numbers) add.bind(at, as_signed(number));
    TRY_VOID(add.run());
  }
  TRY(Statement move, sums_->prepare("UPDATE position SET sequence = ?"));
  TRY_VOID(move.bind(1, as_signed(end - 1)).run());
  TRY_VOID(transaction.commit());
  position = end - 1;
  return {};
}

Result<std::vector<UsageSum>> UsageLog::query(FunctionId function, WallTime since, WallTime until) {
  const Database::Use use(*sums_);
  const std::int64_t from = since.since_epoch.count(), to = until.since_epoch.count();
  if (to <= from) return fail(Code::invalid_argument, "the span ends before it begins: since must be before until");
  const auto list = segments();
  TRY(const std::uint64_t position, read_position());
  // Hours that lie wholly in the span come from the sums; the one or two at its edges from the records.
  const std::int64_t first_hour = floor_hour(from), last_hour = floor_hour(to - 1);
  const auto is_edge = [&](std::int64_t hour) { return hour * kHour < from || (hour + 1) * kHour > to; };
  const bool edges = is_edge(first_hour) || is_edge(last_hour);
  std::map<std::uint64_t, UsageSum> totals;  // by version
  Sums whole, inside;                        // folded records of the edge hours: all, and those in the span
  std::uint64_t first = position + 1;
  if (edges && !list->empty()) first = list->front()->base();
  std::vector<std::shared_ptr<const Segment>> wanted;
  for (const auto& segment : *list)
    if (segment->end() > position + 1 || (segment->last_us() >= first_hour * kHour && segment->first_us() < (last_hour + 1) * kHour))
      wanted.push_back(segment);
  each_record(wanted, first, UINT64_MAX, [&](std::uint64_t sequence, const domain::UsageRecord& record) {
    if (function && record.function != function.number) return;
    const bool in_span = record.arrived_us >= from && record.arrived_us < to;
    if (sequence > position) {
      if (in_span) totals[record.version].add(record);
      return;
    }
    const std::int64_t hour = floor_hour(record.arrived_us);
    if ((hour != first_hour && hour != last_hour) || !is_edge(hour)) return;
    whole[{hour, record.function, record.version}].add(record);
    if (in_span) inside[{hour, record.function, record.version}].add(record);
  });

  TRY(Statement rows,
      sums_->prepare("SELECT " + std::string(kColumns) + " FROM hours WHERE hour BETWEEN ? AND ? AND (?3 = 0 OR function = ?3)"));
  rows.bind(1, first_hour).bind(2, last_hour).bind(3, as_signed(function.number));
  for (;;) {
    TRY(const bool row, rows.step());
    if (!row) break;
    UsageSum sum = sum_from(rows);
    const Key key{rows.integer(0), sum.function.number, sum.version.number};
    if (is_edge(key.hour)) {
      const auto seen = whole.find(key);
      if (seen != whole.end() && seen->second.records == sum.records) {
        const auto part = inside.find(key);
        if (part == inside.end()) continue;
        sum = part->second;
      } else {
        sum.exact = false;
      }
    }
    totals[sum.version.number].add(sum);
  }
  std::vector<UsageSum> sums;
  for (auto& [version, sum] : totals) sums.push_back(sum);
  return sums;
}

}  // namespace mayfly::store
