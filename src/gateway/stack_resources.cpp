#include "gateway/stack_resources.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "base/hex.h"
#include "domain/arn.h"
#include "domain/json.h"
#include "domain/serverless.h"
#include "gateway/lambda_forms.h"
#include "os/digest.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using domain::member;
using domain::text_of;

constexpr const char* kFunction = "AWS::Lambda::Function";
constexpr const char* kManaged = "aws-sam-cli-managed-default";
constexpr const char* kTypes[] = {kFunction, "AWS::Lambda::Version", "AWS::Lambda::Alias", "AWS::Lambda::Url", "AWS::Lambda::LayerVersion",
                                  "AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig", "AWS::IAM::Role", "AWS::IAM::Policy",
                                  "AWS::IAM::ManagedPolicy"};
constexpr const char* kOfManaged[] = {"AWS::S3::Bucket", "AWS::S3::BucketPolicy"};

const std::string kFunctions = "/2015-03-31/functions/";

std::string path_of(const std::string& function, const std::string& rest = "", const std::string& qualifier = "") {
  return kFunctions + percent_encoded(function) + rest + (qualifier.empty() ? "" : "?Qualifier=" + percent_encoded(qualifier));
}
std::string dated(const char* date, const std::string& function, const std::string& rest, const std::string& qualifier = "") {
  return std::string("/") + date + "/functions/" + percent_encoded(function) + rest +
         (qualifier.empty() ? "" : "?Qualifier=" + percent_encoded(qualifier));
}

// Texts as numbers and truths where Lambda's API wants these.
Json number_of(const Json& json) {
  const std::string text = text_of(json);
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error == std::errc() && end == text.data() + text.size()) return whole;
  const Json number = domain::parse_json<Json>(text);
  return number.is_number() ? number : json;
}
Json truth_of(const Json& json) {
  const std::string text = text_of(json);
  return text == "true" ? Json(true) : text == "false" ? Json(false) : json;
}

Json tags_of(const StackResources::Of& of, const Json& properties) {
  Json tags{
      {"aws:cloudformation:stack-name", of.stack}, {"aws:cloudformation:logical-id", of.id}, {"aws:cloudformation:stack-id", of.stack_id}};
  const Json& given = member(properties, "Tags");
  if (given.is_array())
    for (const Json& tag : given) tags[text_of(member(tag, "Key"))] = text_of(member(tag, "Value"));
  if (given.is_object())
    for (const auto& [key, value] : given.items()) tags[key] = text_of(value);
  return tags;
}

// FunctionConfiguration's words, all of them: what is not said is the default, whatever was before.
Json configuration_in(const Json& properties) {
  Json body{{"Description", ""},
            {"Timeout", 3},
            {"MemorySize", 128},
            {"Environment", {{"Variables", Json::object()}}},
            {"Layers", Json::array()}};
  for (const auto& [key, value] : properties.items())
    if (key != "Code" && key != "Tags" && key != "FunctionName" && key != "ReservedConcurrentExecutions" && key != "PackageType")
      body[key] = value;
  for (const char* key : {"Timeout", "MemorySize"}) body[key] = number_of(body[key]);
  if (body.contains("EphemeralStorage")) body["EphemeralStorage"] = {{"Size", number_of(member(body["EphemeralStorage"], "Size"))}};
  const Json variables = member(body["Environment"], "Variables");
  if (variables.is_object())
    for (const auto& [key, value] : variables.items())
      if (!value.is_structured()) body["Environment"]["Variables"][key] = text_of(value);
  return body;
}

Json url_in(const Json& properties) {
  Json body{{"AuthType", member(properties, "AuthType")}, {"InvokeMode", "BUFFERED"}, {"Cors", Json::object()}};
  for (const char* key : {"InvokeMode", "Cors"})
    if (properties.contains(key)) body[key] = properties[key];
  if (body["Cors"].is_object()) {
    if (body["Cors"].contains("AllowCredentials")) body["Cors"]["AllowCredentials"] = truth_of(body["Cors"]["AllowCredentials"]);
    if (body["Cors"].contains("MaxAge")) body["Cors"]["MaxAge"] = number_of(body["Cors"]["MaxAge"]);
  }
  return body;
}

Json alias_in(const Json& properties) {
  Json body{{"Name", member(properties, "Name")}, {"FunctionVersion", text_of(member(properties, "FunctionVersion"))},
            {"Description", text_of(member(properties, "Description"))}};
  Json weights = Json::object();
  const Json& routing = member(member(properties, "RoutingConfig"), "AdditionalVersionWeights");
  if (routing.is_array())
    for (const Json& one : routing) weights[text_of(member(one, "FunctionVersion"))] = number_of(member(one, "FunctionWeight"));
  if (!weights.empty()) body["RoutingConfig"] = {{"AdditionalVersionWeights", weights}};
  return body;
}

