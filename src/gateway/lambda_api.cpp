#include "gateway/lambda_api.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

using lambda::configuration_of;

constexpr std::size_t kPageMax = 50;   // entries of a list, as there

void refuse(const Responder& to, const Error& error) { to.send(lambda::error_reply(error)); }

void answer(const Responder& to, const Json& json, int status = 200) {
  to.send({.status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace)});
}

// `all` from Marker on, MaxItems at most; Marker is where the last page ended.
Result<Json> page_of(const HttpRequest& request, const char* key, std::vector<Json> all) {
  const auto number_of = [&](std::string_view name, std::size_t otherwise) -> Result<std::size_t> {
    const auto text = request.query_value(name);
    if (!text || text->empty()) return otherwise;
    std::size_t value = 0;
    const auto [at, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error == std::errc() && at == text->data() + text->size()) return value;
    return fail(Code::invalid_argument, std::string(name) + " '" + text->substr(0, 64) + "' is not a whole number");
  };
  TRY(const std::size_t begin, number_of("Marker", 0));
  TRY(const std::size_t most, number_of("MaxItems", kPageMax));
  const std::size_t first = std::min(begin, all.size());
  const std::size_t end = std::min(all.size(), first + std::clamp<std::size_t>(most, 1, kPageMax));
  Json page{{key, Json::array()}};
  for (std::size_t i = first; i < end; ++i) page[key].push_back(std::move(all[i]));
  if (end < all.size()) page["NextMarker"] = std::to_string(end);
  return page;
}

void answer_page(const HttpRequest& request, const Responder& to, const char* key, std::vector<Json> all) {
  const auto page = page_of(request, key, std::move(all));
  if (!page) return refuse(to, page.error());
  answer(to, *page);
}

}  // namespace

Result<LambdaApi::Found> LambdaApi::find(const HttpRequest& request) {
  TRY(const lambda::Target target, lambda::parse_target(request.parameters[0], request.query_value("Qualifier").value_or("")));
  Found found{.qualifier = target.qualifier.empty() ? "$LATEST" : target.qualifier};
  TRY(const domain::Version version, control_.resolve(target.function, found.qualifier));
  TRY(found.view, control_.describe(target.function));
  const auto& versions = found.view.function.versions;
  const auto at = std::ranges::find(versions, version.number, &domain::Version::number);
  if (at == versions.end()) return fail(Code::not_found, "this version was deleted");
  found.version = &*at;
  return found;
}

void LambdaApi::add_routes(Router& router) {
  add_functions(router);
  add_aliases(router);
  refuse_others(router);
}

void LambdaApi::add_functions(Router& router) {
  router.add(Method::get, "/2015-03-31/functions", [this](HttpRequest& request, Responder to) { list(request, to); });
  router.add(Method::get, "/2015-03-31/functions/{name}", [this](HttpRequest& request, Responder to) {
    const auto found = find(request);
    if (!found) return refuse(to, found.error());
    answer(to, {{"Configuration", configuration_of(found->view.function.name, *found->version, found->qualifier)},
                {"Code", {{"RepositoryType", "Mayfly"}}},
                {"Tags", Json::object()}});
  });
  router.add(Method::get, "/2015-03-31/functions/{name}/configuration", [this](HttpRequest& request, Responder to) {
    const auto found = find(request);
    if (!found) return refuse(to, found.error());
    answer(to, configuration_of(found->view.function.name, *found->version, found->qualifier));
  });
  router.add(Method::delete_, "/2015-03-31/functions/{name}", [this](HttpRequest& request, Responder to) { remove(request, to); });
  router.add(Method::get, "/2015-03-31/functions/{name}/versions", [this](HttpRequest& request, Responder to) { versions(request, to); });
  router.add(Method::post, "/2015-03-31/functions/{name}/versions",
             [this](HttpRequest& request, Responder to) { publish(request, to); }, kBodyMax);
  router.add(Method::get, "/2016-08-19/account-settings", [this](HttpRequest&, Responder to) { account(to); });
}

void LambdaApi::list(const HttpRequest& request, const Responder& to) {
  const bool all_versions = request.query_value("FunctionVersion") == "ALL";
  std::vector<Json> all;
  for (const control::FunctionView& view : control_.list()) {
    const auto& versions = view.function.versions;
    if (versions.empty()) continue;
    all.push_back(configuration_of(view.function.name, versions.back(), "$LATEST"));
    for (const domain::Version& version : versions)
      if (all_versions) all.push_back(configuration_of(view.function.name, version, std::to_string(version.number)));
  }
  answer_page(request, to, "Functions", std::move(all));
}

