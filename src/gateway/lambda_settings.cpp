#include "gateway/lambda_settings.h"

#include <algorithm>
#include <utility>

#include "domain/json.h"
#include "domain/settings.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

using lambda::answer;
using lambda::answer_nothing;
using lambda::answer_page;
using lambda::refuse;

constexpr std::size_t kTagsMax = 50;     // of a function, as there
constexpr const char* kNoProvisioned = "No Provisioned Concurrency Config found for this function";

// Every value of ?name=…, in order.
std::vector<std::string> query_values(std::string_view query, std::string_view name) {
  std::vector<std::string> values;
  while (const auto pair = take_pair(query))
    if (auto value = pair->first == name ? percent_decoded(pair->second, true) : std::nullopt) values.push_back(*std::move(value));
  return values;
}

}  // namespace

Result<std::vector<domain::Setting>> lambda::tags_in(const Json& body, const domain::Function& function) {
  const auto given = body.find("Tags");
  if (given == body.end() || !given->is_object() || given->empty())
    return fail(Code::invalid_argument, "Tags is missing: write an object of name: value");
  Json all = lambda::tags_of(function);
  std::vector<domain::Setting> settings;
  for (const auto& [name, value] : given->items()) {
    if (name.empty() || name.size() > 128 || !value.is_string() || value.get_ref<const std::string&>().size() > 256)
      return fail(Code::invalid_argument,
                  "the tag '" + name.substr(0, 128) + "' is not a name of 1 to 128 bytes with a text of at most 256");
    all[name] = value;
    settings.push_back({std::string(lambda::kTag) + name, "", dump(value), {}});
  }
  if (all.size() > kTagsMax)
    return fail(Code::invalid_argument, std::to_string(all.size()) + " tags: a function has at most " + std::to_string(kTagsMax));
  return settings;
}

void LambdaSettings::add(Router& router, Method method, const char* pattern, Action action, std::uint64_t body_max) {
  router.add(method, pattern, [this, action](HttpRequest& request, Responder to) {
    const auto found = lambda::find(control_, request);
    if (!found) return refuse(to, found.error());
    (this->*action)(*found, request, to);
  }, body_max);
}

void LambdaSettings::add_routes(Router& router) {
  add(router, Method::post, "/2017-03-31/tags/{arn}", &LambdaSettings::tag, kBodyMax);
  add(router, Method::delete_, "/2017-03-31/tags/{arn}", &LambdaSettings::untag);
  add(router, Method::get, "/2017-03-31/tags/{arn}", &LambdaSettings::tags);
  add_concurrency(router);
  add_events(router);
  add_policy(router);
  add_urls(router);
}

void LambdaSettings::keep(const Found& found, std::vector<domain::Setting> settings, const Responder& to, int status, Told told) {
  const std::string& name = found.view.function.name;
  control_.set_settings(name, std::move(settings), [this, to, status, told = std::move(told), name, qualifier = found.qualifier]
                        (const Result<void>& kept) {
    if (!kept) return refuse(to, kept.error());
    if (!told) return answer_nothing(to);
    const auto now = lambda::find(control_, name, qualifier);
    if (!now) return refuse(to, now.error());
    answer(to, told(*now), status);
  });
}

void LambdaSettings::drop(const Found& found, const std::string& kind, const Responder& to, const char* missing) {
  if (missing && !domain::find_setting(found.view.function, kind, found.key())) return refuse(to, {Code::not_found, missing});
  keep(found, {{kind, found.key(), "", {}}}, to, 204, {});
}

// Tags -------------------------------------------------------------------------------------------

void LambdaSettings::tag(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  auto settings = lambda::tags_in(*body, found.view.function);
  if (!settings) return refuse(to, settings.error());
  keep(found, *std::move(settings), to, 204, {});
}

void LambdaSettings::untag(const Found& found, HttpRequest& request, const Responder& to) {
  std::vector<domain::Setting> gone;
  for (const std::string& name : query_values(request.query, "tagKeys")) gone.push_back({std::string(lambda::kTag) + name, "", "", {}});
  if (gone.empty()) return refuse(to, {Code::invalid_argument, "tagKeys is missing: name the tags to remove"});
  if (gone.size() > kTagsMax) return refuse(to, {Code::invalid_argument, "more than " + std::to_string(kTagsMax) + " tagKeys"});
  keep(found, std::move(gone), to, 204, {});
}

void LambdaSettings::tags(const Found& found, HttpRequest&, const Responder& to) {
  answer(to, {{"Tags", lambda::tags_of(found.view.function)}});
}

// Concurrency ------------------------------------------------------------------------------------

