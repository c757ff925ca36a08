// The part of LambdaSettings that is kept and told again: what is to become of events, and who may call.
#include <algorithm>
#include <utility>

#include "domain/arn.h"
#include "domain/json.h"
#include "domain/settings.h"
#include "gateway/control_json.h"
#include "gateway/lambda_settings.h"

namespace mayfly::gateway {
namespace {

using lambda::answer;
using lambda::answer_page;
using lambda::dump;
using lambda::refuse;

constexpr std::string_view kStatement = "aws.policy.";  // and the statement's id; the statement; key: "", a version or an alias
constexpr const char* kNoEvents = "The function doesn't have an EventInvokeConfig";
constexpr const char* kNoPolicy = "No policy is associated with the given resource.";
constexpr std::size_t kPolicyMax = 20'480;              // bytes of all statements, as there

Json document_of(const domain::Setting& setting) { return domain::parse_json<Json>(setting.document); }

Json events_of(const domain::Function& function, const domain::Setting& kept) {
  Json json = document_of(kept);
  json["FunctionArn"] = lambda::arn_of(function.name, kept.key.empty() ? "$LATEST" : kept.key);
  json["LastModified"] = static_cast<double>(kept.updated.since_epoch.count() / 1000) / 1e3;
  return json;
}

// What of the body is kept, over what there was.
Result<Json> events_in(const Json& body, Json kept) {
  struct Limit { const char* key; int low, high; };
  for (const auto& [key, low, high] : {Limit{"MaximumRetryAttempts", 0, 2}, Limit{"MaximumEventAgeInSeconds", 60, 21'600}}) {
    if (!body.contains(key)) continue;
    TRY(kept[key], lambda::number_in(body, key, low, high));
  }
  const auto destinations = body.find("DestinationConfig");
  if (destinations == body.end() || destinations->is_null()) return kept;
  if (!destinations->is_object()) return fail(Code::invalid_argument, "DestinationConfig is not an object");
  for (const auto& [when, where] : destinations->items()) {
    if (!where.is_object() || !where.contains("Destination")) continue;
    if (when != "OnSuccess" && when != "OnFailure")
      return fail(Code::invalid_argument, "DestinationConfig." + when.substr(0, 40) + " is unknown: OnSuccess and OnFailure are there");
    TRY(const std::string arn, lambda::text_in(where, "Destination"));
    const auto target = lambda::parse_target(arn, "");
    if (!arn.starts_with(domain::function_arn("")) || !target)
      return fail(Code::unimplemented, "DestinationConfig." + when + " '" + arn.substr(0, 200) +
                                           "' is not supported: outcomes go to functions of this node alone (" +
                                           domain::function_arn("NAME") + ")");
  }
  kept["DestinationConfig"] = *destinations;
  return kept;
}

std::string kind_of_statement(std::string_view id) { return std::string(kStatement).append(id); }

Json policy_of(const lambda::Found& found) {
  std::vector<const domain::Setting*> kept;
  for (const domain::Setting& setting : found.view.function.settings)
    if (setting.kind.starts_with(kStatement) && setting.key == found.key()) kept.push_back(&setting);
  if (kept.empty()) return {};
  std::ranges::stable_sort(kept, {}, [](const domain::Setting* s) { return std::pair(s->updated.since_epoch, s->kind); });
  Json policy{{"Version", "2012-10-17"}, {"Id", "default"}, {"Statement", Json::array()}};
  std::string times;
  for (const domain::Setting* setting : kept) {
    policy["Statement"].push_back(document_of(*setting));
    times += std::to_string(setting->updated.since_epoch.count()) + " ";
  }
  const std::string text = dump(policy);
  return {{"Policy", text}, {"RevisionId", lambda::revision_of(times + text)}};
}

std::string revision_of(const Json& policy) { return policy.is_null() ? "" : policy["RevisionId"].get<std::string>(); }

Json principal_of(const std::string& text) {
  if (text == "*") return "*";
  if (text.find(".amazonaws.com") != text.npos) return {{"Service", text}};
  if (text.size() == 12 && text.find_first_not_of("0123456789") == text.npos) return {{"AWS", "arn:aws:iam::" + text + ":root"}};
  return {{"AWS", text}};
}

Result<Json> statement_in(const Json& body, const std::string& arn) {
  constexpr std::string_view kIdCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  struct Condition { const char* key; const char* test; const char* name; };
  constexpr Condition kConditions[] = {{"SourceArn", "ArnLike", "AWS:SourceArn"},
                                       {"SourceAccount", "StringEquals", "AWS:SourceAccount"},
                                       {"PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"},
                                       {"EventSourceToken", "StringEquals", "lambda:EventSourceToken"},
                                       {"FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"}};
  TRY(const std::string id, lambda::text_in(body, "StatementId"));
  TRY(const std::string action, lambda::text_in(body, "Action"));
  TRY(const std::string principal, lambda::text_in(body, "Principal"));
  if (id.empty() || id.size() > 100 || id.find_first_not_of(kIdCharacters) != id.npos)
    return fail(Code::invalid_argument, "StatementId '" + id.substr(0, 100) + "' is not 1 to 100 of a-z, A-Z, 0-9, '-' and '_'");
  if (action != "*" && !action.starts_with("lambda:"))
    return fail(Code::invalid_argument, "Action '" + action.substr(0, 64) + "' is not one of Lambda's: write lambda:InvokeFunction");
  if (principal.empty()) return fail(Code::invalid_argument, "Principal is missing: name a service, an account or an ARN");
  Json statement{{"Sid", id}, {"Effect", "Allow"}, {"Principal", principal_of(principal)}, {"Action", action}, {"Resource", arn}};
  for (const auto& [key, test, name] : kConditions) {
    TRY(const std::string value, lambda::text_in(body, key));
    if (!value.empty()) statement["Condition"][test][name] = value;
  }
  return statement;
}

}  // namespace

// Events -----------------------------------------------------------------------------------------

void LambdaSettings::add_events(Router& router) {
  constexpr const char* kPath = "/2019-09-25/functions/{name}/event-invoke-config";
  add(router, Method::put, kPath, &LambdaSettings::set_events, kBodyMax);
  add(router, Method::post, kPath, &LambdaSettings::set_events, kBodyMax);
  add(router, Method::get, kPath, &LambdaSettings::get_events);
  add(router, Method::delete_, kPath, &LambdaSettings::delete_events);
  add(router, Method::get, "/2019-09-25/functions/{name}/event-invoke-config/list", &LambdaSettings::list_events);
}

// PUT replaces, POST changes what is there.
void LambdaSettings::set_events(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const domain::Setting* before = domain::find_setting(found.view.function, domain::kEvents, found.key());
  if (request.method == Method::post && !before) return refuse(to, {Code::not_found, kNoEvents});
  const auto events = events_in(*body, request.method == Method::post ? document_of(*before) : Json::object());
  if (!events) return refuse(to, events.error());
  keep(found, {{std::string(domain::kEvents), found.key(), dump(*events), {}}}, to, 200, [](const Found& now) {
    return events_of(now.view.function, *domain::find_setting(now.view.function, domain::kEvents, now.key()));
  });
}

void LambdaSettings::get_events(const Found& found, HttpRequest&, const Responder& to) {
  const domain::Setting* kept = domain::find_setting(found.view.function, domain::kEvents, found.key());
  if (!kept) return refuse(to, {Code::not_found, kNoEvents});
  answer(to, events_of(found.view.function, *kept));
}

void LambdaSettings::list_events(const Found& found, HttpRequest& request, const Responder& to) {
  std::vector<Json> all;
  for (const domain::Setting& setting : found.view.function.settings)
    if (setting.kind == domain::kEvents) all.push_back(events_of(found.view.function, setting));
  answer_page(request, to, "FunctionEventInvokeConfigs", std::move(all));
}

void LambdaSettings::delete_events(const Found& found, HttpRequest&, const Responder& to) {
  drop(found, std::string(domain::kEvents), to, kNoEvents);
}

// Policy -----------------------------------------------------------------------------------------

void LambdaSettings::add_policy(Router& router) {
  add(router, Method::post, "/2015-03-31/functions/{name}/policy", &LambdaSettings::add_permission, kBodyMax);
  add(router, Method::get, "/2015-03-31/functions/{name}/policy", &LambdaSettings::get_policy);
  add(router, Method::delete_, "/2015-03-31/functions/{name}/policy/{statement}", &LambdaSettings::remove_permission);
}

void LambdaSettings::add_permission(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto statement = statement_in(*body, found.arn());
  const auto revision = lambda::text_in(*body, "RevisionId");
  if (!statement || !revision) return refuse(to, statement ? revision.error() : statement.error());
  const Json policy = policy_of(found);
  if (!lambda::same_revision(to, *revision, revision_of(policy))) return;
  const std::string id = (*statement)["Sid"], text = dump(*statement);
  if (domain::find_setting(found.view.function, kind_of_statement(id), found.key()))
    return refuse(to, {Code::conflict, "The statement id (" + id + ") provided already exists. Please provide a new statement id, or "
                                       "remove the existing statement."});
  if ((policy.is_null() ? 0 : policy["Policy"].get_ref<const std::string&>().size()) + text.size() > kPolicyMax)
    return refuse(to, 400, "PolicyLengthExceededException",
                  "The final policy size is bigger than the limit (" + std::to_string(kPolicyMax) + ").");
  keep(found, {{kind_of_statement(id), found.key(), text, {}}}, to, 201, [text](const Found&) { return Json{{"Statement", text}}; });
}

void LambdaSettings::get_policy(const Found& found, HttpRequest&, const Responder& to) {
  const Json policy = policy_of(found);
  if (policy.is_null()) return refuse(to, {Code::not_found, kNoPolicy});
  answer(to, policy);
}

void LambdaSettings::remove_permission(const Found& found, HttpRequest& request, const Responder& to) {
  if (!lambda::same_revision(to, request.query_value("RevisionId").value_or(""), revision_of(policy_of(found)))) return;
  drop(found, kind_of_statement(request.parameters[1]), to, "Statement is not found in resource policy.");
}

}  // namespace mayfly::gateway
