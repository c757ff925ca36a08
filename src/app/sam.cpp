#include "app/sam.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <sstream>

#include "app/package.h"
#include "domain/arn.h"
#include "domain/image_reference.h"
#include "domain/json.h"
#include "domain/serverless.h"
#include "domain/template.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;
using domain::Json;
using domain::member;
using domain::text_of;

constexpr const char* kLayers[] = {domain::kServerlessLayer, "AWS::Lambda::LayerVersion"};
constexpr const char* kFunctions[] = {domain::kServerlessFunction, "AWS::Lambda::Function"};
// What changes what a function does, and is not done here.
constexpr const char* kRefused[] = {"InlineCode", "ImageConfig", "FileSystemConfigs", "VpcConfig",
                                    "DeadLetterQueue", "CodeSigningConfigArn", "SnapStart", "DurableConfig"};

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

bool is_one_of(std::span<const char* const> known, const std::string& type) {
  return std::ranges::any_of(known, [&](const char* one) { return type == one; });
}

class Template {
 public:
  Template(const Json& root, fs::path file)
      : root_(root), file_(std::move(file)),
        resolver_(root_, {.reference = [this](const std::string& name) { return reference(name); },
                          .attribute = [this](const std::string& id, const std::string& name) { return attribute(id, name); }}) {}

  Result<SamTemplate> read() {
    const Json& resources = member(root_, "Resources");
    if (!resources.is_object()) return wrong(file_.string() + ": it has no Resources");
    for (const auto& [id, resource] : resources.items()) TRY_VOID(name_function(id, resource));
    SamTemplate all;
    for (const auto& [id, resource] : resources.items())
      if (const std::string type = text_of(member(resource, "Type")); is_one_of(kLayers, type)) {
        TRY(SamLayer layer, read_layer(id, type, member(resource, "Properties")));
        layers_.push_back(id);
        all.layers.push_back(std::move(layer));
      }
    for (const auto& [id, resource] : resources.items()) {
      const std::string type = text_of(member(resource, "Type"));
      if (std::ranges::find(layers_, id) != layers_.end()) continue;
      if (!is_one_of(kFunctions, type)) {
        all.notes.push_back(id + " (" + type + ") is not made here");
        continue;
      }
      const Json properties = domain::over_globals(member(resource, "Properties"), member(member(root_, "Globals"), "Function"));
      TRY(SamFunction function, read_function(id, type, properties, all.notes));
      all.functions.push_back(std::move(function));
    }
    if (all.functions.empty()) return wrong(file_.string() + ": it describes no function");
    return all;
  }

 private:
  Result<std::string> text(const Json& value, const std::string& where) { return resolver_.text(value, where); }

  Result<void> name_function(const std::string& id, const Json& resource) {
    if (!is_one_of(kFunctions, text_of(member(resource, "Type")))) return {};
    names_[id] = domain::function_name_of(id);
    const Json& given = member(member(resource, "Properties"), "FunctionName");
    if (given.is_null()) return {};
    TRY(names_[id], text(given, id + ".FunctionName"));
    return {};
  }

  Result<SamFunction> read_function(const std::string& id, const std::string& type, const Json& properties,
                                    std::vector<std::string>& notes) {
    for (const char* key : kRefused)
      if (properties.contains(key)) return wrong(id + ": " + key + " is not supported by this release: leave it out");
    SamFunction function{.resource = id, .name = names_.at(id)};
    if (text_of(member(properties, "PackageType")) == "Image") {
      TRY_VOID(read_image(id, type, properties, function));
    } else {
      TRY(const std::string code, code_of(id, type, properties));
      function.path = beside(code);
      TRY(function.runtime, text(member(properties, "Runtime"), id + ".Runtime"));
      TRY(function.handler, text(member(properties, "Handler"), id + ".Handler"));
    }
    if (function.runtime.starts_with("provided")) function.handler.clear();
    TRY(const std::string memory, text(member(properties, "MemorySize"), id + ".MemorySize"));
    TRY(const std::string timeout, text(member(properties, "Timeout"), id + ".Timeout"));
    function.memory = (memory.empty() ? "128" : memory) + "MiB";
    function.timeout = (timeout.empty() ? "3" : timeout) + "s";
    for (const auto& [name, value] : member(member(properties, "Environment"), "Variables").items()) {
      TRY(std::string resolved, text(value, id + ".Environment.Variables." + name));
      function.environment.emplace_back(name, std::move(resolved));
    }
    TRY_VOID(add_layers(member(properties, "Layers"), id, function));
    TRY(function.url, url_of(member(properties, "FunctionUrlConfig"), id + ".FunctionUrlConfig"));
    for (const auto& [event, what] : member(properties, "Events").items())
      notes.push_back(id + ".Events." + event + " (" + text_of(member(what, "Type")) +
                      ") is not made here: the function is called at /functions/" + function.name);
    return function;
  }

  // Of a registry; what `sam build` makes of a Dockerfile has no ImageUri before it is packaged.
  Result<void> read_image(const std::string& id, const std::string& type, const Json& properties, SamFunction& into) {
    const bool sam = type == kFunctions[0];
    const Json& code = sam ? properties : member(properties, "Code");
    TRY(const std::string uri, text(member(code, "ImageUri"), id + (sam ? ".ImageUri" : ".Code.ImageUri")));
    if (uri.empty())
      return wrong(id + ": PackageType Image without ImageUri: push the image to a registry that the node may pull from, and name it");
    into.path = std::string(domain::kPullPrefix) + uri;
    into.runtime = "container-lambda";
    return {};
  }

