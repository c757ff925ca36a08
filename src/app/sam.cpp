#include "app/sam.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/package.h"
#include "domain/arn.h"
#include "domain/image_reference.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTemplateMax = 1 << 20;
constexpr const char* kSign = "AWS::Serverless";           // of the transform, or of a resource
constexpr const char* kLayers[] = {"AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"};
constexpr const char* kFunctions[] = {"AWS::Serverless::Function", "AWS::Lambda::Function"};
// What changes what a function does, and is not done here.
constexpr const char* kRefused[] = {"InlineCode", "ImageConfig", "FileSystemConfigs", "VpcConfig",
                                    "DeadLetterQueue", "CodeSigningConfigArn", "SnapStart", "DurableConfig"};

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

// HelloWorldFunction: hello-world-function. HTTPHandler: http-handler.
std::string name_of(const std::string& resource) {
  std::string name;
  for (std::size_t i = 0; i < resource.size(); ++i) {
    const auto at = [&](std::size_t k) { return k < resource.size() ? static_cast<unsigned char>(resource[k]) : 0U; };
    const bool begins = i > 0 && std::isupper(static_cast<int>(at(i))) &&
                        (!std::isupper(static_cast<int>(at(i - 1))) || std::islower(static_cast<int>(at(i + 1))));
    if (begins && !name.ends_with('-')) name += '-';
    name += std::isalnum(static_cast<int>(at(i))) ? static_cast<char>(std::tolower(static_cast<int>(at(i)))) : '-';
  }
  return name;
}

// "Ref" of !Ref X and of {Ref: X}; "" where the value is no intrinsic function.
std::pair<std::string, YAML::Node> intrinsic(const YAML::Node& value) {
  if (const std::string& tag = value.Tag(); tag.size() > 1 && tag[0] == '!') return {tag.substr(1), value};
  if (!value.IsMap() || value.size() != 1) return {};
  const auto only = *value.begin();
  const auto key = only.first.as<std::string>();
  if (key == "Ref") return {"Ref", only.second};
  if (key.starts_with("Fn::")) return {key.substr(4), only.second};
  return {};
}

class Template {
 public:
  Template(YAML::Node root, fs::path file) : root_(std::move(root)), file_(std::move(file)) {}

  Result<SamTemplate> read() {
    const YAML::Node resources = root_["Resources"];
    if (!resources || !resources.IsMap()) return wrong(file_.string() + ": it has no Resources");
    for (const auto& [id, resource] : pairs(resources)) TRY_VOID(name_function(id, resource));
    SamTemplate all;
    for (const auto& [id, resource] : pairs(resources))
      if (std::ranges::find(kLayers, text(resource["Type"])) != std::end(kLayers)) {
        TRY(SamLayer layer, read_layer(id, text(resource["Type"]), resource["Properties"]));
        layers_.push_back(id);
        all.layers.push_back(std::move(layer));
      }
    for (const auto& [id, resource] : pairs(resources)) {
      const std::string type = text(resource["Type"]);
      if (std::ranges::find(layers_, id) != layers_.end()) continue;
      if (std::ranges::find(kFunctions, type) == std::end(kFunctions)) {
        all.notes.push_back(id + " (" + type + ") is not made here");
        continue;
      }
      TRY(SamFunction function, read_function(id, type, resource["Properties"], all.notes));
      all.functions.push_back(std::move(function));
    }
    if (all.functions.empty()) return wrong(file_.string() + ": it describes no function");
    return all;
  }

 private:
  static std::vector<std::pair<std::string, YAML::Node>> pairs(const YAML::Node& map) {
    std::vector<std::pair<std::string, YAML::Node>> all;
    if (map && map.IsMap())
      for (const auto& pair : map) all.emplace_back(pair.first.as<std::string>(), pair.second);
    return all;
  }
  static std::string text(const YAML::Node& node) { return node && node.IsScalar() ? node.Scalar() : std::string(); }

  Result<void> name_function(const std::string& id, const YAML::Node& resource) {
    const std::string type = text(resource["Type"]);
    if (std::ranges::find(kFunctions, type) == std::end(kFunctions)) return {};
    names_[id] = name_of(id);
    const YAML::Node given = resource["Properties"] ? resource["Properties"]["FunctionName"] : YAML::Node();
    if (!given) return {};
    TRY(names_[id], value_of(given, id + ".FunctionName"));
    return {};
  }

  // Of a function, else of Globals.Function.
  YAML::Node property(const YAML::Node& properties, const char* key) const {
    if (properties && properties[key]) return properties[key];
    const YAML::Node globals = root_["Globals"];
    return globals && globals["Function"] && globals["Function"][key] ? globals["Function"][key] : YAML::Node(YAML::NodeType::Undefined);
  }

