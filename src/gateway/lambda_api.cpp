#include "gateway/lambda_api.h"

#include <algorithm>
#include <string>
#include <utility>

#include "domain/settings.h"
#include "gateway/control_json.h"
#include "gateway/lambda_images.h"
#include "gateway/lambda_request.h"

namespace mayfly::gateway {
namespace {

using lambda::answer;
using lambda::answer_nothing;
using lambda::answer_page;
using lambda::configuration_of;
using lambda::find;
using lambda::refuse;

}  // namespace

void LambdaApi::add_routes(Router& router) {
  add_functions(router);
  add_aliases(router);
  refuse_others(router);
}

void LambdaApi::add_functions(Router& router) {
  router.add(Method::get, "/2015-03-31/functions", [this](HttpRequest& request, Responder to) { list(request, to); });
  router.add(Method::get, "/2015-03-31/functions/{name}", [this](HttpRequest& request, Responder to) {
    const auto found = find(control_, request);
    if (!found) return refuse(to, found.error());
    const domain::Function& function = found->view.function;
    Json json{{"Configuration", configuration_of(function, *found->version, found->qualifier)}, {"Code", lambda::code_of(*found->version)}};
    if (Json tags = lambda::tags_of(function); !tags.empty()) json["Tags"] = std::move(tags);
    if (const auto most = domain::calls_max(function)) json["Concurrency"] = {{"ReservedConcurrentExecutions", *most}};
    answer(to, json);
  });
  router.add(Method::get, "/2015-03-31/functions/{name}/configuration", [this](HttpRequest& request, Responder to) {
    const auto found = find(control_, request);
    if (!found) return refuse(to, found.error());
    answer(to, configuration_of(found->view.function, *found->version, found->qualifier));
  });
  router.add(Method::delete_, "/2015-03-31/functions/{name}", [this](HttpRequest& request, Responder to) { remove(request, to); });
  router.add(Method::get, "/2015-03-31/functions/{name}/versions", [this](HttpRequest& request, Responder to) { versions(request, to); });
  router.add(Method::post, "/2015-03-31/functions/{name}/versions",
             [this](HttpRequest& request, Responder to) { publish(request, to); }, kBodyMax);
  router.add(Method::get, "/2020-06-30/functions/{name}/code-signing-config", [this](HttpRequest& request, Responder to) {
    const auto found = find(control_, request);
    if (!found) return refuse(to, found.error());
    answer(to, {{"CodeSigningConfigArn", ""}, {"FunctionName", found->view.function.name}});  // there is none
  });
  router.add(Method::get, "/2016-08-19/account-settings", [this](HttpRequest&, Responder to) { account(to); });
}

void LambdaApi::list(const HttpRequest& request, const Responder& to) {
  const bool all_versions = request.query_value("FunctionVersion") == "ALL";
  std::vector<Json> all;
  for (const control::FunctionView& view : control_.list()) {
    const auto& versions = view.function.versions;
    if (versions.empty()) continue;
    all.push_back(configuration_of(view.function, versions.back(), "$LATEST"));
    for (const domain::Version& version : versions)
      if (all_versions) all.push_back(configuration_of(view.function, version, std::to_string(version.number)));
  }
  answer_page(request, to, "Functions", std::move(all));
}

void LambdaApi::versions(const HttpRequest& request, const Responder& to) {
  const auto found = find(control_, request);
  if (!found) return refuse(to, found.error());
  const domain::Function& function = found->view.function;
  std::vector<Json> all{configuration_of(function, function.versions.back(), "$LATEST")};
  for (const domain::Version& version : function.versions)
    all.push_back(configuration_of(function, version, std::to_string(version.number)));
  answer_page(request, to, "Versions", std::move(all));
}

void LambdaApi::remove(const HttpRequest& request, const Responder& to) {
  const auto found = find(control_, request);
  if (!found) return refuse(to, found.error());
  const auto done = [to](const Result<void>& removed) {
    if (!removed) return refuse(to, removed.error());
    answer_nothing(to);
  };
  const std::string& name = found->view.function.name;
  if (found->qualifier == "$LATEST") return control_.remove(name, done);
  if (found->qualifier != std::to_string(found->version->number))
    return refuse(to, {Code::invalid_argument, "'" + found->qualifier + "' is an alias: DeleteAlias removes it"});
  control_.remove_version(name, found->version->number, done);
}

// Every deploy has made a version already: the newest is published. A description is kept with it.
void LambdaApi::publish(const HttpRequest& request, const Responder& to) {
  const auto found = find(control_, request);
  if (!found) return refuse(to, found.error());
  const auto body = request.body.empty() ? Result<Json>(Json::object()) : parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto hash = lambda::text_in(*body, "CodeSha256"), description = lambda::text_in(*body, "Description"),
             revision = lambda::text_in(*body, "RevisionId");
  for (const auto* text : {&hash, &description, &revision})
    if (!*text) return refuse(to, text->error());
  const Json is = configuration_of(found->view.function, *found->version, found->qualifier);
  if (!lambda::same_revision(to, *revision, is["RevisionId"].get_ref<const std::string&>())) return;
  if (!hash->empty() && is["CodeSha256"] != *hash)
    return refuse(to, {Code::invalid_argument,
                       "CodeSHA256 (" + hash->substr(0, 64) + ") is different from current CodeSHA256 in $LATEST (" +
                           is["CodeSha256"].get<std::string>() + "). Please try again with the CodeSHA256 in $LATEST."});
  const std::string number = std::to_string(found->version->number);
  const auto tell = [this, to, name = found->view.function.name, number](const Result<void>& kept) {
    const auto now = kept ? find(control_, name, number) : Result<lambda::Found>(fail(kept.error()));
    if (!now) return refuse(to, now.error());
    answer(to, configuration_of(now->view.function, *now->version, number), 201);
  };
  if (description->empty()) return tell({});
  control_.set_settings(found->view.function.name, {{lambda::kPublished, number, Json{{"Description", *description}}.dump(), {}}}, tell);
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
    const auto found = find(control_, request);
    if (!found) return refuse(to, found.error());
    for (const domain::Alias& alias : found->view.function.aliases)
      if (alias.name == request.parameters[1]) return answer(to, lambda::alias_of(found->view.function, alias));
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
      answer_nothing(to);
    });
  });
}