void LambdaSettings::add_concurrency(Router& router) {
  constexpr const char* kSet = "/2017-10-31/functions/{name}/concurrency";
  constexpr const char* kProvisioned = "/2019-09-30/functions/{name}/provisioned-concurrency";
  add(router, Method::put, kSet, &LambdaSettings::put_concurrency, kBodyMax);
  add(router, Method::delete_, kSet, &LambdaSettings::delete_concurrency);
  add(router, Method::get, "/2019-09-30/functions/{name}/concurrency", &LambdaSettings::get_concurrency);
  add(router, Method::put, kProvisioned, &LambdaSettings::put_provisioned, kBodyMax);
  add(router, Method::get, kProvisioned, &LambdaSettings::get_provisioned);
  add(router, Method::delete_, kProvisioned, &LambdaSettings::delete_provisioned);
}

void LambdaSettings::put_concurrency(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto most = lambda::number_in(*body, "ReservedConcurrentExecutions", 0, 100'000);
  if (!most) return refuse(to, most.error());
  keep(found, {{std::string(domain::kCallsMax), "", std::to_string(*most), {}}}, to, 200,
       [most = *most](const Found&) { return Json{{"ReservedConcurrentExecutions", most}}; });
}

void LambdaSettings::get_concurrency(const Found& found, HttpRequest&, const Responder& to) {
  const auto most = domain::calls_max(found.view.function);
  answer(to, most ? Json{{"ReservedConcurrentExecutions", *most}} : Json::object());
}

void LambdaSettings::delete_concurrency(const Found& found, HttpRequest&, const Responder& to) {
  keep(found, {{std::string(domain::kCallsMax), "", "", {}}}, to, 204, {});
}

Json LambdaSettings::provisioned_of(const domain::Function& function, const std::string& key) {
  const domain::Setting* kept = domain::find_setting(function, domain::kKeptInstances, key);
  if (!kept) return {};
  const int wanted = domain::parse_json<Json>(kept->document).get<int>();
  const auto alias = std::ranges::find(function.aliases, key, &domain::Alias::name);
  int ready = 0;
  for (const control::InstanceView& instance : control_.instances()) {
    const bool its = alias == function.aliases.end() ? std::to_string(instance.version) == key
                                                     : std::ranges::count(alias->weights, instance.version, &domain::Weight::version) > 0;
    ready += instance.function == function.name && its && instance.role == "instance" && instance.state == "ready" ? 1 : 0;
  }
  ready = std::min(ready, wanted);
  return {{"RequestedProvisionedConcurrentExecutions", wanted},
          {"AvailableProvisionedConcurrentExecutions", ready},
          {"AllocatedProvisionedConcurrentExecutions", ready},
          {"Status", ready == wanted ? "READY" : "IN_PROGRESS"},
          {"LastModified", lambda::date_of(kept->updated)}};
}

void LambdaSettings::put_provisioned(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  if (found.key().empty())
    return refuse(to, {Code::invalid_argument, "Provisioned Concurrency Configs cannot be applied to unpublished function versions: "
                                               "name a version's number or an alias as Qualifier"});
  const auto wanted = lambda::number_in(*body, "ProvisionedConcurrentExecutions", 1, 1000);
  if (!wanted) return refuse(to, wanted.error());
  if (const auto most = domain::calls_max(found.view.function); most && *wanted > *most)
    return refuse(to, {Code::invalid_argument, "Requested Provisioned Concurrency should not be greater than the "
                                               "reservedConcurrentExecution for function (" + std::to_string(*most) + ")"});
  keep(found, {{std::string(domain::kKeptInstances), found.key(), std::to_string(*wanted), {}}}, to, 202,
       [this](const Found& now) { return provisioned_of(now.view.function, now.key()); });
}

void LambdaSettings::get_provisioned(const Found& found, HttpRequest& request, const Responder& to) {
  const domain::Function& function = found.view.function;
  if (request.query_value("List") == "ALL") {
    std::vector<Json> all;
    for (const domain::Setting& setting : function.settings) {
      if (setting.kind != domain::kKeptInstances) continue;
      Json one{{"FunctionArn", lambda::arn_of(function.name, setting.key)}};
      one.update(provisioned_of(function, setting.key));
      all.push_back(std::move(one));
    }
    return answer_page(request, to, "ProvisionedConcurrencyConfigs", std::move(all));
  }
  const Json json = provisioned_of(function, found.key());
  if (json.is_null()) return refuse(to, 404, "ProvisionedConcurrencyConfigNotFoundException", kNoProvisioned);
  answer(to, json);
}

void LambdaSettings::delete_provisioned(const Found& found, HttpRequest&, const Responder& to) {
  keep(found, {{std::string(domain::kKeptInstances), found.key(), "", {}}}, to, 204, {});
}

}  // namespace mayfly::gateway
