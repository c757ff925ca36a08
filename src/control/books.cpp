#include "control/books.h"

#include <algorithm>

#include "base/hex.h"
#include "base/units.h"
#include "domain/json.h"

namespace mayfly::control {
namespace {

template <class T>
void remember(std::deque<T>& list, T item) {
  list.push_front(std::move(item));
  if (list.size() > Books::kRemembered) list.pop_back();
}

template <class T>
std::vector<T> copied(const std::unordered_map<VersionId, std::deque<T>>& lists, VersionId version) {
  const auto at = lists.find(version);
  return at == lists.end() ? std::vector<T>() : std::vector<T>(at->second.begin(), at->second.end());
}

std::string_view cold_name(std::uint8_t cold) { return cold == 0 ? "warm" : cold == 1 ? "forked" : "artifact"; }

}  // namespace

Books::Entry& Books::add() {
  if (entries_.size() >= kEntriesMax) entries_.pop_front();
  Entry& entry = entries_.emplace_back();
  entry.sequence = ++sequence_;
  return entry;
}

void Books::record(const domain::UsageRecord& record, const serve::TraceId& trace, const Error* error) {
  Entry& entry = add();
  entry.record = record;
  entry.trace = trace;
  if (error) entry.text = error->message;
  if (record.version == 0) return;
  Counters& c = counters_[VersionId{record.version}];
  c.last = turn_.wall;
  c.billed_us += record.billed_us;
  c.cpu_ns += record.cpu_ns;
  if (error) {
    ++c.failures[std::min<std::size_t>(record.outcome, c.failures.size() - 1)];
    c.fail_us += record.total_us;
    return;
  }
  ++c.success;
  c.rows += record.rows;
  if (record.batch_rows) c.executions += static_cast<double>(record.rows) / record.batch_rows;
  c.queue_us += record.queue_us;
  c.total_us += record.total_us;
  c.decode_ns += record.decode_ns;
  c.run_ns += record.run_ns;
  c.encode_ns += record.encode_ns;
  const std::uint64_t ms = record.total_us / 1000;
  ++c.first_response[ms <= 100 ? 0 : ms <= 500 ? 1 : ms <= 2000 ? 2 : ms <= 5000 ? 3 : 4];
}

Books::Entry& Books::add_line(FunctionId function, int version, std::uint64_t process, std::string_view text) {
  constexpr std::size_t kLineMax = 2048;
  Entry& entry = add();
  entry.is_line = true;
  entry.record.function = function.number;
  entry.record.version_number = static_cast<std::uint32_t>(version);
  entry.record.process = static_cast<std::uint32_t>(process);
  entry.record.arrived_us = turn_.wall.since_epoch.count();
  entry.text = text.substr(0, kLineMax);
  return entry;
}

void Books::log(FunctionId function, int version, std::uint64_t process, std::string_view level, std::string_view text) {
  add_line(function, version, process, text).level = domain::read_level(level);
}

// What a sandbox says of its lines is taken where it can be true.
void Books::printed(FunctionId function, int version, std::uint64_t process, const domain::Printed& line) {
  constexpr auto kLateMax = std::chrono::hours(1);
  Entry& entry = add_line(function, version, process, line.text);
  entry.level = line.level;
  entry.stream = line.stream;
  entry.record.request_id_high = line.request_high;
  entry.record.request_id_low = line.request_low;
  if (line.time <= turn_.wall && line.time.since_epoch > turn_.wall.since_epoch - kLateMax)
    entry.record.arrived_us = line.time.since_epoch.count();
}

void Books::decided(VersionId version, DecisionView view) { remember(decisions_[version], std::move(view)); }
void Books::started(VersionId version, ColdStartView view) { remember(cold_starts_[version], std::move(view)); }

void Books::failed(VersionId version, FailureView view) { remember(failures_[version], std::move(view)); }

void Books::first_answer(VersionId version, std::uint64_t process, Duration since_decision) {
  for (ColdStartView& start : cold_starts_[version])
    if (start.process == process) start.first_answer = since_decision;
}

void Books::forget(VersionId version) {
  counters_.erase(version);
  decisions_.erase(version);
  cold_starts_.erase(version);
  failures_.erase(version);
}

std::vector<DecisionView> Books::decisions(VersionId version) const { return copied(decisions_, version); }
std::vector<ColdStartView> Books::cold_starts(VersionId version) const { return copied(cold_starts_, version); }
std::vector<FailureView> Books::failures(VersionId version) const { return copied(failures_, version); }

bool Books::fits(const Entry& entry, FunctionId function, const LogQuery& query) {
  const domain::UsageRecord& r = entry.record;
  const domain::Level level = entry.level != domain::Level::none ? entry.level
                              : !entry.is_line && r.outcome ? domain::Level::error : domain::Level::info;
  return (!function || r.function == function.number) && level >= query.least &&
         (query.version == 0 || r.version_number == static_cast<std::uint32_t>(query.version)) &&
         ((query.request_high == 0 && query.request_low == 0) ||
          (r.request_id_high == query.request_high && r.request_id_low == query.request_low)) &&
         r.arrived_us >= query.since.since_epoch.count();
}

std::string Books::json_of(const Entry& entry, const NameOf& name_of) {
  const domain::UsageRecord& r = entry.record;
  nlohmann::ordered_json line{{"time", rfc3339({std::chrono::microseconds(r.arrived_us)})}};
  line["level"] = entry.is_line ? name(entry.level) : r.outcome ? "error" : "info";
  if (r.function) {  // else of a call whose name nobody has: the message says which
    line["function"] = name_of(r).function;
    line["version"] = r.version_number;
  }
  if (r.process) line["instance"] = r.process;
  if (entry.is_line && entry.stream != domain::Stream::platform) line["stream"] = name(entry.stream);
  if (!entry.is_line || r.request_id_high != 0 || r.request_id_low != 0)
    line["request_id"] = uuid_text(r.request_id_high, r.request_id_low);  // which is how X-Request-Id says it
  if (!entry.is_line) {
    if (entry.trace != serve::TraceId()) line["trace_id"] = hex_text(entry.trace.high, entry.trace.low);
    line["outcome"] = r.outcome ? mayfly::name(static_cast<Code>(r.outcome)) : "ok";
    line["start"] = cold_name(r.cold);
    line["queue_us"] = r.queue_us;
    if (r.init_us) line["init_us"] = r.init_us;
    line["decode_us"] = r.decode_ns / 1000;
    line["run_us"] = r.run_ns / 1000;
    line["encode_us"] = r.encode_ns / 1000;
    line["total_us"] = r.total_us;
    line["cpu_us"] = r.cpu_ns / 1000;
    line["billed_us"] = r.billed_us;
    line["rows"] = r.rows;
    line["batch_rows"] = r.batch_rows;
    line["memory_bytes"] = r.memory_bytes;
    line["bytes_in"] = r.bytes_in;
    line["bytes_out"] = r.bytes_out;
  }
  if (!entry.text.empty()) line["message"] = entry.text;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<LogLine> Books::lines(FunctionId function, const LogQuery& query, const NameOf& name_of) const {
  std::vector<const Entry*> found;
  for (auto at = entries_.rbegin(); at != entries_.rend() && found.size() < query.count && at->sequence > query.after; ++at)
    if (fits(*at, function, query)) found.push_back(&*at);
  std::vector<LogLine> lines;
  for (auto at = found.rbegin(); at != found.rend(); ++at) lines.push_back({(*at)->sequence, json_of(**at, name_of)});
  return lines;
}

}  // namespace mayfly::control
