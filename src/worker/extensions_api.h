// AWS Lambda's Extensions API (2020-01-01) as a pure state machine: programs and threads beside the runtime that want to know of each
// call. No socket, no clock, no process: worker/code_loop.h drives it, worker/extension_programs.h starts the external ones.
//
//   POST /2020-01-01/extension/register     200, its identifier; external: a program of this name was started; else internal
//   GET  /2020-01-01/extension/event/next   waits for an event: INVOKE, SHUTDOWN
//   POST /2020-01-01/extension/init/error   202, and the start has failed
//   POST /2020-01-01/extension/exit/error   202, and the instance ends
//
// Promises: at most kExtensionsMax; nobody registers once registration is closed; an event that nobody waits for waits itself, one
// at a time; idle() only while everybody who registered has asked for the next event. Error types are those of AWS's own emulator.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "worker/runtime_api.h"

namespace mayfly::worker {

constexpr std::size_t kExtensionsMax = 10;

class ExtensionsApi {
 public:
  struct Options {
    std::string function, version, handler, account, function_arn;
  };
  struct Ready {
    std::string name;
    bool invoke = false, shutdown = false;  // what it registered for
  };
  struct Step {
    std::vector<RuntimeApi::Answer> answers;
    std::optional<FunctionError> failed;   // one says that it can't go on
    std::optional<Ready> ready;            // one asks for an event for the first time: its start is over
  };

  ExtensionsApi(Options options, std::uint64_t seed) : options_(std::move(options)), random_(seed) {}
  [[nodiscard]] static bool is_path(std::string_view path) { return path.starts_with("/2020-01-01/extension/"); }

  void expect(std::string name);                          // an external one is started under this name
  [[nodiscard]] Step request(ConnectionId from, RuntimeRequest&& request);
  void left(ConnectionId from);                           // its wait is over; the event that comes waits for its next request
  void close_registration() { closed_ = true; }
  [[nodiscard]] Step invoke(const RuntimeCall& call);     // only while idle()
  [[nodiscard]] Step shut_down(std::string_view reason, std::uint64_t deadline_ms);

  bool all_registered() const;                            // every external one
  bool idle() const;
  bool any() const { return !extensions_.empty(); }
  bool wants_shutdown(std::string_view name) const;
  // Whose identifier a request has; "" where it is nobody's.
  [[nodiscard]] std::string name_of(const RuntimeRequest& request) const;

 private:
  struct Extension {
    std::string name, id;                                 // id "": it has not registered
    bool external = false, invoke = false, shutdown = false;
    bool ready = false;                                   // it has asked for the next event, and was given none since
    bool asked = false;                                   // ever: its start is over
    bool failed = false;
    std::optional<ConnectionId> waits;
    std::string event;                                    // that waits for it
  };

  Step enroll(ConnectionId from, RuntimeRequest&& request);
  Step next(ConnectionId from, Extension& extension);
  Step error(ConnectionId from, Extension& extension, RuntimeRequest&& request, bool at_start);
  Step to_all(bool Extension::* wanted, const std::string& event);
  RuntimeReply event_reply(std::string event);

  const Options options_;
  Random random_;
  std::vector<Extension> extensions_;
  bool closed_ = false;
};

}  // namespace mayfly::worker