Json events_in(const Json& properties) {
  Json body = Json::object();
  for (const char* key : {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"})
    if (properties.contains(key)) body[key] = number_of(properties[key]);
  if (properties.contains("DestinationConfig")) body["DestinationConfig"] = properties["DestinationConfig"];
  return body;
}

std::string short_of(const std::string& text, std::size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 9) + "-" + os::sha256_hex(text).substr(0, 8);
}

// NAME and QUALIFIER of a function's name, or of an ARN of it.
lambda::Target target_in(const Json& properties, const char* key) {
  return lambda::parse_target(text_of(member(properties, key)), "").value_or(lambda::Target{text_of(member(properties, key)), ""});
}

}  // namespace

StackResources::StackResources(InnerCalls calls, control::Control& control)
    : calls_(calls), control_(control), random_(os::random_seed()) {}

bool StackResources::can_make(const std::string& type, const std::string& stack) {
  const auto is = [&](const char* known) { return type == known; };
  return std::ranges::any_of(kTypes, is) || (stack == kManaged && std::ranges::any_of(kOfManaged, is));
}

Result<void> StackResources::check(const std::string& type, const std::string& id, const Json& properties) {
  struct Wanted { const char* type; const char* property; };
  constexpr Wanted kWanted[] = {{kFunction, "Code"},
                                {"AWS::Lambda::Version", "FunctionName"},
                                {"AWS::Lambda::Alias", "FunctionName"},
                                {"AWS::Lambda::Alias", "Name"},
                                {"AWS::Lambda::Alias", "FunctionVersion"},
                                {"AWS::Lambda::Url", "TargetFunctionArn"},
                                {"AWS::Lambda::Url", "AuthType"},
                                {"AWS::Lambda::LayerVersion", "Content"},
                                {"AWS::Lambda::Permission", "FunctionName"}};
  for (const Wanted& wanted : kWanted)
    if (type == wanted.type && !properties.contains(wanted.property))
      return fail(Code::invalid_argument, "Properties validation failed for resource " + id + " with message: [#: required key [" +
                                              wanted.property + "] not found]");
  if (type == kFunction && member(properties, "Code").is_object() && properties["Code"].contains("ZipFile"))
    return fail(Code::invalid_argument, id + ".Code.ZipFile is not supported: put the code in a file, and upload its zip");
  return {};
}

bool StackResources::replaces(const std::string& type, const Json& before, const Json& after) {
  const auto differs = [&](std::initializer_list<const char*> keys) {
    return std::ranges::any_of(keys, [&](const char* key) { return member(before, key) != member(after, key); });
  };
  if (type == kFunction) return differs({"FunctionName", "PackageType"});
  if (type == "AWS::Lambda::Alias") return differs({"FunctionName", "Name"});
  if (type == "AWS::Lambda::Url") return differs({"TargetFunctionArn", "Qualifier"});
  if (type == "AWS::Lambda::EventInvokeConfig") return differs({"FunctionName", "Qualifier"});
  return type == "AWS::Lambda::Version" || type == "AWS::Lambda::LayerVersion" || type == "AWS::Lambda::Permission";
}

std::string StackResources::name_before(const Of& of, const Json& properties) {
  if (of.type != kFunction) return {};
  const std::string named = text_of(member(properties, "FunctionName"));
  return named.empty() ? short_of(domain::function_name_of(of.stack) + "-" + domain::function_name_of(of.id), 63) : named;
}

void StackResources::run(const Of& of, std::vector<Call> calls, std::function<void(Result<Json>)> done, Json first) {
  if (calls.empty()) return done(std::move(first));
  const Call call = std::move(calls.front());
  calls.erase(calls.begin());
  calls_.call(call.method, call.path, call.body, of.host,
              [this, of, rest = std::move(calls), done = std::move(done), first = std::move(first)](const InnerAnswer& answer) mutable {
                if (!answer.ok())
                  return done(fail(answer.status == 404   ? Code::not_found
                                   : answer.status == 409 ? Code::conflict
                                                          : Code::invalid_argument,
                                   answer.message()));
                run(of, std::move(rest), std::move(done), first.is_null() ? answer.body : std::move(first));
              });
}

// Create ---------------------------------------------------------------------------------------------

