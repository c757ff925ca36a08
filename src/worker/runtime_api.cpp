#include "worker/runtime_api.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hex.h"
#include "domain/frame.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Step = RuntimeApi::Step;

constexpr std::string_view kRoot = "/2018-06-01/runtime/";
constexpr std::string_view kErrorType = "Lambda-Runtime-Function-Error-Type";
constexpr std::string_view kMode = "Lambda-Runtime-Function-Response-Mode";
constexpr std::string_view kTraceHeader = "Lambda-Runtime-Trace-Id", kClientHeader = "Lambda-Runtime-Client-Context";

std::string header(std::span<const HttpHeader> headers, std::string_view name) {
  for (const HttpHeader& header : headers)
    if (same_word(header.name, name)) return std::string(header.value);
  return {};
}

std::string error_json(std::string_view type, std::string_view message) {
  return Json{{"errorMessage", message}, {"errorType", type}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Step answer(ConnectionId to, RuntimeReply reply) {
  Step step;
  step.answer = RuntimeApi::Answer{to, std::move(reply)};
  return step;
}

Step refusal(ConnectionId to, int status, std::string_view type, std::string_view message) {
  return answer(to, {.status = status, .body = error_json(type, message)});
}

Step out_of_turn(ConnectionId to, std::string_view message) { return refusal(to, 403, "InvalidStateTransition", message); }

Step accepted(ConnectionId to) { return answer(to, {.status = 202, .body = "{\"status\":\"OK\"}\n"}); }

// A type is told in a header and in the body: the header's counts, as at AWS.
FunctionError read_error(RuntimeRequest&& request) {
  FunctionError error{.type = header(request.headers, kErrorType)};
  if (request.too_large) error.message = "the error's own description is larger than a response may be";
  if (const Json json = domain::parse_json<Json>(request.body); json.is_object()) {
    const auto text = [&json](const char* name) {
      const auto at = json.find(name);
      return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    error.message = text("errorMessage");
    if (error.type.empty()) error.type = text("errorType");
    if (request.body.size() <= domain::kInlineMax) error.json = std::move(request.body);
  }
  if (error.type.empty()) error.type = "Runtime.Unknown";
  return error;
}

// As far as it is base64.
std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t held = 0;
  for (int bits = 0; const char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) break;
    held = held << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(held >> bits & 0xff);
  }
  return bytes;
}

}  // namespace

FunctionError function_error(std::string_view type, std::string_view message) {
  return {.type = std::string(type), .message = std::string(message), .json = error_json(type, message)};
}

void read_context(std::string_view lines, RuntimeCall& call) {
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find("\r\n"), lines.size());
    const std::string_view line = lines.substr(0, end);
    const std::size_t colon = std::min(line.find(": "), line.size());
    const std::string_view value = line.substr(std::min(colon + 2, line.size()));
    if (line.substr(0, colon) == kTraceHeader) call.trace_id = value;
    if (line.substr(0, colon) == kClientHeader) call.client_context = value;
    lines.remove_prefix(std::min(end + 2, lines.size()));
  }
}

std::string complete_trace(std::string_view given, std::int64_t seconds, Random& random) {
  const auto hex = [](std::uint64_t value, int digits) {
    std::string text(static_cast<std::size_t>(digits), '0');
    put_hex(text.data(), value, digits);
    return text;
  };
  std::string trace(given.contains("Root=1-") ? given : std::string_view());
  if (trace.empty()) trace = "Root=1-" + hex(static_cast<std::uint64_t>(seconds), 8) + "-" + hex(random.next(), 8) + hex(random.next(), 16);
  if (!trace.contains("Parent=")) trace += ";Parent=" + hex(random.next(), 16);
  if (!trace.contains("Sampled=")) trace += ";Sampled=0";
  return trace;
}

Step RuntimeApi::request(ConnectionId from, RuntimeRequest&& request) {
  const std::string path = "'" + std::string(request.path.substr(0, 200)) + "'";
  const auto unknown = [&] { return refusal(from, 404, "NotFound", "no such path: " + path); };
  if (!request.path.starts_with(kRoot)) return unknown();
  const std::string_view rest = request.path.substr(kRoot.size());
  const auto takes = [&](Method method) { return request.method == method; };
  const auto wrong_method = [&](std::string_view right) {
    return refusal(from, 405, "MethodNotAllowed", path + " takes " + std::string(right) + " only");
  };
  if (rest == "invocation/next") return takes(Method::get) ? next(from) : wrong_method("GET");
  if (rest == "init/error") return takes(Method::post) ? init_error(from, std::move(request)) : wrong_method("POST");
  constexpr std::string_view kInvocation = "invocation/";
  if (!rest.starts_with(kInvocation)) return unknown();
  const std::size_t slash = rest.find('/', kInvocation.size());
  const std::string_view what = slash == rest.npos ? std::string_view() : rest.substr(slash + 1);
  if (what != "response" && what != "error") return unknown();
  if (!takes(Method::post)) return wrong_method("POST");
  const std::string_view id = rest.substr(kInvocation.size(), slash - kInvocation.size());
  return outcome(from, id, std::move(request), what == "error");
}

