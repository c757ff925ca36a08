// The control API's optimizations: what was found when a version was made smaller (mayfly deploy --optimize), kept with its function
// as long as the version is. Each is the object that was put, 64 KiB at most, with its version and the time; nothing here acts by it.
#include <algorithm>
#include <charconv>

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
Json list_of(const domain::Function& function) {
  std::vector<Json> list;
  for (const domain::Setting& setting : function.settings) {
    if (setting.kind != domain::kOptimization) continue;
    const auto number = number_of(setting.key);
    Json one = Json::parse(setting.document, nullptr, /*allow_exceptions=*/false);
    if (!number || !one.is_object()) continue;
    one["version"] = *number;
    one["time"] = to_rfc3339(setting.updated);
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
    to.send({.body = Json{{"optimizations", list_of(view->function)}}.dump() + "\n"});
  });
  router.add(Method::put, "/api/functions/{name}/optimizations/{version}", [this](HttpRequest& request, Responder to) {
    const std::string name(request.parameters[0]);
    const auto number = number_of(request.parameters[1]);
    if (!number) return to.fail(number.error());
    const auto view = control_.describe(name);
    if (!view) return to.fail(view.error());
    if (std::ranges::find(view->function.versions, *number, &domain::Version::number) == view->function.versions.end())
      return to.fail({Code::not_found, "function '" + name + "' has no version " + std::to_string(*number)});
    const auto object = parse_object(request.body);
    if (!object) return to.fail(object.error());
    if (!object->contains("candidates") || !object->at("candidates").is_array())
      return to.fail({Code::invalid_argument, "an optimization has its 'candidates', an array"});
    control_.set_settings(name, {{std::string(domain::kOptimization), std::to_string(*number), object->dump(), {}}},
                          [to](const Result<void>& done) {
      if (!done) return to.fail(done.error());
      to.send({.status = 204, .content_type = "", .body = {}});
    });
  }, kBodyMax);
}

}  // namespace mayfly::gateway
