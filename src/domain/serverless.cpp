#include "domain/serverless.h"

#include <algorithm>
#include <cctype>

namespace mayfly::domain {
namespace {

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

// Properties of SAM's function that Lambda's has under the same name.
constexpr const char* kSame[] = {"FunctionName", "Description", "Handler", "Runtime", "MemorySize", "Timeout", "Environment", "Layers",
                                 "Tags", "Architectures", "EphemeralStorage", "LoggingConfig", "ReservedConcurrentExecutions", "Role",
                                 "PackageType", "ImageConfig", "VpcConfig", "FileSystemConfigs", "KmsKeyArn", "SnapStart",
                                 "CodeSigningConfigArn", "RuntimeManagementConfig", "RecursiveLoop"};
// What it has besides, and what is made of it below. Of a deployment by steps nothing is made: it would be another one.
constexpr const char* kOwn[] = {"CodeUri",
                                "InlineCode",
                                "ImageUri",
                                "Policies",
                                "PolicyName",
                                "PermissionsBoundary",
                                "RolePath",
                                "AssumeRolePolicyDocument",
                                "Events",
                                "FunctionUrlConfig",
                                "AutoPublishAlias",
                                "AutoPublishCodeSha256",
                                "AutoPublishAliasAllProperties",
                                "VersionDescription",
                                "VersionDeletionPolicy",
                                "ProvisionedConcurrencyConfig",
                                "EventInvokeConfig",
                                "Tracing",
                                "PropagateTags"};

// Foreign texts may be no UTF-8.
std::string bytes_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json ref(const std::string& id) { return {{"Ref", id}}; }

// A short name of a text, for logical ids: FNV-1a, 64 bits.
std::string digest_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::string digits;
  for (int i = 0; i < 10; ++i, hash >>= 4) digits += "0123456789abcdef"[hash & 15];
  return digits;
}

// s3://BUCKET/KEY, or an object of Bucket, Key and Version.
Result<Json> code_at(const Json& uri, const std::string& where, const char* bucket, const char* key, const char* version) {
  if (uri.is_object() && uri.contains("Bucket") && uri.contains("Key")) {
    Json code{{bucket, uri["Bucket"]}, {key, uri["Key"]}};
    if (uri.contains("Version")) code[version] = uri["Version"];
    return code;
  }
  const std::string text = text_of(uri);
  const std::size_t slash = text.find('/', 5);
  if (!text.starts_with("s3://") || slash == text.npos || slash + 1 == text.size())
    return wrong(where + " is not s3://BUCKET/KEY: upload it first, as 'sam deploy' and 'aws cloudformation package' do");
  return Json{{bucket, text.substr(5, slash - 5)}, {key, text.substr(slash + 1)}};
}

class Expansion {
 public:
  explicit Expansion(const Json& root) : root_(root) { out_.root = root; }

  Result<Expanded> expand() {
    Json& resources = out_.root["Resources"] = Json::object();
    for (const auto& [id, resource] : member(root_, "Resources").items()) {
      const std::string type = text_of(member(resource, "Type"));
      if (type == kServerlessFunction) {
        TRY_VOID(function(id, resource));
      } else if (type == kServerlessLayer) {
        TRY_VOID(layer(id, resource));
      } else {
        resources[id] = resource;
      }
    }
    out_.root.erase("Transform");
    out_.root.erase("Globals");
    return std::move(out_);
  }

 private:
  Json& add(const std::string& id, const char* type, Json properties, const Json& of) {
    Json& resource = out_.root["Resources"][id] = {{"Type", type}};
    if (of.contains("Condition")) resource["Condition"] = of["Condition"];
    resource["Properties"] = std::move(properties);
    return resource;
  }

