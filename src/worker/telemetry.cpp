#include "worker/telemetry.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/units.h"
#include "domain/json.h"
#include "os/clock.h"
#include "os/process.h"
#include "worker/http_forward.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr std::size_t kBeforeMax = 256 * 1024, kLineMax = 64 * 1024, kAnswerMax = 64 * 1024, kSubscriptionsMax = 20;
constexpr int kTriesMax = 3;
constexpr Duration kAnswerWait = 1s, kTryAgain = 100ms;
constexpr std::string_view kTypes[] = {"platform", "function", "extension"};  // by bit of Kind

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string event_text(std::string_view type, const std::string& record) {
  return "{\"time\":\"" + rfc3339(os::wall_now()) + "\",\"type\":\"" + std::string(type) + "\",\"record\":" + record + "}";
}

double ms(Duration d) { return std::round(static_cast<double>(d.count()) / 1e3) / 1e3; }

Json tracing(const std::string& trace) { return {{"type", "X-Amzn-Trace-Id"}, {"value", trace}}; }

RuntimeReply refusal(const std::string& message, int status = 400, const char* type = "ValidationError") {
  return {.status = status, .body = dump({{"errorMessage", message}, {"errorType", type}})};
}

Result<std::uint64_t> number_in(const Json& json, const char* key, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high) {
  const auto at = json.find(key);
  if (at == json.end()) return otherwise;
  if (at->is_number_unsigned() && at->get<std::uint64_t>() >= low && at->get<std::uint64_t>() <= high) return at->get<std::uint64_t>();
  return fail(Code::invalid_argument, "buffering." + std::string(key) + " is not a whole number from " + std::to_string(low) + " to " +
                                          std::to_string(high));
}

struct Destination {
  std::string host, path;
  int port = 0;
};

Result<Destination> read_destination(const Json& json) {
  const auto bad = [](const std::string& what) { return fail(Code::invalid_argument, "destination: " + what); };
  if (!json.is_object()) return bad("it is missing");
  if (const Json protocol = json.value("protocol", Json("HTTP")); protocol != "HTTP")
    return bad("the protocol " + dump(protocol).substr(0, 40) + " is not served: write HTTP");
  const Json told = json.value("URI", Json());
  const std::string uri = told.is_string() ? told.get<std::string>() : std::string(), shown = "'" + uri.substr(0, 80) + "'";
  constexpr std::string_view kScheme = "http://";
  if (!uri.starts_with(kScheme)) return bad("URI is http://sandbox.localdomain:PORT, not " + shown);
  const std::size_t slash = std::min(uri.find('/', kScheme.size()), uri.size());
  Destination to{.host = uri.substr(kScheme.size(), slash - kScheme.size()), .path = slash < uri.size() ? uri.substr(slash) : "/"};
  const std::size_t colon = std::min(to.host.find(':'), to.host.size());
  const std::string name = to.host.substr(0, colon);
  if (name != "sandbox.localdomain" && name != "sandbox" && name != "localhost" && name != "127.0.0.1")
    return bad("only loopback is reached: URI is http://sandbox.localdomain:PORT, not " + shown);
  to.port = 80;
  if (colon < to.host.size()) {
    const char* const end = to.host.data() + to.host.size();
    const auto [at, error] = std::from_chars(to.host.data() + colon + 1, end, to.port);
    if (error != std::errc() || at != end) to.port = 0;
  }
  if (to.port < 1 || to.port > 65535) return bad(shown + " has no port from 1 to 65535");
  if (!std::ranges::all_of(to.path, [](char c) { return c > 0x20 && c < 0x7f; })) return bad(shown + " has no plain path");
  return to;
}

Result<std::uint8_t> read_kinds(const Json& types) {
  if (!types.is_array() || types.empty()) return fail(Code::invalid_argument, "types is not a list of platform, function, extension");
  std::uint8_t kinds = 0;
  for (const Json& type : types) {
    const auto found = std::ranges::find_if(kTypes, [&](std::string_view name) { return type == name; });
    if (found == std::end(kTypes))
      return fail(Code::invalid_argument, "types: " + dump(type).substr(0, 40) + " is none of platform, function, extension");
    kinds = static_cast<std::uint8_t>(kinds | 1U << (found - std::begin(kTypes)));
  }
  return kinds;
}