void StackResources::create(const Of& of, const Json& properties, Told told) {
  const auto tell = [told](const Result<Json>& done, auto make) {
    if (!done) return told(fail(done.error()));
    told(make(*done));
  };
  if (of.type == kFunction) return create_function(of, properties, std::move(told));
  if (of.type == "AWS::Lambda::Alias") return put_alias(of, properties, true, std::move(told));
  if (of.type == "AWS::Lambda::Version") {
    const Json body{{"Description", text_of(member(properties, "Description"))}};
    return run(of, {{Method::post, path_of(target_in(properties, "FunctionName").function, "/versions"), body}},
               [tell](const Result<Json>& done) {
                 tell(done, [](const Json& json) {
                   const std::string version = text_of(member(json, "Version"));
                   return Made{lambda::arn_of(text_of(member(json, "FunctionName")), version), {{"Version", version}}};
                 });
               });
  }
  if (of.type == "AWS::Lambda::Url") {
    lambda::Target target = target_in(properties, "TargetFunctionArn");
    if (target.qualifier.empty()) target.qualifier = text_of(member(properties, "Qualifier"));
    return run(of, {{Method::post, dated("2021-10-31", target.function, "/url", target.qualifier), url_in(properties)}},
               [tell](const Result<Json>& done) {
                 tell(done, [](const Json& json) {
                   return Made{text_of(member(json, "FunctionArn")),
                               {{"FunctionUrl", member(json, "FunctionUrl")}, {"FunctionArn", member(json, "FunctionArn")}}};
                 });
               });
  }
  if (of.type == "AWS::Lambda::LayerVersion") {
    Json body = properties;
    body.erase("LayerName");
    const std::string named = text_of(member(properties, "LayerName"));
    const std::string name = named.empty() ? short_of(of.stack + "-" + of.id, 140) : named;
    return run(of, {{Method::post, "/2018-10-31/layers/" + percent_encoded(name) + "/versions", body}}, [tell](const Result<Json>& done) {
      tell(done, [](const Json& json) {
        return Made{text_of(member(json, "LayerVersionArn")), {{"LayerVersionArn", member(json, "LayerVersionArn")}}};
      });
    });
  }
  if (of.type == "AWS::Lambda::Permission") {
    const lambda::Target target = target_in(properties, "FunctionName");
    Json body = properties;
    body.erase("FunctionName");
    const std::string statement = short_of(of.stack + "-" + of.id, 80) + "-" + hex_text(random_.next(), 0).substr(0, 12);
    body["StatementId"] = statement;
    return run(of, {{Method::post, path_of(target.function, "/policy", target.qualifier), body}},
               [tell, statement](const Result<Json>& done) {
                 tell(done, [statement](const Json&) { return Made{statement, {{"Id", statement}}}; });
               });
  }
  if (of.type == "AWS::Lambda::EventInvokeConfig") {
    const lambda::Target target = target_in(properties, "FunctionName");
    const std::string qualifier = text_of(member(properties, "Qualifier"));
    return run(of, {{Method::put, dated("2019-09-25", target.function, "/event-invoke-config", qualifier), events_in(properties)}},
               [tell, of](const Result<Json>& done) { tell(done, [of](const Json&) { return Made{of.stack + "-" + of.id}; }); });
  }
  // A name, and nothing behind it.
  if (of.type == "AWS::S3::Bucket") {
    const std::string name = "aws-sam-cli-managed-default-" + hex_text(random_.next(), 0).substr(0, 12);
    return told(Made{name, {{"Arn", "arn:aws:s3:::" + name}}});
  }
  std::string name = text_of(member(properties, of.type == "AWS::IAM::Role" ? "RoleName" : "ManagedPolicyName"));
  if (name.empty()) name = short_of(of.stack + "-" + of.id, 64);
  const std::string iam = "arn:aws:iam::" + std::string(domain::kAwsAccount);
  if (of.type == "AWS::IAM::ManagedPolicy") return told(Made{iam + ":policy/" + name, {{"PolicyArn", iam + ":policy/" + name}}});
  told(Made{name, {{"Arn", iam + ":role/" + name}, {"RoleId", name}}});
}