void LambdaApi::aliases(const HttpRequest& request, const Responder& to) {
  const auto found = find(control_, request);
  if (!found) return refuse(to, found.error());
  const std::string version = request.query_value("FunctionVersion").value_or("");
  std::vector<Json> all;
  for (const domain::Alias& alias : found->view.function.aliases) {
    const auto names = [&](const domain::Weight& w) { return std::to_string(w.version) == version; };
    if (version.empty() || std::ranges::any_of(alias.weights, names)) all.push_back(lambda::alias_of(found->view.function, alias));
  }
  answer_page(request, to, "Aliases", std::move(all));
}

void LambdaApi::set_alias(const HttpRequest& request, const Responder& to, bool create) {
  const auto found = find(control_, request);
  if (!found) return refuse(to, found.error());
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const domain::Function& function = found->view.function;
  const auto description = lambda::text_in(*body, "Description"), revision = lambda::text_in(*body, "RevisionId"),
             named = lambda::text_in(*body, "Name");
  for (const auto* text : {&description, &revision, &named})
    if (!*text) return refuse(to, text->error());
  const std::string name = create ? *named : std::string(request.parameters[1]);
  if (name.empty()) return refuse(to, {Code::invalid_argument, "Name is missing: name the alias"});
  const auto known = std::ranges::find(function.aliases, name, &domain::Alias::name);
  if (create && known != function.aliases.end())
    return refuse(to, {Code::conflict, "Alias already exists: " + lambda::arn_of(function.name, name)});
  if (!create && known == function.aliases.end())
    return refuse(to, {Code::not_found, "there is no alias " + lambda::arn_of(function.name, name)});
  if (!create && !lambda::same_revision(to, *revision, lambda::alias_of(function, *known)["RevisionId"].get<std::string>())) return;
  auto weights = lambda::weights_of(*body, create ? std::vector<domain::Weight>() : known->weights, function.versions);
  if (!weights) return refuse(to, weights.error());
  const auto tell = [this, to, create, of = function.name, name](const Result<void>& kept) {
    const auto now = kept ? control_.describe(of) : Result<control::FunctionView>(fail(kept.error()));
    if (!now) return refuse(to, now.error());
    const auto at = std::ranges::find(now->function.aliases, name, &domain::Alias::name);
    if (at == now->function.aliases.end()) return refuse(to, {Code::not_found, "the alias was deleted meanwhile"});
    answer(to, lambda::alias_of(now->function, *at), create ? 201 : 200);
  };
  control_.set_alias(function.name, name, *std::move(weights),
                     [this, tell, of = function.name, name, text = *description, described = body->contains("Description")]
                     (const Result<domain::Alias>& alias) {
    if (!alias || !described) return tell(alias ? Result<void>() : fail(alias.error()));
    control_.set_settings(of, {{lambda::kAliasSaid, name, Json{{"Description", text}}.dump(), {}}}, tell);
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
  constexpr const char* kNone = "this release has nothing like it";
  static constexpr Operation kOperations[] = {
      {Method::post, "/2015-03-31/event-source-mappings", "CreateEventSourceMapping", kNone},
      {Method::get, "/2015-03-31/event-source-mappings", "ListEventSourceMappings", kNone},
  };
  for (const Operation& operation : kOperations)
    router.add(operation.method, operation.pattern, [&operation](HttpRequest&, Responder to) {
      refuse(to, {Code::unimplemented, std::string(operation.name) + " is not supported: " + operation.instead});
    }, kBodyMax);
}

}  // namespace mayfly::gateway
