#include "gateway/lambda_layers.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "domain/arn.h"
#include "domain/json.h"
#include "gateway/control_json.h"
#include "gateway/lambda_zip.h"
#include "os/digest.h"

namespace mayfly::gateway {
namespace {

using domain::LayerVersion;
using lambda::answer;
using lambda::answer_nothing;
using lambda::answer_page;
using lambda::dump;
using lambda::refuse;

constexpr const char* kNone = "The resource you requested does not exist.";
constexpr std::size_t kPolicyMax = 20'480;  // bytes of all statements, as there
constexpr std::size_t kRuntimesMax = 15, kArchitecturesMax = 2, kDescriptionMax = 256, kLicenseMax = 512;

Json described(const LayerVersion& layer) {
  Json json{{"LayerVersionArn", domain::layer_arn(layer.name, layer.number)}, {"Version", layer.number},
            {"Description", layer.description}, {"CreatedDate", lambda::date_of(layer.created)}};
  if (!layer.runtimes.empty()) json["CompatibleRuntimes"] = layer.runtimes;
  if (!layer.architectures.empty()) json["CompatibleArchitectures"] = layer.architectures;
  if (!layer.license.empty()) json["LicenseInfo"] = layer.license;
  return json;
}

Json whole(const LayerVersion& layer) {
  Json json = described(layer);
  json["LayerArn"] = domain::layer_arn(layer.name);
  json["Content"] = {{"CodeSha256", os::to_base64(lambda::bytes_of_hex(layer.sha256))}, {"CodeSize", layer.size.count}};
  return json;
}

Result<std::vector<std::string>> words_in(const Json& body, const char* key, std::size_t most) {
  constexpr std::string_view kCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-._";
  std::vector<std::string> words;
  if (!body.contains(key) || body[key].is_null()) return words;
  if (!body[key].is_array() || body[key].size() > most)
    return fail(Code::invalid_argument, std::string(key) + " is not a list of at most " + std::to_string(most) + " names");
  for (const Json& word : body[key]) {
    const std::string text = word.is_string() ? word.get<std::string>() : std::string();
    if (text.empty() || text.size() > 64 || text.find_first_not_of(kCharacters) != text.npos)
      return fail(Code::invalid_argument, std::string(key) + ": " + dump(word).substr(0, 80) + " is no such name");
    words.push_back(text);
  }
  return words;
}

Result<std::string> limited(const Json& body, const char* key, std::size_t most) {
  TRY(std::string text, lambda::text_in(body, key));
  if (text.size() <= most) return text;
  return fail(Code::invalid_argument, std::string(key) + " has " + std::to_string(text.size()) + " bytes: at most " + std::to_string(most));
}

// A name, or the ARN of a layer without a version.
Result<std::string> layer_name_of(std::string_view text) {
  if (text.starts_with("arn:")) {
    TRY(const domain::LayerName layer, domain::parse_layer(std::string(text) + ":1"));
    return layer.name;
  }
  if (domain::valid_layer_name(text)) return std::string(text);
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 170)) +
                                          "' is not a layer's name: use 1 to 140 of a-z, A-Z, 0-9, '-' and '_'");
}

bool matches(const HttpRequest& request, const LayerVersion& layer) {
  const auto says = [&](const char* key, const std::vector<std::string>& has) {
    const auto wanted = request.query_value(key);
    return !wanted || wanted->empty() || std::ranges::find(has, *wanted) != has.end();
  };
  return says("CompatibleRuntime", layer.runtimes) && says("CompatibleArchitecture", layer.architectures);
}

Json policy_of(const LayerVersion& layer) {
  if (layer.policy.empty()) return {};
  Json policy{{"Version", "2012-10-17"}, {"Id", "default"}, {"Statement", Json::array()}};
  for (const domain::LayerStatement& statement : layer.policy)
    policy["Statement"].push_back(domain::parse_json<Json>(statement.document));
  const std::string text = dump(policy);
  return {{"Policy", text}, {"RevisionId", lambda::revision_of(text)}};
}

std::string revision_of(const Json& policy) { return policy.is_null() ? "" : policy["RevisionId"].get<std::string>(); }

Result<Json> statement_in(const Json& body, const LayerVersion& layer) {
  constexpr std::string_view kIdCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  TRY(const std::string id, lambda::text_in(body, "StatementId"));
  TRY(const std::string action, lambda::text_in(body, "Action"));
  TRY(const std::string principal, lambda::text_in(body, "Principal"));
  TRY(const std::string organization, lambda::text_in(body, "OrganizationId"));
  if (id.empty() || id.size() > 100 || id.find_first_not_of(kIdCharacters) != id.npos)
    return fail(Code::invalid_argument, "StatementId '" + id.substr(0, 100) + "' is not 1 to 100 of a-z, A-Z, 0-9, '-' and '_'");
  if (action != "lambda:GetLayerVersion")
    return fail(Code::invalid_argument, "Action '" + action.substr(0, 64) + "' is not lambda:GetLayerVersion, all there is of a layer");
  const bool account = principal.size() == 12 && principal.find_first_not_of("0123456789") == principal.npos;
  if (principal != "*" && !account && !principal.starts_with("arn:"))
    return fail(Code::invalid_argument, "Principal '" + principal.substr(0, 80) + "' is no account, ARN or *");
  if (!organization.empty() && principal != "*")
    return fail(Code::invalid_argument, "OrganizationId wants the Principal *");
  Json statement{{"Sid", id}, {"Effect", "Allow"},
                 {"Principal", account ? Json{{"AWS", "arn:aws:iam::" + principal + ":root"}}
                                       : principal == "*" ? Json("*") : Json{{"AWS", principal}}},
                 {"Action", action}, {"Resource", domain::layer_arn(layer.name, layer.number)}};
  if (!organization.empty()) statement["Condition"]["StringEquals"]["aws:PrincipalOrgID"] = organization;
  return statement;
}

}  // namespace