Json names_of(std::uint8_t kinds) {
  Json names = Json::array();
  for (unsigned bit = 0; bit < std::size(kTypes); ++bit)
    if (kinds & 1U << bit) names.push_back(kTypes[bit]);
  return names;
}

}  // namespace

struct Telemetry::Subscriber {
  Subscriber(os::Loop& loop, std::string extension, Destination destination)
      : name(std::move(extension)), to(std::move(destination)), http(loop, "127.0.0.1:" + std::to_string(to.port), kAnswerMax) {}

  bool full() const { return events.size() >= items_max || bytes >= bytes_max; }

  const std::string name;
  const Destination to;
  std::uint8_t kinds = 0;
  std::uint64_t items_max = 0, bytes_max = 0;
  Duration wait{};
  HttpForward http;
  std::deque<std::string> events;
  std::uint64_t bytes = 0, dropped = 0, dropped_bytes = 0;
  std::string batch;                           // under way; "": none
  std::uint64_t batch_events = 0, batch_bytes = 0;
  int tries = 0;
  os::Loop::TimerId timer{};                   // without a batch under way: it begins; else: the try is over, or the next begins
};

Telemetry::Telemetry(os::Loop& loop, const domain::CodeOrder& order) : loop_(loop), order_(order) {}

Telemetry::~Telemetry() {
  for (const auto& each : subscribers_) loop_.cancel(each->timer);
}

// --- who subscribes

RuntimeReply Telemetry::subscribe(const std::string& extension, const RuntimeRequest& request) {
  if (request.method != Method::put) return refusal("the Telemetry API takes PUT only", 405, "MethodNotAllowed");
  if (extension.empty())
    return refusal("Lambda-Extension-Identifier is missing, or no extension's", 403, "Extension.UnknownExtensionIdentifier");
  if (closed_) return refusal("the start is over: subscribe before asking for the first event", 403, "Telemetry.SubscriptionClosed");
  if (subscribers_.size() >= kSubscriptionsMax)
    return refusal("there were " + std::to_string(kSubscriptionsMax) + " subscriptions already", 403, "Telemetry.TooManySubscriptions");
  auto read = read_subscription(extension, request.body);
  if (!read) return refusal(read.error().message);
  for (const auto& each : subscribers_) {
    if (each->name != extension) continue;     // the new one takes its place
    each->kinds = 0;
    each->events.clear();
    each->bytes = each->dropped = each->dropped_bytes = 0;
  }
  Subscriber& made = *subscribers_.emplace_back(*std::move(read));
  for (const auto& [kind, event] : before_)
    if (made.kinds & static_cast<std::uint8_t>(kind)) queue(made, event);
  platform("platform.telemetrySubscription", dump({{"name", extension}, {"state", "Subscribed"}, {"types", names_of(made.kinds)}}));
  return {.body = "\"OK\""};
}