void LambdaApi::versions(const HttpRequest& request, const Responder& to) {
  const auto found = find(request);
  if (!found) return refuse(to, found.error());
  const domain::Function& function = found->view.function;
  std::vector<Json> all{configuration_of(function.name, function.versions.back(), "$LATEST")};
  for (const domain::Version& version : function.versions)
    all.push_back(configuration_of(function.name, version, std::to_string(version.number)));
  answer_page(request, to, "Versions", std::move(all));
}

void LambdaApi::remove(const HttpRequest& request, const Responder& to) {
  const auto found = find(request);
  if (!found) return refuse(to, found.error());
  const auto done = [to](const Result<void>& removed) {
    if (!removed) return refuse(to, removed.error());
    to.send({.status = 204, .content_type = "", .body = {}});
  };
  const std::string& name = found->view.function.name;
  if (found->qualifier == "$LATEST") return control_.remove(name, done);
  if (found->qualifier != std::to_string(found->version->number))
    return refuse(to, {Code::invalid_argument, "'" + found->qualifier + "' is an alias: DeleteAlias removes it"});
  control_.remove_version(name, found->version->number, done);
}

// Every deploy has made a version already: the newest is published.
void LambdaApi::publish(const HttpRequest& request, const Responder& to) {
  const auto found = find(request);
  if (!found) return refuse(to, found.error());
  answer(to, configuration_of(found->view.function.name, *found->version, std::to_string(found->version->number)), 201);
}

void LambdaApi::account(const Responder& to) {
  constexpr int kConcurrent = 100'000;   // calls in flight of all functions
  const auto views = control_.list();
  std::uint64_t size = 0;
  for (const control::FunctionView& view : views)
    for (const domain::Version& version : view.function.versions)
      for (const domain::FileRef& file : version.files) size += file.size.count;
  answer(to, {{"AccountLimit", {{"TotalCodeSize", std::uint64_t{1} << 50}, {"CodeSizeUnzipped", std::uint64_t{64} << 30},
                                {"CodeSizeZipped", std::uint64_t{64} << 30}, {"ConcurrentExecutions", kConcurrent},
                                {"UnreservedConcurrentExecutions", kConcurrent}}},
              {"AccountUsage", {{"TotalCodeSize", size}, {"FunctionCount", views.size()}}}});
}

void LambdaApi::add_aliases(Router& router) {
  router.add(Method::get, "/2015-03-31/functions/{name}/aliases", [this](HttpRequest& request, Responder to) { aliases(request, to); });
  router.add(Method::get, "/2015-03-31/functions/{name}/aliases/{alias}", [this](HttpRequest& request, Responder to) {
    const auto found = find(request);
    if (!found) return refuse(to, found.error());
    for (const domain::Alias& alias : found->view.function.aliases)
      if (alias.name == request.parameters[1]) return answer(to, lambda::alias_of(found->view.function.name, alias));
    refuse(to, {Code::not_found, "there is no alias " + lambda::arn_of(found->view.function.name, request.parameters[1])});
  });
  router.add(Method::post, "/2015-03-31/functions/{name}/aliases",
             [this](HttpRequest& request, Responder to) { set_alias(request, to, true); }, kBodyMax);
  router.add(Method::put, "/2015-03-31/functions/{name}/aliases/{alias}",
             [this](HttpRequest& request, Responder to) { set_alias(request, to, false); }, kBodyMax);
  router.add(Method::delete_, "/2015-03-31/functions/{name}/aliases/{alias}", [this](HttpRequest& request, Responder to) {
    const auto target = lambda::parse_target(request.parameters[0], "");
    if (!target) return refuse(to, target.error());
    control_.remove_alias(target->function, request.parameters[1], [to](const Result<void>& removed) {
      // Deleting what is not there succeeds, as there.
      if (!removed && removed.error().code != Code::not_found) return refuse(to, removed.error());
      to.send({.status = 204, .content_type = "", .body = {}});
    });
  });
}