// Concurrency and tags: what changes of them.
std::vector<StackResources::Call> StackResources::settings_of(const Of& of, const std::string& function, const Json& before,
                                                              const Json& after) {
  std::vector<Call> calls;
  const Json& most = member(after, "ReservedConcurrentExecutions");
  if (member(before, "ReservedConcurrentExecutions") != most) {
    if (most.is_null()) calls.push_back({Method::delete_, dated("2017-10-31", function, "/concurrency"), {}});
    else calls.push_back({Method::put, dated("2017-10-31", function, "/concurrency"), {{"ReservedConcurrentExecutions", number_of(most)}}});
  }
  if (before.is_null()) return calls;
  const Json old = tags_of(of, before), tags = tags_of(of, after);
  if (old == tags) return calls;
  const std::string path = "/2017-03-31/tags/" + percent_encoded(lambda::arn_of(function));
  std::string gone;
  for (const auto& [key, value] : old.items())
    if (!tags.contains(key)) gone += (gone.empty() ? "?tagKeys=" : "&tagKeys=") + percent_encoded(key);
  if (!gone.empty()) calls.push_back({Method::delete_, path + gone, {}});
  calls.push_back({Method::post, path, {{"Tags", tags}}});
  return calls;
}

void StackResources::create_function(const Of& of, const Json& properties, Told told) {
  const std::string name = name_before(of, properties);
  Json body = configuration_in(properties);
  body["FunctionName"] = name;
  body["Code"] = member(properties, "Code");
  body["Tags"] = tags_of(of, properties);
  if (properties.contains("PackageType")) body["PackageType"] = properties["PackageType"];
  if (text_of(member(body, "Role")).empty()) body["Role"] = "arn:aws:iam::" + std::string(domain::kAwsAccount) + ":role/none";
  if (body["Layers"].empty()) body.erase("Layers");
  run(of, {{Method::post, "/2015-03-31/functions", body}}, [this, of, name, properties, told](const Result<Json>& made) {
    if (!made) return told(fail(made.error()));
    run(of, settings_of(of, name, {}, properties), [this, of, name, told](const Result<Json>& set) {
      const Made done{name, {{"Arn", domain::function_arn(name)}}};
      if (set) return told(done);
      run(of, {{Method::delete_, path_of(name), {}}}, [told, error = set.error()](const Result<Json>&) { told(fail(error)); });
    });
  });
}

void StackResources::put_alias(const Of& of, const Json& properties, bool create, Told told) {
  const std::string function = target_in(properties, "FunctionName").function, name = text_of(member(properties, "Name"));
  Call call{create ? Method::post : Method::put, path_of(function, create ? "/aliases" : "/aliases/" + percent_encoded(name)),
            alias_in(properties)};
  if (create && name == "live") call = {Method::put, path_of(function, "/aliases/live"), call.body};   // every function has it
  std::vector<Call> calls{call};
  const Json& kept = member(member(properties, "ProvisionedConcurrencyConfig"), "ProvisionedConcurrentExecutions");
  const std::string provisioned = dated("2019-09-30", function, "/provisioned-concurrency", name);
  if (!kept.is_null()) calls.push_back({Method::put, provisioned, {{"ProvisionedConcurrentExecutions", number_of(kept)}}});
  else if (!create) calls.push_back({Method::delete_, provisioned, {}});
  run(of, std::move(calls), [told](const Result<Json>& done) {
    if (!done) return told(fail(done.error()));
    told(Made{text_of(member(*done, "AliasArn")), {{"AliasArn", member(*done, "AliasArn")}}});
  });
}

// Update ---------------------------------------------------------------------------------------------

void StackResources::update(const Of& of, const StackResource& before, const Json& properties, Told told) {
  if (of.type == kFunction) return update_function(of, before, properties, std::move(told));
  if (of.type == "AWS::Lambda::Alias") return put_alias(of, properties, false, std::move(told));
  std::vector<Call> calls;
  if (of.type == "AWS::Lambda::Url") {
    const lambda::Target target = lambda::parse_target(before.physical, "").value_or(lambda::Target());
    calls.push_back({Method::put, dated("2021-10-31", target.function, "/url", target.qualifier), url_in(properties)});
  } else if (of.type == "AWS::Lambda::EventInvokeConfig") {
    calls.push_back({Method::put, dated("2019-09-25", target_in(properties, "FunctionName").function, "/event-invoke-config",
                                        text_of(member(properties, "Qualifier"))), events_in(properties)});
  }
  run(of, std::move(calls), [told, before](const Result<Json>& done) {
    if (!done) return told(fail(done.error()));
    told(Made{before.physical, before.attributes});
  });
}

void StackResources::update_function(const Of& of, const StackResource& before, const Json& properties, Told told) {
  const std::string& name = before.physical;
  std::vector<Call> calls;
  if (member(before.properties, "Code") != member(properties, "Code"))
    calls.push_back({Method::put, path_of(name, "/code"), member(properties, "Code")});
  const Json configuration = configuration_in(properties);
  if (configuration_in(before.properties) != configuration) calls.push_back({Method::put, path_of(name, "/configuration"), configuration});
  for (Call& call : settings_of(of, name, before.properties, properties)) calls.push_back(std::move(call));
  run(of, std::move(calls), [told, before](const Result<Json>& done) {
    if (!done) return told(fail(done.error()));
    told(Made{before.physical, before.attributes});
  });
}