  Result<SamLayer> read_layer(const std::string& id, const std::string& type, const Json& properties) {
    const char* const key = type == kLayers[0] ? "ContentUri" : "Content";
    SamLayer layer{.resource = id, .name = id, .description = {}, .path = {}};
    if (member(properties, key).is_null()) return wrong(id + ": " + key + " is missing: name the layer's folder");
    TRY(const std::string path, text(member(properties, key), id + "." + key));
    if (path.empty() || path.find("://") != path.npos)
      return wrong(id + ": " + key + " '" + path + "' is no folder or archive beside the template");
    layer.path = beside(path);
    TRY(const std::string name, text(member(properties, "LayerName"), id + ".LayerName"));
    TRY(layer.description, text(member(properties, "Description"), id + ".Description"));
    if (!name.empty()) layer.name = name;
    return layer;
  }

  Result<std::string> url_of(const Json& config, const std::string& where) {
    if (config.is_null()) return std::string();
    if (!config.is_object()) return wrong(where + ": a map is wanted, with AuthType: NONE, or AWS_IAM");
    nlohmann::json url = {{"AuthType", "NONE"}};
    for (const char* key : {"AuthType", "InvokeMode"})
      if (config.contains(key)) { TRY(url[key], text(config[key], where + "." + key)); }
    if (!config.contains("AuthType")) return wrong(where + ": AuthType is missing: write NONE, or AWS_IAM");
    for (const auto& [key, value] : member(config, "Cors").items()) {
      if (value.is_array()) {
        for (const Json& item : value) {
          TRY(const std::string one, text(item, where + ".Cors." + key));
          url["Cors"][key].push_back(one);
        }
        continue;
      }
      TRY(const std::string one, text(value, where + ".Cors." + key));
      url["Cors"][key] = key == "AllowCredentials" || key == "MaxAge" ? domain::parse_json<nlohmann::json>(one) : nlohmann::json(one);
    }
    return url.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  // Those of Globals first, as SAM has it.
  Result<void> add_layers(const Json& layers, const std::string& id, SamFunction& into) {
    if (layers.is_null()) return {};
    if (!layers.is_array()) return wrong(id + ".Layers: a list is wanted");
    for (const Json& item : layers) {
      const auto [function, argument] = domain::intrinsic(item);
      if (function == "Ref" && std::ranges::find(layers_, text_of(*argument)) != layers_.end()) {
        into.layers.push_back({text_of(*argument), ""});
        continue;
      }
      TRY(std::string arn, text(item, id + ".Layers"));
      into.layers.push_back({"", std::move(arn)});
    }
    return {};
  }

  std::string beside(const std::string& path) const {
    std::string full = (file_.parent_path() / path).lexically_normal().string();
    while (full.size() > 1 && full.ends_with('/')) full.pop_back();
    return full;
  }

  Result<std::string> code_of(const std::string& id, const std::string& type, const Json& properties) {
    const char* const key = type == kFunctions[0] ? "CodeUri" : "Code";
    const Json& code = member(properties, key);
    if (code.is_null()) return wrong(id + ": " + key + " is missing: name the folder of its code");
    TRY(std::string path, text(code, id + "." + key));
    if (path.find("://") == path.npos && !path.empty()) return path;
    return wrong(id + ": " + key + " '" + path + "' is no folder or archive beside the template");
  }

  Result<Json> reference(const std::string& to) const {
    if (const auto function = names_.find(to); function != names_.end()) return Json(function->second);
    if (const Json& parameter = member(member(root_, "Parameters"), to); !parameter.is_null()) {
      if (parameter.contains("Default")) return Json(text_of(parameter["Default"]));
      return wrong("the parameter " + to + " has no Default: write one, or the value");
    }
    if (to == "AWS::Region") return Json(domain::kAwsRegion);
    if (to == "AWS::AccountId") return Json(domain::kAwsAccount);
    if (to == "AWS::Partition") return Json("aws");
    if (to == "AWS::StackName") return Json(fs::absolute(file_).parent_path().filename().string());
    return wrong(to + " is neither a function nor a parameter of the template, and is not made here: write the value");
  }

  Result<Json> attribute(const std::string& id, const std::string& name) const {
    const auto function = names_.find(id);
    if (function != names_.end() && name == "Arn") return Json(domain::function_arn(function->second));
    return wrong("GetAtt " + id + "." + name + " is not resolved here: of functions there is Arn; write the value");
  }

  const Json& root_;
  const fs::path file_;
  domain::Resolver resolver_;
  std::vector<std::string> layers_;                        // their logical ids
  std::map<std::string, std::string> names_;               // of functions, by their logical ids
};

Result<std::string> read_text(const std::string& file) {
  std::error_code error;
  if (fs::file_size(file, error) > domain::kTemplateMax && !error) return wrong(file + " is larger than 1 MiB: it is no template");
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::not_found, "'" + file + "' can't be read");
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

bool is_template(const std::string& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  const auto text = read_text(file);
  return text && text->find(domain::kServerless) != text->npos && text->find("Resources") != text->npos;
}

}  // namespace

std::string find_sam(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    const std::string ending = fs::path(path).extension().string();
    return (ending == ".yaml" || ending == ".yml" || ending == ".json") && is_template(path) ? path : "";
  }
  for (const auto& entry : fs::directory_iterator(path, error))
    if (is_manifest(entry.path().filename().string())) return "";
  for (const char* name : {"template.yaml", "template.yml", "template.json"})
    if (const std::string file = (fs::path(path) / name).string(); is_template(file)) return file;
  return "";
}

Result<SamTemplate> read_sam(const std::string& file) {
  TRY(const std::string text, read_text(file));
  const auto root = domain::parse_template(text);
  if (!root) return wrong(file + ": " + root.error().message);
  return Template(*root, file).read();
}

}  // namespace mayfly::app
