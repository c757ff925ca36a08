// The Lambda Runtime API (2018-06-01) as a pure state machine: what a function's own program asks, what the node wants run, and
// what is answered when. No socket, no clock; worker/code_loop.h drives it, worker/code_port.h reads and writes the HTTP.
//
//   GET  /2018-06-01/runtime/invocation/next            waits for a call: 200, the event
//   POST /2018-06-01/runtime/invocation/{id}/response   202
//   POST /2018-06-01/runtime/invocation/{id}/error      202
//   POST /2018-06-01/runtime/init/error                 202
//
// A streamed response is chunked, and failed by the trailers Lambda-Runtime-Function-Error-Type and -Body (base64). It is taken whole,
// or where begin_stream() was asked before it, its body goes another way and its end alone comes here.
// Promises: one call at a time; each call that was given has one outcome, the first that was told; a request gets one answer.
// Statuses and error types are those of AWS's own emulator: another id 400 InvalidRequestID, a step out of turn (a second
// answer, the next call before the answer) 403 InvalidStateTransition, a response over the limit 413 and the call fails.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http.h"
#include "base/random.h"

namespace mayfly::worker {

using ConnectionId = std::uint64_t;

// Ours alone, of an answer: "1" where the program ends once it is told, as after an exception that nobody caught.
constexpr std::string_view kExitsHeader = "Mayfly-Runtime-Exits";

struct RuntimeRequest {
  Method method{};
  std::string_view path;
  std::span<const HttpHeader> headers;
  std::string body;
  bool too_large = false;      // over response_max; the body is not there then
  std::span<const HttpHeader> trailers;  // of a chunked body
};

struct RuntimeReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;            // JSON
};

struct RuntimeCall {
  std::string id;
  std::uint64_t deadline_ms = 0;  // since the epoch
  std::string event;
  std::string trace_id;           // "": none is told
  std::string client_context;     // JSON in one line of ASCII; "": none
};

// What a caller said of a call, as a frame's end has it (domain/frame.h): into `call`.
void read_context(std::string_view lines, RuntimeCall& call);
// A trace as X-Ray writes it, from what the caller gave: all that is missing is made up, of `seconds` since the epoch.
[[nodiscard]] std::string complete_trace(std::string_view given, std::int64_t seconds, Random& random);

struct FunctionError {
  std::string type, message;
  std::string json;            // as it was told; "" where it is no JSON object of domain::kInlineMax at most
  std::string text() const { return message.empty() ? type : type + ": " + message; }
};
[[nodiscard]] FunctionError function_error(std::string_view type, std::string_view message);  // that the platform tells of the code

class RuntimeApi {
 public:
  struct Options {
    std::string function_arn;
    std::uint64_t response_max = 6 * 1024 * 1024 + 100;  // AWS's own limit of a response: 6291556 bytes
  };
  struct Answer {
    ConnectionId to = 0;
    RuntimeReply reply;
  };
  struct Outcome {
    std::string response;
    std::optional<FunctionError> error;
    std::string content_type;    // of the response, as the program said
    bool streamed = false;       // … and that it is a stream, not JSON
    bool last = false;           // the program said (kExitsHeader) that it ends after this: no call may follow
  };
  // What follows from what was told; the driver does all of it.
  struct Step {
    std::optional<Answer> answer;
    bool ready = false;                        // it asks for a call for the first time
    bool given = false;                        // the call is with the program from here on
    std::optional<Outcome> outcome;            // of the call that ran
    std::optional<FunctionError> init_failed;  // it will never be ready
  };

  explicit RuntimeApi(Options options) : options_(std::move(options)) {}

  [[nodiscard]] Step request(ConnectionId from, RuntimeRequest&& request);
  // The head of a request to answer `path` with a streamed response is there: may its body be passed on as it comes? It answers the call
  // that runs, then, and until it ends nobody else does, but by an error.
  [[nodiscard]] bool begin_stream(ConnectionId from, std::string_view path);
  // The call ends by this error, at once; what its sender says later is out of turn.
  [[nodiscard]] Step fail_stream(ConnectionId from, FunctionError&& error);
  // A request to `path` that will not come whole: where it was to answer the call that runs, that fails of it.
  [[nodiscard]] Step broke_off(ConnectionId from, std::string_view path, const std::string& why);
  void left(ConnectionId from);                // its wait for a call is over
  [[nodiscard]] Step invoke(RuntimeCall&& call);  // only where idle()
  void withdraw() { waiting_.reset(); }        // the call that invoke() told, not given yet

  bool ready() const { return ready_; }
  bool idle() const { return !waiting_ && running_.empty(); }

 private:
  Step next(ConnectionId from);
  Step give(ConnectionId to);
  Step outcome(ConnectionId from, std::string_view id, RuntimeRequest&& request, bool failed);
  Step init_error(ConnectionId from, RuntimeRequest&& request);
  bool answers_running(std::string_view path) const;
  Outcome too_large() const;

  const Options options_;
  bool ready_ = false, init_failed_ = false;
  std::deque<ConnectionId> pollers_;           // that wait for a call, oldest first
  std::optional<RuntimeCall> waiting_;         // for somebody who asks
  std::string running_, answered_;             // ids
  std::optional<ConnectionId> streams_;        // who streams the answer of the one that runs
};

}  // namespace mayfly::worker