Json StackResources::snapshot(const StackResource& resource) const {
  if (resource.type != kFunction) return {};
  const auto view = control_.describe(resource.physical);
  if (!view || view->function.versions.empty()) return {};
  Json live = Json::array();
  for (const domain::Alias& alias : view->function.aliases)
    if (alias.name == "live")
      for (const domain::Weight& weight : alias.weights) live.push_back({weight.version, weight.share});
  return {{"version", view->function.versions.back().number}, {"live", live}};
}

void StackResources::undo(const Of& of, const StackResource& before, const StackResource& now, const Json& snapshot, Told told) {
  if (of.type == kFunction) return undo_function(of, before, now, snapshot, std::move(told));
  update(of, before, before.properties, std::move(told));
}

// Back to the version that was: "live" moves there, and the versions that came since go.
void StackResources::undo_function(const Of& of, const StackResource& before, const StackResource& now, const Json& snapshot, Told told) {
  const std::string name = before.physical;
  const Json& version = member(snapshot, "version");
  if (!version.is_number_integer()) return told(fail(Code::internal, "it is not known which version of " + name + " was there before"));
  std::vector<domain::Weight> weights;
  for (const Json& weight : member(snapshot, "live")) weights.push_back({weight[0].get<int>(), weight[1].get<double>()});
  if (weights.empty()) weights.push_back({version.get<int>(), 1});
  control_.set_alias(name, "live", std::move(weights),
                     [this, of, name, before, now, told, above = version.get<int>()](const Result<domain::Alias>& alias) {
                       if (!alias) return told(fail(alias.error()));
                       remove_versions(name, above, [this, of, name, before, now, told] {
                         run(of, settings_of(of, name, now.properties, before.properties), [told, before](const Result<Json>& done) {
                           if (!done) return told(fail(done.error()));
                           told(Made{before.physical, before.attributes});
                         });
                       });
                     });
}

void StackResources::remove_versions(const std::string& function, int above, std::function<void()> done) {
  const auto view = control_.describe(function);
  if (!view || view->function.versions.empty() || view->function.versions.back().number <= above) return done();
  const int last = view->function.versions.back().number;
  control_.remove_version(function, last, [this, function, above, last, done](const Result<void>& removed) {
    if (!removed) return done();                             // an alias holds it
    remove_versions(function, std::min(above, last - 1), done);
  });
}

// Remove ---------------------------------------------------------------------------------------------

void StackResources::remove(const Of& of, const StackResource& resource, Told told) {
  const lambda::Target target = lambda::parse_target(resource.physical, "").value_or(lambda::Target());
  const lambda::Target named = target_in(resource.properties, "FunctionName");
  std::vector<Call> calls;
  if (of.type == kFunction) {
    calls.push_back({Method::delete_, path_of(resource.physical), {}});
  } else if (of.type == "AWS::Lambda::Alias") {
    const std::string name = text_of(member(resource.properties, "Name"));
    if (name != "live") calls.push_back({Method::delete_, path_of(named.function, "/aliases/" + percent_encoded(name)), {}});
  } else if (of.type == "AWS::Lambda::Version") {
    calls.push_back({Method::delete_, path_of(target.function, "", target.qualifier), {}});
  } else if (of.type == "AWS::Lambda::Url") {
    calls.push_back({Method::delete_, dated("2021-10-31", target.function, "/url", target.qualifier), {}});
  } else if (of.type == "AWS::Lambda::LayerVersion") {
    const auto layer = domain::parse_layer(resource.physical);
    if (layer) calls.push_back({Method::delete_, "/2018-10-31/layers/" + layer->name + "/versions/" + std::to_string(layer->number), {}});
  } else if (of.type == "AWS::Lambda::Permission") {
    calls.push_back({Method::delete_, path_of(named.function, "/policy/" + percent_encoded(resource.physical), named.qualifier), {}});
  } else if (of.type == "AWS::Lambda::EventInvokeConfig") {
    calls.push_back({Method::delete_,
                     dated("2019-09-25", named.function, "/event-invoke-config", text_of(member(resource.properties, "Qualifier"))),
                     {}});
  }
  run(of, std::move(calls), [told, physical = resource.physical](const Result<Json>& done) {
    if (!done && done.error().code != Code::not_found) return told(fail(done.error()));
    told(Made{physical});
  });
}

}  // namespace mayfly::gateway