  Result<SamFunction> read_function(const std::string& id, const std::string& type, const YAML::Node& properties,
                                    std::vector<std::string>& notes) {
    for (const char* key : kRefused)
      if (property(properties, key)) return wrong(id + ": " + key + " is not supported by this release: leave it out");
    SamFunction function{.resource = id, .name = names_.at(id)};
    if (text(property(properties, "PackageType")) == "Image") {
      TRY_VOID(read_image(id, type, properties, function));
    } else {
      TRY(const std::string code, code_of(id, type, properties));
      function.path = beside(code);
      TRY(function.runtime, value_of(property(properties, "Runtime"), id + ".Runtime"));
      TRY(function.handler, value_of(property(properties, "Handler"), id + ".Handler"));
    }
    if (function.runtime.starts_with("provided")) function.handler.clear();
    TRY(const std::string memory, value_of(property(properties, "MemorySize"), id + ".MemorySize"));
    TRY(const std::string timeout, value_of(property(properties, "Timeout"), id + ".Timeout"));
    function.memory = (memory.empty() ? "128" : memory) + "MiB";
    function.timeout = (timeout.empty() ? "3" : timeout) + "s";
    TRY_VOID(add_variables(root_["Globals"] ? root_["Globals"]["Function"] : YAML::Node(), id, function));
    TRY_VOID(add_variables(properties, id, function));
    TRY_VOID(add_layers(root_["Globals"] ? root_["Globals"]["Function"] : YAML::Node(), id, function));
    TRY_VOID(add_layers(properties, id, function));
    TRY(function.url, url_of(property(properties, "FunctionUrlConfig"), id + ".FunctionUrlConfig"));
    for (const auto& [event, what] : pairs(property(properties, "Events")))
      notes.push_back(id + ".Events." + event + " (" + text(what["Type"]) + ") is not made here: the function is called at /functions/" +
                      function.name);
    return function;
  }

  // Of a registry; what `sam build` makes of a Dockerfile has no ImageUri before it is packaged.
  Result<void> read_image(const std::string& id, const std::string& type, const YAML::Node& properties, SamFunction& into) {
    const bool sam = type == kFunctions[0];
    const YAML::Node code = sam ? properties : property(properties, "Code");
    TRY(const std::string uri, value_of(code ? property(code, "ImageUri") : YAML::Node(), id + (sam ? ".ImageUri" : ".Code.ImageUri")));
    if (uri.empty())
      return wrong(id + ": PackageType Image without ImageUri: push the image to a registry that the node may pull from, and name it");
    into.path = std::string(domain::kPullPrefix) + uri;
    into.runtime = "container-lambda";
    return {};
  }

  Result<SamLayer> read_layer(const std::string& id, const std::string& type, const YAML::Node& properties) {
    const char* const key = type == kLayers[0] ? "ContentUri" : "Content";
    SamLayer layer{.resource = id, .name = id, .description = {}, .path = {}};
    if (!properties || !properties[key]) return wrong(id + ": " + key + " is missing: name the layer's folder");
    TRY(const std::string path, value_of(properties[key], id + "." + key));
    if (path.empty() || path.find("://") != path.npos)
      return wrong(id + ": " + key + " '" + path + "' is no folder or archive beside the template");
    layer.path = beside(path);
    TRY(const std::string name, value_of(properties["LayerName"], id + ".LayerName"));
    TRY(layer.description, value_of(properties["Description"], id + ".Description"));
    if (!name.empty()) layer.name = name;
    return layer;
  }

