#include "gateway/gateway.h"

#include <nlohmann/json.hpp>

#include "gateway/control_api.h"
#include "gateway/http_server.h"
#include "gateway/inference.h"

namespace mayfly::gateway {
namespace {

// What the server itself refuses is said in the form of the protocol that was spoken.
HttpReply error_form(int status, const Error& error, std::string_view path) {
  if (!path.starts_with("/v2")) return plain_error_form(status, error, path);
  return {.status = status, .body = nlohmann::json{{"error", error.message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

}  // namespace

struct Gateway::Inside {
  Inside(os::Loop& loop, const Turn& turn, serve::Invoker& invoker, control::Control& control, GatewayOptions o)
      : options(std::move(o)), server(loop, router, {}, error_form), inference(invoker, control, server), api(control, loop, turn) {
    inference.add_routes(router);
    api.add_routes(router);
    router.add(Method::get, "/", [](HttpRequest&, Responder to) {
      to.send({.content_type = "text/plain; charset=utf-8", .body = "Mayfly runs here. Deploy: mayfly deploy model.onnx. Call: POST /functions/NAME or /v2/models/NAME/infer. Watch: /metrics. List: /api/functions.\n"});
    });
  }
  GatewayOptions options;
  Router router;
  HttpServer server;
  Inference inference;
  ControlApi api;
};

Gateway::Gateway(os::Loop& loop, const Turn& turn, serve::Invoker& invoker, control::Control& control, GatewayOptions options)
    : inside_(std::make_unique<Inside>(loop, turn, invoker, control, std::move(options))) {}
Gateway::~Gateway() = default;

Result<void> Gateway::start() { return inside_->server.listen(inside_->options.listen); }
std::string Gateway::address() const { return inside_->server.address(); }
void Gateway::drain(Duration at_most, std::function<void()> done) { inside_->server.drain(at_most, std::move(done)); }

}  // namespace mayfly::gateway
