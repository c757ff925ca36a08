// AWS Lambda's Telemetry API (2022-07-01): extensions subscribe to what the platform does and to what function and extensions print,
// and get it in batches by HTTP on the sandbox's loopback. Driven by worker/code_loop.h on its loop.
//
//   PUT /2022-07-01/telemetry   {"types": ["platform", "function", "extension"], "buffering": {…}, "destination": {"URI": "http://…"}}
//
// Promises: who subscribes during the start gets what was before; a batch goes out when it has maxItems or maxBytes, or after timeoutMs,
// one at a time to a subscriber, in order; a batch that isn't taken, or has no answer in time, is sent three times, then dropped. A
// subscriber's queue holds two batches; what comes beyond is dropped, and all that was dropped is told as platform.logsDropped.
// Nobody waits for a destination, but for the bounded wait of whoever ends the instance (flush(), delivered()). Without subscribers
// nothing is made once the start is over. Not promised: order between what is printed and what the platform did.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/code_order.h"
#include "os/loop.h"
#include "worker/runtime_api.h"

namespace mayfly::worker {

class Telemetry {
 public:
  enum class Kind : std::uint8_t { platform = 1, function = 2, extension = 4 };

  Telemetry(os::Loop& loop, const domain::CodeOrder& order);
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

  [[nodiscard]] static bool is_path(std::string_view path) { return path == "/2022-07-01/telemetry" || path == "/2022-07-01/telemetry/"; }
  // `extension`: who asks; "": nobody knows.
  [[nodiscard]] RuntimeReply subscribe(const std::string& extension, const RuntimeRequest& request);
  void flush();                                // the instance ends: what waits and what comes yet is sent at once
  bool delivered() const;                      // nothing waits, and nothing is under way

  // What happens, in its order.
  void init_began();
  void init_done(std::string_view status = "success", std::string_view error_type = {});  // of the runtime; the first counts
  void extension_ready(const std::string& name, bool invoke, bool shutdown);
  void start_over(Duration took);              // everybody is there: nobody subscribes any more
  void call_began(const RuntimeCall& call, Instant now);
  void call_done(std::string_view status, std::string_view error_type, std::uint64_t bytes, Instant now);
  void call_over(Instant now, int pid);        // extensions have come back, too; nothing where no call is done. pid: the program's
  void failed(std::string_view text, Instant now);        // "Type: …": the start, or the call that runs
  void printed(Kind kind, std::string_view bytes);        // function or extension

 private:
  struct Subscriber;

  bool wanted() const { return !closed_ || !subscribers_.empty(); }
  Result<std::unique_ptr<Subscriber>> read_subscription(const std::string& extension, const std::string& body);
  void platform(std::string_view type, const std::string& record);
  void tell(Kind kind, std::string event);
  void queue(Subscriber& to, const std::string& event);
  void schedule(Subscriber& to);
  void send(Subscriber& to);
  void try_batch(Subscriber& to);
  void tried(Subscriber& to, bool taken);

  os::Loop& loop_;
  const domain::CodeOrder& order_;
  bool closed_ = false, init_done_ = false, flushing_ = false;
  std::deque<std::pair<Kind, std::string>> before_;  // for those who subscribe yet
  std::size_t before_bytes_ = 0;
  std::vector<std::unique_ptr<Subscriber>> subscribers_;  // one that was replaced stays, without kinds: its client is the loop's
  std::string lines_[2];                       // begun by function, extension
  std::string call_id_, call_trace_, call_status_, call_error_;  // id "": no call; status "": it runs
  Instant call_begun_{};
  Duration init_{};                            // to be told with the first call
  std::uint64_t memory_max_ = 0;
};

}  // namespace mayfly::worker