Step RuntimeApi::next(ConnectionId from) {
  if (init_failed_) return out_of_turn(from, "its start has failed: there is no next call");
  if (!running_.empty()) return out_of_turn(from, "the call before has no answer yet");
  Step step;
  if (waiting_) step = give(from);
  else pollers_.push_back(from);
  step.ready = !std::exchange(ready_, true);
  return step;
}

Step RuntimeApi::give(ConnectionId to) {
  RuntimeCall call = *std::exchange(waiting_, std::nullopt);
  RuntimeReply reply;
  reply.headers = {{"Lambda-Runtime-Aws-Request-Id", call.id},
                   {"Lambda-Runtime-Deadline-Ms", std::to_string(call.deadline_ms)},
                   {"Lambda-Runtime-Invoked-Function-Arn", options_.function_arn}};
  if (!call.trace_id.empty()) reply.headers.emplace_back(kTraceHeader, call.trace_id);
  if (!call.client_context.empty()) reply.headers.emplace_back(kClientHeader, call.client_context);
  reply.body = std::move(call.event);
  running_ = std::move(call.id);
  Step step = answer(to, std::move(reply));
  step.given = true;
  return step;
}

Step RuntimeApi::invoke(RuntimeCall&& call) {
  ASSERT(idle(), "a call while another has no outcome");
  waiting_ = std::move(call);
  if (pollers_.empty()) return {};
  const ConnectionId to = pollers_.front();
  pollers_.pop_front();
  return give(to);
}

bool RuntimeApi::answers_running(std::string_view path) const {
  return !running_.empty() && path == std::string(kRoot) + "invocation/" + running_ + "/response";
}

bool RuntimeApi::begin_stream(ConnectionId from, std::string_view path) {
  if (streams_ || !answers_running(path)) return false;
  streams_ = from;
  return true;
}

Step RuntimeApi::fail_stream(ConnectionId from, FunctionError&& error) {
  if (streams_ != from) return {};
  streams_.reset();
  answered_ = std::exchange(running_, {});
  Step step;
  step.outcome = Outcome{.response = {}, .error = std::move(error)};
  return step;
}

Step RuntimeApi::broke_off(ConnectionId from, std::string_view path, const std::string& why) {
  if (!streams_ && answers_running(path)) streams_ = from;  // one that is taken whole
  return fail_stream(from, function_error("Runtime.TruncatedResponse", "the runtime's response is not whole: " + why));
}

void RuntimeApi::left(ConnectionId from) { std::erase(pollers_, from); }

RuntimeApi::Outcome RuntimeApi::too_large() const {
  return {.error = function_error("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (" +
                                                                       std::to_string(options_.response_max) + " bytes).")};
}

Step RuntimeApi::outcome(ConnectionId from, std::string_view id, RuntimeRequest&& request, bool failed) {
  if (running_.empty() || id != running_) {
    if (!answered_.empty() && id == answered_) return out_of_turn(from, "this call has its answer already");
    return refusal(from, 400, "InvalidRequestID", "Invalid request ID");
  }
  if (streams_ && *streams_ != from && !failed) return out_of_turn(from, "this call is being answered by another request");
  streams_.reset();
  answered_ = std::exchange(running_, {});
  if (!failed && (request.too_large || request.body.size() > options_.response_max)) {
    Step step = refusal(from, 413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (" +
                        std::to_string(options_.response_max) + " bytes).");
    step.outcome = too_large();
    return step;
  }
  Step step = accepted(from);
  const bool last = header(request.headers, kExitsHeader) == "1" || header(request.trailers, kExitsHeader) == "1";
  if (!header(request.trailers, kErrorType).empty()) {  // the handler failed after it had begun to answer: what came so far is nobody's
    failed = true;
    request.headers = request.trailers;
    request.body = from_base64(header(request.trailers, "Lambda-Runtime-Function-Error-Body"));
  }
  if (failed) step.outcome = Outcome{.error = read_error(std::move(request)), .last = last};
  else
    step.outcome = Outcome{.response = std::move(request.body), .content_type = header(request.headers, "Content-Type"),
                           .streamed = same_word(header(request.headers, kMode), "streaming"), .last = last};
  return step;
}

Step RuntimeApi::init_error(ConnectionId from, RuntimeRequest&& request) {
  if (ready_) return out_of_turn(from, "its start is over: it has asked for a call");
  if (init_failed_) return out_of_turn(from, "its start has failed already");
  init_failed_ = true;
  Step step = accepted(from);
  step.init_failed = read_error(std::move(request));
  return step;
}

}  // namespace mayfly::worker