Result<std::vector<std::string>> lambda::layers_in(const Json& body) {
  const Json& list = body.at("Layers");
  if (!list.is_array()) return fail(Code::invalid_argument, "Layers is not a list of ARNs of layer versions");
  if (list.size() > domain::kFunctionLayersMax)
    return fail(Code::invalid_argument, "Cannot reference more than " + std::to_string(domain::kFunctionLayersMax) + " layers.");
  std::vector<std::string> names, layers;
  for (const Json& item : list) {
    const std::string arn = item.is_string() ? item.get<std::string>() : dump(item);
    const auto layer = domain::parse_layer(arn);
    if (!layer || !arn.starts_with("arn:"))
      return fail(Code::invalid_argument, "1 validation error detected: Value '" + arn.substr(0, 200) + "' at 'layers' failed to satisfy "
                                              "constraint: it is not the ARN of a layer version, " + domain::layer_arn("NAME", 1));
    if (std::ranges::find(names, layer->name) != names.end())
      return fail(Code::invalid_argument, "Two different versions of the same layer are not allowed to be referenced in the same function. "
                                              + domain::layer_arn(layer->name) + " is there twice.");
    names.push_back(layer->name);
    layers.push_back(domain::to_text(*layer));
  }
  return layers;
}

void LambdaLayers::add_routes(Router& router) {
  constexpr const char* kVersions = "/2018-10-31/layers/{name}/versions";
  constexpr const char* kVersion = "/2018-10-31/layers/{name}/versions/{version}";
  constexpr const char* kPolicy = "/2018-10-31/layers/{name}/versions/{version}/policy";
  router.add(Method::get, "/2018-10-31/layers", [this](HttpRequest& request, Responder to) { list(request, to); });
  router.add(Method::get, kVersions, [this](HttpRequest& request, Responder to) { list_versions(request, to); });
  router.add(Method::post, kVersions, [this](HttpRequest& request, Responder to) { publish(request, to); }, lambda::kRequestMax);
  router.add(Method::get, kVersion, [this](HttpRequest& request, Responder to) {
    const auto layer = find(request);
    if (!layer) return refuse(to, layer.error());
    answer(to, whole(*layer));
  });
  router.add(Method::delete_, kVersion, [this](HttpRequest& request, Responder to) { remove(request, to); });
  router.add(Method::get, kPolicy, [this](HttpRequest& request, Responder to) {
    const auto layer = find(request);
    if (!layer) return refuse(to, layer.error());
    const Json policy = policy_of(*layer);
    if (policy.is_null()) return refuse(to, {Code::not_found, "No policy is associated with the given resource."});
    answer(to, policy);
  });
  router.add(Method::post, kPolicy, [this](HttpRequest& request, Responder to) { add_permission(request, to); }, kBodyMax);
  router.add(Method::delete_, "/2018-10-31/layers/{name}/versions/{version}/policy/{statement}",
             [this](HttpRequest& request, Responder to) { remove_permission(request, to); });
}

Result<LayerVersion> LambdaLayers::find(const domain::LayerName& name) {
  for (LayerVersion& layer : control_.layers(name.name))
    if (layer.number == name.number) return std::move(layer);
  return fail(Code::not_found, kNone);
}

Result<LayerVersion> LambdaLayers::find(const HttpRequest& request) {
  domain::LayerName wanted;
  TRY(wanted.name, layer_name_of(request.parameters[0]));
  const std::string_view text = request.parameters[1];
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted.number);
  if (error != std::errc() || end != text.data() + text.size() || wanted.number < 1)
    return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 64)) + "' is not a version's number");
  return find(wanted);
}