Result<std::unique_ptr<Telemetry::Subscriber>> Telemetry::read_subscription(const std::string& extension, const std::string& body) {
  const Json json = domain::parse_json<Json>(body);
  if (!json.is_object()) return fail(Code::invalid_argument, "the body is not a JSON object");
  const Json buffering = json.value("buffering", Json::object());
  if (!buffering.is_object()) return fail(Code::invalid_argument, "buffering is not an object");
  TRY(Destination destination, read_destination(json.value("destination", Json())));
  TRY(const std::uint8_t kinds, read_kinds(json.value("types", Json())));
  TRY(const std::uint64_t items, number_in(buffering, "maxItems", 10'000, 1000, 10'000));
  TRY(const std::uint64_t bytes, number_in(buffering, "maxBytes", 256 * 1024, 256 * 1024, 1024 * 1024));
  TRY(const std::uint64_t wait, number_in(buffering, "timeoutMs", 1000, 25, 30'000));
  auto made = std::make_unique<Subscriber>(loop_, extension, std::move(destination));  // once it is sure: the loop keeps its client
  made->kinds = kinds;
  made->items_max = items;
  made->bytes_max = bytes;
  made->wait = std::chrono::milliseconds(wait);
  return made;
}

// --- batches

void Telemetry::tell(Kind kind, std::string event) {
  for (const auto& each : subscribers_)
    if (each->kinds & static_cast<std::uint8_t>(kind)) queue(*each, event);
  if (closed_) return;
  before_bytes_ += event.size();
  before_.emplace_back(kind, std::move(event));
  for (; before_bytes_ > kBeforeMax; before_.pop_front()) before_bytes_ -= before_.front().second.size();
}

void Telemetry::queue(Subscriber& to, const std::string& event) {
  if (to.events.size() >= 2 * to.items_max || to.bytes + event.size() > 2 * to.bytes_max) {
    ++to.dropped;
    to.dropped_bytes += event.size();
    return;
  }
  to.bytes += event.size();
  to.events.push_back(event);
  if (to.events.size() == 1 || to.full() || flushing_) schedule(to);
}

// The next batch: now, or when its time is over.
void Telemetry::schedule(Subscriber& to) {
  if (!to.batch.empty() || (to.events.empty() && to.dropped == 0)) return;  // its end comes here again
  loop_.cancel(to.timer);
  if (to.full() || flushing_) return send(to);
  to.timer = loop_.at(os::monotonic_now() + to.wait, [this, &to] { send(to); });
}

void Telemetry::send(Subscriber& to) {
  if (to.dropped > 0) {
    const Json record{{"reason", "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."},
                      {"droppedRecords", std::exchange(to.dropped, 0)}, {"droppedBytes", std::exchange(to.dropped_bytes, 0)}};
    to.events.push_front(event_text("platform.logsDropped", dump(record)));
    to.bytes += to.events.front().size();
  }
  if (to.events.empty()) return;               // it was replaced
  std::string body;
  to.batch_events = to.batch_bytes = 0;
  while (!to.events.empty() && to.batch_events < to.items_max && (body.empty() || body.size() + to.events.front().size() < to.bytes_max)) {
    const std::string& event = to.events.front();
    body.append(body.empty() ? "[" : ",").append(event);
    to.bytes -= event.size();
    to.batch_bytes += event.size();
    ++to.batch_events;
    to.events.pop_front();
  }
  body += "]";
  to.batch = "POST " + to.to.path + " HTTP/1.1\r\nHost: " + to.to.host + "\r\nContent-Type: application/json\r\nContent-Length: " +
             std::to_string(body.size()) + "\r\n\r\n" + body;
  to.tries = 0;
  try_batch(to);
}

void Telemetry::try_batch(Subscriber& to) {
  ++to.tries;
  to.timer = loop_.at(os::monotonic_now() + kAnswerWait, [this, &to] {
    to.http.drop(1);
    tried(to, false);
  });
  to.http.send(1, to.batch, [this, &to](const Result<HttpForward::Answer>& answer) {
    loop_.cancel(to.timer);
    tried(to, answer && answer->head.starts_with("HTTP/1.") && answer->head.substr(8).starts_with(" 2"));
  });
}

void Telemetry::tried(Subscriber& to, bool taken) {
  if (!taken && to.tries < kTriesMax) {
    to.timer = loop_.at(os::monotonic_now() + kTryAgain, [this, &to] { try_batch(to); });
    return;
  }
  to.batch.clear();
  if (!taken && to.kinds != 0) {
    to.dropped += to.batch_events;
    to.dropped_bytes += to.batch_bytes;
  }
  if (taken || !to.events.empty()) schedule(to);  // what was lost is told with what comes next
}

void Telemetry::flush() {
  flushing_ = true;
  for (const auto& each : subscribers_) schedule(*each);
}

bool Telemetry::delivered() const {
  return std::ranges::all_of(subscribers_, [](const auto& each) { return each->batch.empty() && each->events.empty(); });
}

// --- events

void Telemetry::platform(std::string_view type, const std::string& record) { tell(Kind::platform, event_text(type, record)); }

void Telemetry::printed(Kind kind, std::string_view bytes) {
  if (!wanted()) return;
  const bool function = kind == Kind::function;
  std::string& line = lines_[function ? 0 : 1];
  while (!bytes.empty()) {
    const std::size_t end = std::min({bytes.find('\n'), bytes.size(), kLineMax - line.size()});
    line += bytes.substr(0, end);
    if (end == bytes.size() && line.size() < kLineMax) return;
    if (!line.empty()) tell(kind, event_text(function ? "function" : "extension", dump(std::exchange(line, {}))));
    bytes.remove_prefix(end < bytes.size() && bytes[end] == '\n' ? end + 1 : end);
  }
}

void Telemetry::init_began() {
  platform("platform.initStart", dump({{"initializationType", "on-demand"}, {"phase", "init"}, {"functionName", order_.function},
                                       {"functionVersion", std::to_string(order_.version)}, {"runtimeVersion", order_.runtime},
                                       {"instanceMaxMemory", std::int64_t{order_.memory_mb} << 20}}));
}

void Telemetry::init_done(std::string_view status, std::string_view error_type) {
  if (std::exchange(init_done_, true)) return;
  Json record{{"initializationType", "on-demand"}, {"phase", "init"}, {"status", status}};
  if (!error_type.empty()) record["errorType"] = error_type;
  platform("platform.initRuntimeDone", dump(record));
}

void Telemetry::extension_ready(const std::string& name, bool invoke, bool shutdown) {
  Json events = Json::array();
  if (invoke) events.push_back("INVOKE");
  if (shutdown) events.push_back("SHUTDOWN");
  platform("platform.extension", dump({{"name", name}, {"state", "Ready"}, {"events", events}}));
}

void Telemetry::start_over(Duration took) {
  init_ = took;
  platform("platform.initReport", dump({{"initializationType", "on-demand"}, {"phase", "init"}, {"status", "success"},
                                        {"metrics", {{"durationMs", ms(took)}}}}));
  closed_ = true;
  before_.clear();
}

void Telemetry::call_began(const RuntimeCall& call, Instant now) {
  if (!wanted()) return;
  call_id_ = call.id;
  call_trace_ = call.trace_id;
  call_begun_ = now;
  platform("platform.start", dump({{"requestId", call.id}, {"version", std::to_string(order_.version)},
                                   {"tracing", tracing(call_trace_)}}));
}

void Telemetry::call_done(std::string_view status, std::string_view error_type, std::uint64_t bytes, Instant now) {
  if (call_id_.empty() || !call_status_.empty()) return;
  call_status_ = status;
  call_error_ = error_type;
  Json record{{"requestId", call_id_}, {"status", status}, {"tracing", tracing(call_trace_)},
              {"metrics", {{"durationMs", ms(now - call_begun_)}, {"producedBytes", bytes}}}};
  if (!call_error_.empty()) record["errorType"] = call_error_;
  platform("platform.runtimeDone", dump(record));
}

void Telemetry::call_over(Instant now, int pid) {
  if (call_id_.empty() || call_status_.empty()) return;
  const double took = ms(now - call_begun_);
  memory_max_ = std::max<std::uint64_t>(memory_max_, os::process_memory(pid).count);
  Json record{{"requestId", std::exchange(call_id_, {})}, {"status", std::exchange(call_status_, {})}, {"tracing", tracing(call_trace_)},
              {"metrics", {{"durationMs", took}, {"billedDurationMs", static_cast<std::int64_t>(std::ceil(took))},
                           {"memorySizeMB", order_.memory_mb}, {"maxMemoryUsedMB", memory_max_ >> 20}}}};
  if (!call_error_.empty()) record["errorType"] = call_error_;
  if (const Duration init = std::exchange(init_, {}); init > Duration{}) record["metrics"]["initDurationMs"] = ms(init);
  platform("platform.report", dump(record));
}

void Telemetry::failed(std::string_view text, Instant now) {
  const std::string_view type = text.substr(0, text.find(':'));
  init_done("error", type);                    // nothing where the start is over
  call_done("failure", type, 0, now);
}

}  // namespace mayfly::worker