  Result<void> function(const std::string& id, const Json& resource) {
    const Json given = over_globals(member(resource, "Properties"), member(member(root_, "Globals"), "Function"));
    for (const auto& [key, value] : given.items()) {
      const auto is = [&key = key](const char* known) { return key == known; };
      if (std::ranges::none_of(kSame, is) && std::ranges::none_of(kOwn, is))
        return wrong("Resource with id [" + id + "] is invalid. property " + key.substr(0, 80) + " is not made here: leave it out");
    }
    Json properties = Json::object();
    for (const char* key : kSame)
      if (given.contains(key)) properties[key] = given[key];
    TRY(properties["Code"], code_of(id, given));
    if (given.contains("Tracing")) properties["TracingConfig"] = {{"Mode", given["Tracing"]}};
    if (!given.contains("Role")) {
      properties["Role"] = {{"Fn::GetAtt", {id + "Role", "Arn"}}};
      add(id + "Role", "AWS::IAM::Role", {{"ManagedPolicyArns", Json::array()}}, resource);
    }
    const std::string digest = digest_of(text_of(member(given, "AutoPublishCodeSha256")) + bytes_of(properties["Code"]) +
                                         (text_of(member(given, "AutoPublishAliasAllProperties")) == "true" ? bytes_of(properties) : ""));
    Json& made = add(id, "AWS::Lambda::Function", std::move(properties), resource);
    for (const char* key : {"DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Metadata"})
      if (resource.contains(key)) made[key] = resource[key];
    TRY(const std::string alias, publish(id, digest, given, resource));
    url(id, alias, given, resource);
    TRY_VOID(events(id, alias, given, resource));
    return {};
  }

  static Result<Json> code_of(const std::string& id, const Json& given) {
    if (given.contains("ImageUri")) return Json{{"ImageUri", given["ImageUri"]}};
    if (given.contains("InlineCode")) return Json{{"ZipFile", given["InlineCode"]}};
    if (!given.contains("CodeUri")) return wrong("Resource with id [" + id + "] is invalid. 'CodeUri' is missing");
    return code_at(given["CodeUri"], id + ".CodeUri", "S3Bucket", "S3Key", "S3ObjectVersion");
  }

  // A version for each new code, and the alias on it: its logical id, "" where there is none.
  Result<std::string> publish(const std::string& id, const std::string& digest, const Json& given, const Json& resource) {
    if (!given.contains("AutoPublishAlias")) {
      if (given.contains("ProvisionedConcurrencyConfig")) return wrong(id + ": ProvisionedConcurrencyConfig wants an AutoPublishAlias");
      return std::string();
    }
    const std::string version = id + "Version" + digest;
    std::string name = text_of(given["AutoPublishAlias"]);
    if (const auto [function, argument] = intrinsic(given["AutoPublishAlias"]); function == "Ref")
      name = text_of(member(member(member(root_, "Parameters"), text_of(*argument)), "Default"));
    if (!std::ranges::all_of(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; })) name = digest_of(name);
    Json said{{"FunctionName", ref(id)}};
    if (given.contains("VersionDescription")) said["Description"] = given["VersionDescription"];
    add(version, "AWS::Lambda::Version", std::move(said), resource)["DeletionPolicy"] =
        given.contains("VersionDeletionPolicy") ? given["VersionDeletionPolicy"] : Json("Retain");
    Json alias{{"Name", given["AutoPublishAlias"]}, {"FunctionName", ref(id)}, {"FunctionVersion", {{"Fn::GetAtt", {version, "Version"}}}}};
    if (given.contains("ProvisionedConcurrencyConfig")) alias["ProvisionedConcurrencyConfig"] = given["ProvisionedConcurrencyConfig"];
    add(id + "Alias" + name, "AWS::Lambda::Alias", std::move(alias), resource);
    return id + "Alias" + name;
  }

  void url(const std::string& id, const std::string& alias, const Json& given, const Json& resource) {
    if (!given.contains("FunctionUrlConfig")) return;
    const Json& said = given["FunctionUrlConfig"];
    Json properties{{"TargetFunctionArn", ref(alias.empty() ? id : alias)}};
    for (const char* key : {"AuthType", "Cors", "InvokeMode"})
      if (said.contains(key)) properties[key] = said[key];
    add(id + "Url", "AWS::Lambda::Url", std::move(properties), resource);
  }

