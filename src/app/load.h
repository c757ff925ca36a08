// A load generator of one HTTP request, for `mayfly bench`: N keep-alive connections on one os::Loop. Closed:
// each connection sends its next request when its answer is there. Open (a rate is given): requests are
// due by the clock, whatever the answers take, and latency counts from when a request was due, not from when a
// connection was free to send it: a stalled server is not excused by asking it less.
//
// Bounded in time, count and connections; a request that has no answer within its timeout is an error and its
// connection is replaced. It keeps no list of answers, only a histogram.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/address.h"
#include "app/histogram.h"
#include "base/http_reader.h"
#include "base/result.h"
#include "os/loop.h"

namespace mayfly::app {

struct LoadPlan {
  Address address;
  std::string request;  // whole: head and body
  int connections = 16;
  Duration duration = std::chrono::seconds(10);
  Duration warmup{};  // requests due in this first time are not in `latency`
  Duration timeout = std::chrono::seconds(60);
  std::uint64_t requests_max = 0;  // 0: no limit
  double rate = 0;                 // per second; 0: closed loop
};

struct LoadReport {
  Histogram latency;                            // of 2xx answers after the warm-up
  Duration measured{};                          // end of the warm-up to the last answer
  std::uint64_t sent = 0, answered = 0;         // all, warm-up included
  std::uint64_t unsent = 0;                     // open loop: due, but no connection was free before the end
  std::map<std::string, std::uint64_t> errors;  // "status 503", "timeout", "connection"…: all, warm-up included
  std::map<std::string, std::uint64_t> cold;    // by X-Mayfly-Cold, warm ones left out; warm-up included
  std::string first_error;                      // what the first answer that was not 2xx said
  [[nodiscard]] std::uint64_t errors_count() const;
  [[nodiscard]] double rate() const;  // 2xx answers per second, measured
};

class Load {
 public:
  // `each_second` sees the report as it grows.
  Load(os::Loop& loop, LoadPlan plan, std::function<void(const LoadReport&, Duration elapsed)> each_second);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Error: not even the first connection could be made.
  [[nodiscard]] Result<LoadReport> run();

 private:
  class Connection;

  Result<void> open(Connection& connection);
  void close(Connection& connection);
  void fail_request(Connection& connection, const std::string& why);
  void on_events(Connection& connection);
  void read(Connection& connection);
  void write(Connection& connection);
  void answered(Connection& connection);
  void begin_request(Connection& connection, Instant due);
  void next(Connection& connection);  // the connection is free
  void pump();                        // open loop: sends what is due
  void tick();
  [[nodiscard]] bool may_send(Instant due) const;
  [[nodiscard]] Instant due_at(std::uint64_t number) const;

  os::Loop& loop_;
  const LoadPlan plan_;
  const std::function<void(const LoadReport&, Duration)> each_second_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> idle_;  // open loop
  std::string buffer_;
  LoadReport report_;
  Instant begun_, warm_, end_, last_answer_, told_;
  std::uint64_t issued_ = 0;  // open loop: requests that were due and sent
  int busy_ = 0;
};

}  // namespace mayfly::app