  Result<std::string> url_of(const YAML::Node& config, const std::string& where) {
    if (!config) return std::string();
    if (!config.IsMap()) return wrong(where + ": a map is wanted, with AuthType: NONE, or AWS_IAM");
    nlohmann::json url = {{"AuthType", "NONE"}};
    for (const char* key : {"AuthType", "InvokeMode"})
      if (config[key]) { TRY(url[key], value_of(config[key], where + "." + key)); }
    if (!config["AuthType"]) return wrong(where + ": AuthType is missing: write NONE, or AWS_IAM");
    for (const auto& [key, value] : pairs(config["Cors"])) {
      if (value.IsSequence()) {
        for (const YAML::Node& item : value) {
          TRY(const std::string one, value_of(item, where + ".Cors." + key));
          url["Cors"][key].push_back(one);
        }
        continue;
      }
      TRY(const std::string text, value_of(value, where + ".Cors." + key));
      url["Cors"][key] = key == "AllowCredentials" || key == "MaxAge" ? nlohmann::json::parse(text, nullptr, false) : nlohmann::json(text);
    }
    return url.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  // Those of Globals first, as SAM has it.
  Result<void> add_layers(const YAML::Node& properties, const std::string& id, SamFunction& into) {
    if (!properties || !properties["Layers"]) return {};
    if (!properties["Layers"].IsSequence()) return wrong(id + ".Layers: a list is wanted");
    for (const YAML::Node& item : properties["Layers"]) {
      const auto [function, argument] = intrinsic(item);
      if (function == "Ref" && std::ranges::find(layers_, text(argument)) != layers_.end()) {
        into.layers.push_back({text(argument), ""});
        continue;
      }
      TRY(std::string arn, value_of(item, id + ".Layers"));
      into.layers.push_back({"", std::move(arn)});
    }
    return {};
  }

  std::string beside(const std::string& path) const {
    std::string full = (file_.parent_path() / path).lexically_normal().string();
    while (full.size() > 1 && full.ends_with('/')) full.pop_back();
    return full;
  }

  Result<std::string> code_of(const std::string& id, const std::string& type, const YAML::Node& properties) {
    const char* const key = type == kFunctions[0] ? "CodeUri" : "Code";
    const YAML::Node code = property(properties, key);
    if (!code) return wrong(id + ": " + key + " is missing: name the folder of its code");
    TRY(std::string path, value_of(code, id + "." + key));
    if (path.find("://") == path.npos && !path.empty()) return path;
    return wrong(id + ": " + key + " '" + path + "' is no folder or archive beside the template");
  }

  Result<void> add_variables(const YAML::Node& properties, const std::string& id, SamFunction& into) {
    if (!properties || !properties["Environment"] || !properties["Environment"]["Variables"]) return {};
    for (const auto& [name, value] : pairs(properties["Environment"]["Variables"])) {
      TRY(std::string resolved, value_of(value, id + ".Environment.Variables." + name));
      std::erase_if(into.environment, [&](const auto& entry) { return entry.first == name; });
      into.environment.emplace_back(name, std::move(resolved));
    }
    return {};
  }

  // A text; "" where there is none.
  Result<std::string> value_of(const YAML::Node& value, const std::string& where) {
    if (!value || value.IsNull()) return std::string();
    const auto [function, argument] = intrinsic(value);
    if (function == "Ref") return reference(text(argument), where);
    if (function == "Sub") return substituted(argument, where);
    if (function == "GetAtt") return attribute(argument, where);
    if (!function.empty()) return wrong(where + ": " + function + " is not resolved here: write the value");
    if (!value.IsScalar()) return wrong(where + ": a text is wanted");
    return value.Scalar();
  }

  Result<std::string> reference(const std::string& to, const std::string& where) {
    if (const auto function = names_.find(to); function != names_.end()) return function->second;
    if (const YAML::Node parameter = root_["Parameters"] ? root_["Parameters"][to] : YAML::Node(YAML::NodeType::Undefined); parameter) {
      if (parameter["Default"]) return text(parameter["Default"]);
      return wrong(where + ": the parameter " + to + " has no Default: write one, or the value");
    }
    if (to == "AWS::Region") return std::string(domain::kAwsRegion);
    if (to == "AWS::AccountId") return std::string(domain::kAwsAccount);
    if (to == "AWS::Partition") return std::string("aws");
    if (to == "AWS::StackName") return fs::absolute(file_).parent_path().filename().string();
    return wrong(where + ": " + to + " is neither a function nor a parameter of the template, and is not made here: write the value");
  }

  Result<std::string> attribute(const YAML::Node& argument, const std::string& where) {
    const std::string whole = argument.IsSequence() && argument.size() == 2 ? text(argument[0]) + "." + text(argument[1]) : text(argument);
    const auto function = names_.find(whole.substr(0, whole.find('.')));
    if (function == names_.end() || !whole.ends_with(".Arn"))
      return wrong(where + ": GetAtt " + whole + " is not resolved here: of functions there is Arn; write the value");
    return domain::function_arn(function->second);
  }

  Result<std::string> substituted(const YAML::Node& argument, const std::string& where) {
    if (!argument.IsScalar()) return wrong(where + ": Sub with a list of values is not resolved here: write the value");
    const std::string& from = argument.Scalar();
    std::string to;
    for (std::size_t at = 0; at < from.size();) {
      const std::size_t open = std::min(from.find("${", at), from.size()), close = from.find('}', open);
      to.append(from, at, open - at);
      if (open == from.size() || close == from.npos) break;
      const std::string name = from.substr(open + 2, close - open - 2);
      at = close + 1;
      if (name.starts_with('!')) {
        to += "${" + name.substr(1) + "}";
        continue;
      }
      TRY(const std::string value, name.find('.') == name.npos ? reference(name, where) : attribute(YAML::Node(name), where));
      to += value;
    }
    return to;
  }

  const YAML::Node root_;
  const fs::path file_;
  std::vector<std::string> layers_;                        // their logical ids
  std::map<std::string, std::string> names_;               // of functions, by their logical ids
};

Result<std::string> read_text(const std::string& file) {
  std::error_code error;
  if (fs::file_size(file, error) > kTemplateMax && !error) return wrong(file + " is larger than 1 MiB: it is no template");
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
  return text && text->find(kSign) != text->npos && text->find("Resources") != text->npos;
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
  try {
    YAML::Node root = YAML::Load(text);
    if (!root.IsMap()) return wrong(file + ": it is no template");
    return Template(std::move(root), file).read();
  } catch (const YAML::Exception& error) { return wrong(file + " is not YAML: " + error.what()); }
}

}  // namespace mayfly::app
