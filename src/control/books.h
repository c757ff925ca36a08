// What the node remembers of its running, bounded: counters of each version since the start, the last
// log lines, the last decisions and cold starts. Fed on every call, so feeding is cheap; text is made
// only when somebody asks.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/turn.h"
#include "control/control.h"
#include "domain/usage.h"
#include "serve/invocation.h"

namespace mayfly::control {

struct Counters {
  std::uint64_t success = 0, rows = 0;
  double executions = 0;                                    // of the engine; a call of a shared batch counts for its share
  std::array<std::uint64_t, 13> failures{};                 // by Code
  WallTime last;                                            // the last call's end
  std::uint64_t fail_us = 0;                                // of the failures; all below are of the successes, but what is billed and CPU
  std::uint64_t queue_us = 0, total_us = 0, billed_us = 0, cpu_ns = 0, overhead_cpu_ns = 0;
  std::uint64_t decode_ns = 0, run_ns = 0, encode_ns = 0;
  std::uint64_t started_fork = 0, started_artifact = 0, ended_badly = 0;
  std::array<std::uint64_t, 5> first_response{};            // Triton's buckets: 100, 500, 2000, 5000 ms, more
};

class Books {
 public:
  struct Name {
    std::string function;
    int version = 0;
  };
  using NameOf = std::function<Name(const domain::UsageRecord&)>;

  explicit Books(const Turn& turn) : turn_(turn) {}

  void record(const domain::UsageRecord& record, const serve::TraceId& trace, const Error* error);
  void log(FunctionId function, int version, std::uint64_t process, std::string_view level, std::string_view text);
  void printed(FunctionId function, int version, std::uint64_t process, const domain::Printed& line);
  void decided(VersionId version, DecisionView view);
  void started(VersionId version, ColdStartView view);
  void failed(VersionId version, FailureView view);
  void first_answer(VersionId version, std::uint64_t process, Duration since_decision);
  void forget(VersionId version);

  Counters& counters(VersionId version) { return counters_[version]; }
  std::vector<LogLine> lines(FunctionId function, const LogQuery& query, const NameOf& name_of) const;
  std::vector<DecisionView> decisions(VersionId version) const;
  std::vector<ColdStartView> cold_starts(VersionId version) const;
  std::vector<FailureView> failures(VersionId version) const;
  const std::unordered_map<VersionId, Counters>& all() const { return counters_; }

  static constexpr std::size_t kEntriesMax = 10'000;
  static constexpr std::size_t kRemembered = 20;

 private:
  struct Entry {
    std::uint64_t sequence = 0;
    serve::TraceId trace;
    domain::UsageRecord record;       // of an invocation; or, where it is a line, what there is of it: function, version, process, call
    std::string text;                 // the error, or the line
    bool is_line = false;
    domain::Level level{};
    domain::Stream stream{};          // of a line
  };
  Entry& add();
  Entry& add_line(FunctionId function, int version, std::uint64_t process, std::string_view text);
  static bool fits(const Entry& entry, FunctionId function, const LogQuery& query);
  static std::string json_of(const Entry& entry, const NameOf& name_of);

  const Turn& turn_;
  std::uint64_t sequence_ = 0;
  std::deque<Entry> entries_;
  std::unordered_map<VersionId, Counters> counters_;
  std::unordered_map<VersionId, std::deque<DecisionView>> decisions_;
  std::unordered_map<VersionId, std::deque<ColdStartView>> cold_starts_;
  std::unordered_map<VersionId, std::deque<FailureView>> failures_;
};

}  // namespace mayfly::control
