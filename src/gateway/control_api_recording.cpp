// The control API's recordings: calls of a function that are kept as samples are switched on and off, counted, and fetched.
#include "domain/recording.h"
#include "gateway/control_api.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {

void ControlApi::add_recordings(Router& router) {
  const auto answer = [this](const std::string& function, const Responder& to) {
    const auto view = control_.describe(function);
    if (!view) return to.fail(view.error());
    if (!view->recording) return to.fail({Code::not_found, "no calls of function '" + function + "' are recorded"});
    to.send({.body = to_json(*view->recording).dump() + "\n"});
  };
  router.add(Method::get, "/api/functions/{name}/recording",
             [answer](HttpRequest& request, Responder to) { answer(std::string(request.parameters[0]), to); });
  router.add(Method::put, "/api/functions/{name}/recording", [this, answer](HttpRequest& request, Responder to) {
    const auto policy = domain::parse_recording(request.body);
    if (!policy) return to.fail(policy.error());
    const std::string name(request.parameters[0]);
    control_.record(name, *policy, [answer, name, to](const Result<void>& done) {
      if (!done) return to.fail(done.error());
      answer(name, to);
    });
  }, kBodyMax);
  router.add(Method::delete_, "/api/functions/{name}/recording", [this](HttpRequest& request, Responder to) {
    control_.record(request.parameters[0], std::nullopt, [to](const Result<void>& done) {
      if (!done) return to.fail(done.error());
      to.send({.status = 204, .content_type = "", .body = {}});
    });
  });
  router.add(Method::get, "/api/functions/{name}/recording/calls", [this](HttpRequest& request, Responder to) {
    control_.recorded(request.parameters[0], [to](Result<std::string> calls) {
      if (!calls) return to.fail(calls.error());
      to.send({.content_type = "application/octet-stream", .body = std::move(*calls)});
    });
  });
}

}  // namespace mayfly::gateway