void LambdaLayers::publish(HttpRequest& request, const Responder& to) {
  std::string cut = lambda::cut_zip(request.body);
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto begun = [&]() -> Result<std::pair<control::LayerOrder, lambda::ZipSource>> {
    control::LayerOrder order;
    TRY(order.name, layer_name_of(request.parameters[0]));
    TRY(order.description, limited(*body, "Description", kDescriptionMax));
    TRY(order.license, limited(*body, "LicenseInfo", kLicenseMax));
    TRY(order.runtimes, words_in(*body, "CompatibleRuntimes", kRuntimesMax));
    TRY(order.architectures, words_in(*body, "CompatibleArchitectures", kArchitecturesMax));
    const Json content = body->contains("Content") && (*body)["Content"].is_object() ? (*body)["Content"] : Json::object();
    TRY(lambda::ZipSource source, lambda::zip_in(content, std::move(cut)));
    return std::pair(std::move(order), std::move(source));
  }();
  if (!begun) return refuse(to, begun.error());
  lambda::upload_zip(control_, begun->second, "layer.zip", [this, to, order = begun->first](const Result<domain::FileRef>& file) mutable {
    if (!file) return refuse(to, file.error());
    order.archive = *file;
    control_.publish_layer(std::move(order), [to](const Result<LayerVersion>& layer) {
      if (!layer) return refuse(to, layer.error());
      answer(to, whole(*layer), 201);
    });
  });
}

void LambdaLayers::list(const HttpRequest& request, const Responder& to) {
  if (request.query_value("find") == "LayerVersion") {   // GetLayerVersionByArn
    const auto named = domain::parse_layer(request.query_value("Arn").value_or(""));
    const auto layer = named ? find(*named) : Result<LayerVersion>(fail(named.error()));
    if (!layer) return refuse(to, layer.error());
    return answer(to, whole(*layer));
  }
  std::vector<Json> all;
  std::string before;
  for (const LayerVersion& layer : control_.layers("")) {   // of each name the last that matches
    if (!matches(request, layer)) continue;
    if (layer.name == before) all.pop_back();
    before = layer.name;
    all.push_back({{"LayerName", layer.name}, {"LayerArn", domain::layer_arn(layer.name)}, {"LatestMatchingVersion", described(layer)}});
  }
  answer_page(request, to, "Layers", std::move(all));
}

void LambdaLayers::list_versions(const HttpRequest& request, const Responder& to) {
  const auto name = layer_name_of(request.parameters[0]);
  if (!name) return refuse(to, name.error());
  std::vector<Json> all;
  for (const LayerVersion& layer : control_.layers(*name))
    if (matches(request, layer)) all.push_back(described(layer));
  std::ranges::reverse(all);                               // the newest first, as there
  answer_page(request, to, "LayerVersions", std::move(all));
}

// Deleting what is not there succeeds, as there.
void LambdaLayers::remove(const HttpRequest& request, const Responder& to) {
  const auto layer = find(request);
  if (!layer && layer.error().code == Code::not_found) return answer_nothing(to);
  if (!layer) return refuse(to, layer.error());
  control_.remove_layer(layer->name, layer->number, [to](const Result<void>& removed) {
    if (!removed && removed.error().code != Code::not_found) return refuse(to, removed.error());
    answer_nothing(to);
  });
}

void LambdaLayers::add_permission(const HttpRequest& request, const Responder& to) {
  const auto layer = find(request);
  if (!layer) return refuse(to, layer.error());
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto statement = statement_in(*body, *layer);
  if (!statement) return refuse(to, statement.error());
  const Json policy = policy_of(*layer);
  if (!lambda::same_revision(to, request.query_value("RevisionId").value_or(""), revision_of(policy))) return;
  const std::string id = (*statement)["Sid"], text = dump(*statement);
  if (std::ranges::find(layer->policy, id, &domain::LayerStatement::id) != layer->policy.end())
    return refuse(to, {Code::conflict, "The statement id (" + id + ") provided already exists. Please provide a new statement id, or "
                                       "remove the existing statement."});
  if ((policy.is_null() ? 0 : policy["Policy"].get_ref<const std::string&>().size()) + text.size() > kPolicyMax)
    return refuse(to, 400, "PolicyLengthExceededException",
                  "The final policy size is bigger than the limit (" + std::to_string(kPolicyMax) + ").");
  control_.set_layer_statement(layer->name, layer->number, {id, text},
                               [this, to, text, name = domain::LayerName{layer->name, layer->number}](const Result<void>& kept) {
    const auto now = kept ? find(name) : Result<LayerVersion>(fail(kept.error()));
    if (!now) return refuse(to, now.error());
    answer(to, {{"Statement", text}, {"RevisionId", revision_of(policy_of(*now))}}, 201);
  });
}

void LambdaLayers::remove_permission(const HttpRequest& request, const Responder& to) {
  const auto layer = find(request);
  if (!layer) return refuse(to, layer.error());
  if (!lambda::same_revision(to, request.query_value("RevisionId").value_or(""), revision_of(policy_of(*layer)))) return;
  const std::string id(request.parameters[2]);
  if (std::ranges::find(layer->policy, id, &domain::LayerStatement::id) == layer->policy.end())
    return refuse(to, {Code::not_found, "Statement " + id.substr(0, 100) + " is not found in resource policy."});
  control_.set_layer_statement(layer->name, layer->number, {id, ""}, [to](const Result<void>& kept) {
    if (!kept) return refuse(to, kept.error());
    answer_nothing(to);
  });
}

}  // namespace mayfly::gateway