void LambdaApi::aliases(const HttpRequest& request, const Responder& to) {
  const auto found = find(request);
  if (!found) return refuse(to, found.error());
  const std::string version = request.query_value("FunctionVersion").value_or("");
  std::vector<Json> all;
  for (const domain::Alias& alias : found->view.function.aliases) {
    const auto names = [&](const domain::Weight& w) { return std::to_string(w.version) == version; };
    if (version.empty() || std::ranges::any_of(alias.weights, names)) all.push_back(lambda::alias_of(found->view.function.name, alias));
  }
  answer_page(request, to, "Aliases", std::move(all));
}

void LambdaApi::set_alias(const HttpRequest& request, const Responder& to, bool create) {
  const auto found = find(request);
  if (!found) return refuse(to, found.error());
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const domain::Function& function = found->view.function;
  std::string name(create ? std::string_view() : request.parameters[1]);
  if (create && body->contains("Name") && (*body)["Name"].is_string()) name = (*body)["Name"].get<std::string>();
  if (name.empty()) return refuse(to, {Code::invalid_argument, "Name is missing: name the alias"});
  const auto known = std::ranges::find(function.aliases, name, &domain::Alias::name);
  if (create && known != function.aliases.end())
    return refuse(to, {Code::conflict, "Alias already exists: " + lambda::arn_of(function.name, name)});
  if (!create && known == function.aliases.end())
    return refuse(to, {Code::not_found, "there is no alias " + lambda::arn_of(function.name, name)});
  auto weights = lambda::weights_of(*body, create ? std::vector<domain::Weight>() : known->weights, function.versions);
  if (!weights) return refuse(to, weights.error());
  control_.set_alias(function.name, name, *std::move(weights),
                     [to, create, of = function.name](const Result<domain::Alias>& alias) {
    if (!alias) return refuse(to, alias.error());
    answer(to, lambda::alias_of(of, *alias), create ? 201 : 200);
  });
}

// So that a tool says which of its steps can't be done here, and not that a path is unknown.
void LambdaApi::refuse_others(Router& router) {
  struct Operation {
    Method method;
    const char* pattern;
    const char* name;
    const char* instead;
  };
  constexpr const char* kDeploy = "deploy a model with 'mayfly deploy'; code is not run yet";
  constexpr const char* kNone = "this release has nothing like it";
  static constexpr Operation kOperations[] = {
      {Method::post, "/2015-03-31/functions", "CreateFunction", kDeploy},
      {Method::put, "/2015-03-31/functions/{name}/code", "UpdateFunctionCode", kDeploy},
      {Method::put, "/2015-03-31/functions/{name}/configuration", "UpdateFunctionConfiguration", "deploy it again with its function.yaml"},
      {Method::post, "/2014-11-13/functions/{name}/invoke-async", "InvokeAsync", "use Invoke with RequestResponse"},
      {Method::post, "/2021-11-15/functions/{name}/response-streaming-invocations", "InvokeWithResponseStream", "use Invoke"},
      {Method::put, "/2017-10-31/functions/{name}/concurrency", "PutFunctionConcurrency", "set scaling in function.yaml"},
      {Method::put, "/2019-09-30/functions/{name}/provisioned-concurrency", "PutProvisionedConcurrencyConfig",
       "set scaling.min in function.yaml"},
      {Method::put, "/2019-09-25/functions/{name}/event-invoke-config", "PutFunctionEventInvokeConfig", kNone},
      {Method::post, "/2015-03-31/event-source-mappings", "CreateEventSourceMapping", kNone},
      {Method::get, "/2015-03-31/event-source-mappings", "ListEventSourceMappings", kNone},
      {Method::post, "/2015-03-31/functions/{name}/policy", "AddPermission", kNone},
      {Method::get, "/2015-03-31/functions/{name}/policy", "GetPolicy", kNone},
      {Method::post, "/2021-10-31/functions/{name}/url", "CreateFunctionUrlConfig", "call POST /functions/NAME"},
      {Method::get, "/2021-10-31/functions/{name}/url", "GetFunctionUrlConfig", "call POST /functions/NAME"},
      {Method::get, "/2018-10-31/layers", "ListLayers", kNone},
      {Method::post, "/2018-10-31/layers/{name}/versions", "PublishLayerVersion", kNone},
  };
  for (const Operation& operation : kOperations)
    router.add(operation.method, operation.pattern, [&operation](HttpRequest&, Responder to) {
      refuse(to, {Code::unimplemented, std::string(operation.name) + " is not supported: " + operation.instead});
    }, kBodyMax);
}

}  // namespace mayfly::gateway