  Result<void> events(const std::string& id, const std::string& alias, const Json& given, const Json& resource) {
    const Json& wanted = member(given, "Events");
    if (!wanted.is_null() && !wanted.is_object()) return wrong(id + ".Events: a map is wanted");
    for (const auto& [name, event] : wanted.items())
      out_.notes.emplace_back(id, "Events." + name + " (" + text_of(member(event, "Type")) + ") is not made here");
    if (given.contains("Policies")) out_.notes.emplace_back(id, "Policies give and take nothing here");
    const Json& invoke = member(given, "EventInvokeConfig");
    if (invoke.is_null()) return {};
    if (!invoke.is_object()) return wrong(id + ".EventInvokeConfig: a map is wanted");
    Json properties{{"FunctionName", ref(id)}, {"Qualifier", "$LATEST"}};
    if (!alias.empty()) properties["Qualifier"] = given["AutoPublishAlias"];
    for (const auto& [key, value] : invoke.items()) properties[key] = value;
    if (properties.contains("DestinationConfig"))
      for (auto& [key, destination] : properties["DestinationConfig"].items()) {
        if (!destination.is_object() || !destination.contains("Destination"))
          return wrong(id + ".EventInvokeConfig.DestinationConfig." + key +
                       ": Destination is missing: no queue is made here, name a function");
        destination.erase("Type");
      }
    add(id + "EventInvokeConfig", "AWS::Lambda::EventInvokeConfig", std::move(properties), resource);
    return {};
  }

  Result<void> layer(const std::string& id, const Json& resource) {
    const Json given = over_globals(member(resource, "Properties"), member(member(root_, "Globals"), "LayerVersion"));
    Json properties{{"LayerName", given.contains("LayerName") ? given["LayerName"] : Json(id)}};
    for (const char* key : {"Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"})
      if (given.contains(key)) properties[key] = given[key];
    TRY(properties["Content"], code_at(member(given, "ContentUri"), id + ".ContentUri", "S3Bucket", "S3Key", "S3ObjectVersion"));
    Json& made = add(id, "AWS::Lambda::LayerVersion", std::move(properties), resource);
    const std::string policy = text_of(member(given, "RetentionPolicy"));
    made["DeletionPolicy"] = policy == "Delete" ? "Delete" : "Retain";
    return {};
  }

  const Json& root_;
  Expanded out_;
};

bool is_plain_object(const Json& json) { return json.is_object() && intrinsic(json).first.empty(); }

}  // namespace

Json over_globals(const Json& properties, const Json& globals) {
  if (properties.is_null()) return globals.is_null() ? Json::object() : globals;
  if (globals.is_array() && properties.is_array()) {
    Json list = globals;
    for (const Json& item : properties) list.push_back(item);
    return list;
  }
  if (!is_plain_object(properties) || !is_plain_object(globals)) return properties;
  Json all = globals;
  for (const auto& [key, value] : properties.items()) all[key] = all.contains(key) ? over_globals(value, all[key]) : value;
  return all;
}

std::string function_name_of(const std::string& id) {
  std::string name;
  for (std::size_t i = 0; i < id.size(); ++i) {
    const auto at = [&](std::size_t k) { return k < id.size() ? static_cast<int>(static_cast<unsigned char>(id[k])) : 0; };
    const bool begins = i > 0 && std::isupper(at(i)) && (!std::isupper(at(i - 1)) || std::islower(at(i + 1)));
    if (begins && !name.ends_with('-')) name += '-';
    name += std::isalnum(at(i)) ? static_cast<char>(std::tolower(at(i))) : '-';
  }
  return name;
}

Result<Expanded> expand_serverless(const Json& root) {
  const Json& transform = member(root, "Transform");
  const std::string named = text_of(transform.is_array() && transform.size() == 1 ? transform[0] : transform);
  const bool sam = named == "AWS::Serverless-2016-10-31";
  if (!sam && !transform.is_null())
    return wrong("Transform " + transform.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 120) +
                 " is not done here: of transforms there is AWS::Serverless-2016-10-31");
  if (!member(root, "Resources").is_object()) return wrong("Template format error: At least one Resources member must be defined.");
  if (!sam) return Expanded{root, {}};
  return Expansion(root).expand();
}

}  // namespace mayfly::domain
