// The control API's optimizations: searches for a smaller model of a version (domain/optimization.h), which the node does in the
// background, and what was found, kept with the function as long as the version is.
//
//   POST   /api/functions/{name}/optimizations            begins one: an object as domain::parse_optimization_order reads it, and
//                                                          `version`, if not the one that the alias names; 202 with its version, 409
//                                                          where it is under way
//   GET    /api/functions/{name}/optimizations            all, the newest version first: `state` is waiting, running (with `line`: what
//                                                          it does), done, failed or stopped; `became` what the alias does; the report
//   DELETE /api/functions/{name}/optimizations/{version}  ends one that is under way; 404 where it is not
#include <algorithm>
#include <charconv>

#include "domain/json.h"
#include "domain/settings.h"
#include "gateway/control_api.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

Result<int> number_of(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number > 0) return number;
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 100)) + "' is no number of a version");
}

// The newest first.
Json list_of(const domain::Function& function, const std::vector<control::OptimizationView>& running) {
  std::vector<Json> list;
  for (const domain::Setting& setting : function.settings) {
    if (setting.kind != domain::kOptimization) continue;
    const auto number = number_of(setting.key);
    Json one = domain::parse_json<Json>(setting.document);
    if (!number || !one.is_object()) continue;
    one["version"] = *number;
    one["time"] = to_rfc3339(setting.updated);
    if (!one.contains("state")) one["state"] = "done";  // of a node before there were others
    for (const control::OptimizationView& view : running)
      if (view.function == function.name && view.version == *number && !view.waits) {
        one["state"] = "running";
        one["line"] = view.line;
      }
    list.push_back(std::move(one));
  }
  std::ranges::sort(list, std::greater(), [](const Json& one) { return one["version"].get<int>(); });
  return Json(std::move(list));
}

}  // namespace

void ControlApi::add_optimizations(Router& router) {
  router.add(Method::get, "/api/functions/{name}/optimizations", [this](HttpRequest& request, Responder to) {
    const auto view = control_.describe(request.parameters[0]);
    if (!view) return to.fail(view.error());
    to.send({.body = Json{{"optimizations", list_of(view->function, control_.optimizations())}}.dump() + "\n"});
  });
  router.add(Method::post, "/api/functions/{name}/optimizations", [this](HttpRequest& request, Responder to) {
    const std::string name(request.parameters[0]);
    auto object = request.body.empty() ? Result<Json>(Json::object()) : parse_object(request.body);
    if (!object) return to.fail(object.error());
    int version = 0;
    if (const auto at = object->find("version"); at != object->end()) {
      if (!at->is_number_integer() || *at < 1 || *at > 1'000'000'000)
        return to.fail({Code::invalid_argument, "'version' is " + at->dump().substr(0, 40) + ": write the number of a version"});
      version = at->get<int>();
      object->erase(at);
    }
    const auto order = domain::parse_optimization_order(object->dump());
    if (!order) return to.fail(order.error());
    control_.optimize(name, version, *order, [to, name](const Result<int>& asked) {
      if (!asked) return to.fail(asked.error());
      to.send({.status = 202, .body = Json{{"function", name}, {"version", *asked}, {"state", "waiting"}}.dump() + "\n"});
    });
  }, kBodyMax);
  router.add(Method::delete_, "/api/functions/{name}/optimizations/{version}", [this](HttpRequest& request, Responder to) {
    const auto number = number_of(request.parameters[1]);
    if (!number) return to.fail(number.error());
    control_.stop_optimization(request.parameters[0], *number, [to](const Result<void>& done) {
      if (!done) return to.fail(done.error());
      to.send({.status = 204, .content_type = "", .body = {}});
    });
  });
}

}  // namespace mayfly::gateway
