#include "gateway/inference.h"

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/random.h"
#include "base/units.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using domain::WireFormat;
using Json = nlohmann::ordered_json;

constexpr std::size_t kRequestIdMax = 128;

// Errors in the protocol's own form under /v2, in the node's elsewhere.
HttpReply v2_error(const Error& error) {
  HttpReply reply = error_reply(error);
  reply.body = Json{{"error", error.message}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  return reply;
}

bool visible(std::string_view text) {
  for (const char c : text)
    if (c < 0x21 || c > 0x7e) return false;
  return true;
}

std::uint64_t hash_of(std::string_view text, std::uint64_t seed) {  // FNV-1a
  std::uint64_t hash = 0xcbf29ce484222325 ^ seed;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

struct RequestId {
  std::string text;
  std::uint64_t high = 0, low = 0;
};

// 00-<32 hex>-<16 hex>-<2 hex>, not all zero (W3C Trace Context, version 00).
std::string_view trace_of(std::string_view parent) {
  if (parent.size() != 55 || parent.substr(0, 3) != "00-" || parent[35] != '-' || parent[52] != '-') return {};
  const std::string_view trace = parent.substr(3, 32);
  if (trace.find_first_not_of("0123456789abcdef") != std::string_view::npos || trace.find_first_not_of('0') == std::string_view::npos) return {};
  return trace;
}

const char* cold_name(int cold) { return cold == 0 ? "warm" : cold == 1 ? "forked" : "artifact"; }

Json tensors(const std::vector<domain::TensorSpec>& specs) {
  Json list = Json::array();
  for (const domain::TensorSpec& spec : specs) list.push_back({{"name", spec.name}, {"datatype", domain::name(spec.datatype)}, {"shape", spec.shape}});
  return list;
}

}  // namespace

struct Inference::Inside final : serve::ReplySink {
  // One call between its request and the last byte of its answer.
  struct Call final : ExchangeOwner {
    Call(Inside& i, Responder r) : in(i), to(r) {}
    void on_gone() override { in.client_left(*this); }
    void on_sent(Instant when, std::uint64_t bytes) override { in.answer_left(*this, when, bytes); }

    Inside& in;
    Responder to;
    std::string request_id, trace;
    Ticket ticket;
    bool v2 = false, over = false;
  };

  Inside(serve::Invoker& i, control::Control& c, HttpServer& h) : invoker(i), control(c), server(h), random(os::random_seed()) {}

  void client_left(Call& call) {
    call.over = true;
    if (call.ticket) invoker.cancel(call.ticket);
    calls.erase(call.ticket.number);
  }
  void answer_left(Call& call, Instant when, std::uint64_t bytes) {
    call.over = true;
    if (call.ticket) invoker.sent(call.ticket, when, bytes);
    calls.erase(call.ticket.number);
  }

  RequestId request_id(const HttpRequest& request) {
    const std::string_view sent = request.header("X-Request-Id");
    RequestId id;
    if (!sent.empty() && sent.size() <= kRequestIdMax && visible(sent)) {
      id = {std::string(sent), hash_of(sent, 0), hash_of(sent, 1)};
      return id;
    }
    id.high = random.next();
    id.low = random.next();
    char text[40];
    std::snprintf(text, sizeof text, "%08x-%04x-4%03x-%04x-%012llx", static_cast<unsigned>(id.high >> 32), static_cast<unsigned>(id.high >> 16 & 0xffff),
                  static_cast<unsigned>(id.high & 0xfff), static_cast<unsigned>(0x8000 | (id.low >> 48 & 0x3fff)), static_cast<unsigned long long>(id.low & 0xffffffffffff));
    id.text = text;
    return id;
  }

  static Result<Duration> wanted_timeout(const HttpRequest& request) {
    const std::string_view sent = request.header("X-Mayfly-Timeout");
    if (sent.empty()) return Duration{};
    auto parsed = parse_duration(sent);
    if (!parsed || *parsed <= Duration{}) return fail(Code::invalid_argument, "X-Mayfly-Timeout: " + (parsed ? "it must be above zero" : parsed.error().message));
    return *parsed;
  }

  void invoke(HttpRequest& request, const Responder& to, std::string_view function, std::string_view qualifier, WireFormat format, std::uint64_t json_size) {
    const bool v2 = format != WireFormat::plain_json;
    const auto timeout = wanted_timeout(request);
    if (!timeout) return to.send(v2 ? v2_error(timeout.error()) : error_reply(timeout.error()));
    RequestId id = request_id(request);
    auto call = std::make_unique<Call>(*this, to);
    call->request_id = std::move(id.text);
    call->trace = trace_of(request.header("traceparent"));
    call->v2 = v2;
    server.own(to, *call);
    pending = call.get();
    const Ticket ticket = invoker.invoke({.function = function, .qualifier = qualifier, .format = format, .json_size = json_size, .body = std::move(request.body),
                                          .body_memfd = std::move(request.body_memfd), .body_size = request.body_size, .arrived = request.arrived,
                                          .timeout = *timeout, .request_id_high = id.high, .request_id_low = id.low}, *this);
    pending = nullptr;
    call->ticket = ticket;
    if (!call->over) calls.emplace(ticket.number, std::move(call));
  }

  void on_reply(Ticket ticket, serve::InvocationReply&& reply) override {
    const auto at = calls.find(ticket.number);
    // A refusal comes from inside invoke(), before the ticket is known there.
    Call* call = at == calls.end() ? pending : at->second.get();
    if (!call) return invoker.sent(ticket, Instant{}, 0);
    call->ticket = ticket;
    if (reply.ok) return answer(*call, std::move(reply));
    HttpReply http = call->v2 ? v2_error(reply.error) : error_reply(reply.error);
    std::string headers = common_headers(*call);
    for (const auto& [name, value] : http.headers) headers.append(name).append(": ").append(value).append("\r\n");
    server.reply(call->to, {.status = http.status, .content_type = http.content_type, .headers = headers, .body = http.body});
  }

  std::string common_headers(const Call& call) {
    std::string headers = "X-Request-Id: " + call.request_id + "\r\n";
    if (!call.trace.empty()) headers += "traceresponse: " + trace_response(call.trace) + "\r\n";
    return headers;
  }

  std::string trace_response(const std::string& trace) {
    char span[20];
    std::snprintf(span, sizeof span, "%016llx", static_cast<unsigned long long>(random.next() | 1));
    return "00-" + trace + "-" + span + "-01";
  }

  void answer(Call& call, serve::InvocationReply&& reply) {
    std::string headers = common_headers(call);
    char text[320];
    std::snprintf(text, sizeof text, "X-Mayfly-Version: %d\r\nX-Mayfly-Cold: %s\r\nServer-Timing: queue;dur=%.3f, init;dur=%.3f, decode;dur=%.3f, run;dur=%.3f, encode;dur=%.3f\r\n",
                  reply.version, cold_name(reply.phases.cold), to_ms(reply.phases.queue), to_ms(reply.phases.init), to_ms(reply.phases.decode),
                  to_ms(reply.phases.run), to_ms(reply.phases.encode));
    headers += text;
    if (reply.json_size > 0) headers += "Inference-Header-Content-Length: " + std::to_string(reply.json_size) + "\r\n";
    server.reply(call.to, {.content_type = reply.json_size > 0 ? "application/octet-stream" : "application/json", .headers = headers, .body = reply.body,
                           .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size});
  }

  void infer(HttpRequest& request, const Responder& to, std::string_view qualifier) {
    const std::string_view header = request.header("Inference-Header-Content-Length");
    if (header.empty()) return invoke(request, to, request.parameters[0], qualifier, WireFormat::v2_json, request.body_size);
    std::uint64_t size = 0;
    const auto parsed = std::from_chars(header.data(), header.data() + header.size(), size);
    if (parsed.ec != std::errc() || parsed.ptr != header.data() + header.size() || size > request.body_size)
      return to.send(v2_error({Code::invalid_argument, "Inference-Header-Content-Length '" + std::string(header.substr(0, 40)) + "' is not a size within the body of " + std::to_string(request.body_size) + " bytes"}));
    invoke(request, to, request.parameters[0], qualifier, size == 0 ? WireFormat::v2_raw : WireFormat::v2_binary, size);
  }

  void metadata(const HttpRequest& request, const Responder& to) {
    const auto version = control.resolve(request.parameters[0], request.parameters[1]);
    if (!version) return to.send(v2_error(version.error()));
    Json versions = Json::array();
    if (const auto view = control.describe(request.parameters[0]))
      for (const domain::Version& v : view->function.versions) versions.push_back(std::to_string(v.number));
    to.send({.body = Json{{"name", version->manifest.name}, {"versions", versions}, {"platform", "onnxruntime_onnx"},
                          {"inputs", tensors(version->signature.inputs)}, {"outputs", tensors(version->signature.outputs)}}.dump()});
  }

  void model_ready(const HttpRequest& request, const Responder& to) {
    const auto version = control.resolve(request.parameters[0], request.parameters[1]);
    if (!version) return to.send(v2_error(version.error()));
    to.send({.body = Json{{"name", version->manifest.name}, {"ready", true}}.dump()});
  }

  void plain(HttpRequest& request, const Responder& to) {
    const std::string_view target = request.parameters[0];
    const auto colon = target.find(':');
    invoke(request, to, target.substr(0, colon), colon == std::string_view::npos ? "" : target.substr(colon + 1), WireFormat::plain_json, request.body_size);
  }

  serve::Invoker& invoker;
  control::Control& control;
  HttpServer& server;
  Random random;
  Call* pending = nullptr;                                // inside invoke()
  std::unordered_map<std::uint64_t, std::unique_ptr<Call>> calls;
};

Inference::Inference(serve::Invoker& invoker, control::Control& control, HttpServer& server) : inside_(std::make_unique<Inside>(invoker, control, server)) {}
Inference::~Inference() = default;

void Inference::add_routes(Router& router) {
  Inside& in = *inside_;
  const BodyLimit limit = [&in](const HttpRequest& request) -> Result<std::uint64_t> {
    const std::string_view name = request.parameters[0].substr(0, request.parameters[0].find(':'));
    auto view = in.control.resolve(name, "");
    if (!view) return std::uint64_t{64} << 20;  // the call itself says what is wrong
    return view->manifest.body_max.count;
  };
  const auto post = [&](const char* pattern, Handler handler) { router.add({.method = Method::post, .pattern = pattern, .handler = std::move(handler), .body_limit = limit, .body_as_text = false}); };
  post("/functions/{name}", [&in](HttpRequest& r, Responder to) { in.plain(r, to); });
  post("/v2/models/{name}/infer", [&in](HttpRequest& r, Responder to) { in.infer(r, to, ""); });
  post("/v2/models/{name}/versions/{version}/infer", [&in](HttpRequest& r, Responder to) { in.infer(r, to, r.parameters[1]); });
  for (const char* pattern : {"/v2/models/{name}", "/v2/models/{name}/versions/{version}"}) {
    router.add(Method::get, pattern, [&in](HttpRequest& r, Responder to) { in.metadata(r, to); });
    router.add(Method::get, std::string(pattern) + "/ready", [&in](HttpRequest& r, Responder to) { in.model_ready(r, to); });
  }
  router.add(Method::get, "/v2", [](HttpRequest&, Responder to) {
    to.send({.body = Json{{"name", "mayfly"}, {"version", "0.1.0"}, {"extensions", {"binary_tensor_data", "classification"}}}.dump()});
  });
  router.add(Method::get, "/v2/health/live", [](HttpRequest&, Responder to) { to.send({.body = "{\"live\":true}"}); });
  router.add(Method::get, "/v2/health/ready", [](HttpRequest&, Responder to) { to.send({.body = "{\"ready\":true}"}); });
  router.add(Method::get, "/metrics", [&in](HttpRequest&, Responder to) { to.send({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = in.control.metrics()}); });
}

}  // namespace mayfly::gateway
