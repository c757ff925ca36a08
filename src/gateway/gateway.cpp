#include "gateway/gateway.h"

#include <utility>

#include "gateway/cloudformation.h"
#include "gateway/control_api.h"
#include "gateway/deploy_bucket.h"
#include "gateway/function_url.h"
#include "gateway/function_url_forms.h"
#include "gateway/inference.h"
#include "gateway/lambda_api.h"
#include "gateway/lambda_code.h"
#include "gateway/lambda_layers.h"
#include "gateway/lambda_settings.h"
#include "gateway/v2_models.h"

namespace mayfly::gateway {
namespace {

constexpr std::string_view kHint =
    "Mayfly runs here.\n\n"
    "  deploy    mayfly deploy model.onnx\n"
    "  call      curl -d '{\"input\": [[1, 2, 3]]}' http://HOST/functions/NAME\n"
    "            POST /v2/models/NAME/infer   (Open Inference Protocol; GET /v2 says more)\n"
    "  list      GET /api/functions\n"
    "  watch     GET /metrics\n";

// What only the server counts, in the form of control's metrics.
std::string metrics_of(const HttpServer& server) {
  const auto one = [](const std::string& name, const char* type, const char* help, std::uint64_t value) {
    return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n" + name + " " + std::to_string(value) + "\n";
  };
  return one("mayfly_http_requests_total", "counter", "HTTP requests, of calls and all others", server.requests()) +
         one("mayfly_http_refused_connections_total", "counter", "Connections closed at once: too many were open",
             server.refused_connections()) +
         one("mayfly_http_connections", "gauge", "Open connections", server.connections());
}

std::string metrics_of(const jobs::EventQueue& events) {
  const jobs::EventCounts& counts = events.counts();
  std::string text = "# HELP mayfly_events_waiting Calls that nobody waits for and that have no outcome yet\n"
                     "# TYPE mayfly_events_waiting gauge\nmayfly_events_waiting " + std::to_string(events.waiting()) +
                     "\n# HELP mayfly_events_total Calls that nobody waits for, by what became of them\n"
                     "# TYPE mayfly_events_total counter\n";
  for (const auto& [what, count] : {std::pair("accepted", counts.accepted), std::pair("succeeded", counts.succeeded),
                                    std::pair("failed", counts.failed), std::pair("retried", counts.retried)})
    text.append("mayfly_events_total{outcome=\"").append(what).append("\"} ").append(std::to_string(count)).append("\n");
  return text;
}

// What the server itself refuses is said in the form of the protocol that was spoken.
HttpReply error_form(int status, const Error& error, std::string_view path) {
  if (path.starts_with("/lambda-url/"))
    return url_refusal(status, status == 413 ? "RequestEntityTooLargeException" : "InvalidRequestException", error.message);
  if (lambda::is_path(path)) return lambda::error_reply(error, status);
  if (path != "/v2" && !path.starts_with("/v2/")) return plain_error_form(status, error, path);
  return v2_error_form(status, error, path);
}

}  // namespace

struct Gateway::Inside {
  Inside(os::Loop& loop, const Turn& turn, serve::Invoker& invoker, control::Control& control, GatewayOptions o)
      : options(std::move(o)), inference(invoker, control, server, options.events), models(control, [this] { return !server.draining(); }),
        urls({invoker, control, server, turn, options.keys}), lambda_api(control), lambda_settings(control, turn, !options.keys.empty()),
        lambda_code(control), lambda_layers(control), api(control, loop, turn),
        doors(loop, invoker, control, options.doors),
        server(loop, router, options.limits, error_form) {
    if (!options.keys.empty())
      router.gate([this, &turn](const HttpRequest& request, const Responder& to) { return let_in(request, to, turn.wall); });
    inference.add_routes(router);
    urls.add_routes(router);
    models.add_routes(router);
    lambda_api.add_routes(router);
    lambda_settings.add_routes(router);
    lambda_code.add_routes(router);
    lambda_layers.add_routes(router);
    api.add_routes(router);
    if (options.deploys) add_deploys(loop, turn, control);
    router.add(Method::get, "/metrics", [this, &control](HttpRequest&, Responder to) {
      std::string text = control.metrics() + metrics_of(server);
      if (options.events) text += metrics_of(*options.events);
      to.send({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = std::move(text)});
    });
    router.add(Method::get, "/", [](HttpRequest&, Responder to) {
      to.send({.content_type = "text/plain; charset=utf-8", .body = std::string(kHint)});
    });
  }

  void add_deploys(os::Loop& loop, const Turn& turn, control::Control& control) {
    bucket = std::make_unique<DeployBucket>(control, *options.deploys, loop, turn, options.keys);
    stacks = std::make_unique<Stacks>(InnerCalls(router), control, *options.deploys, turn);
    cloudformation = std::make_unique<CloudFormation>(*stacks, *options.deploys, turn, options.keys);
    bucket->add_routes(router);
    cloudformation->add_routes(router);
  }

  // Lambda's paths want a signature where there are keys.
  bool let_in(const HttpRequest& request, const Responder& to, WallTime now) const {
    if (request.of_node || !lambda::is_path(request.path)) return true;
    const auto refusal = sigv4::check(request, options.keys, now);
    if (refusal) to.send(lambda::error_reply(403, refusal->type, refusal->message));
    return !refusal;
  }

  GatewayOptions options;
  Router router;
  Inference inference;
  V2Models models;
  FunctionUrls urls;
  LambdaApi lambda_api;
  LambdaSettings lambda_settings;
  LambdaCode lambda_code;
  LambdaLayers lambda_layers;
  ControlApi api;
  std::unique_ptr<DeployBucket> bucket;
  std::unique_ptr<Stacks> stacks;
  std::unique_ptr<CloudFormation> cloudformation;
  ModelDoors doors;
  HttpServer server;                             // last: it dies first, and tells the others who was waiting
};

Gateway::Gateway(os::Loop& loop, const Turn& turn, serve::Invoker& invoker, control::Control& control, GatewayOptions options)
    : inside_(std::make_unique<Inside>(loop, turn, invoker, control, std::move(options))) {}
Gateway::~Gateway() = default;

Result<OpenDoor> Gateway::open_door(const DoorTo& door) { return inside_->doors.open(door); }

Result<void> Gateway::start() {
  TRY_VOID(inside_->server.listen(inside_->options.listen));
  if (inside_->stacks) inside_->stacks->open();
  return {};
}
std::string Gateway::address() const { return inside_->server.address(); }
void Gateway::drain(Duration at_most, std::function<void()> done) {
  inside_->api.drain();  // answers that are kept open for followers end now: the server would wait for them
  inside_->server.drain(at_most, std::move(done));
}
const HttpServer& Gateway::server() const { return inside_->server; }

}  // namespace mayfly::gateway
