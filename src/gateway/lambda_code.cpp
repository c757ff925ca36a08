#include "gateway/lambda_code.h"

#include <algorithm>
#include <utility>

#include "domain/settings.h"
#include "gateway/control_json.h"
#include "gateway/lambda_images.h"
#include "gateway/lambda_layers.h"

namespace mayfly::gateway {
namespace {

using lambda::answer;
using lambda::configuration_of;
using lambda::dump;
using lambda::refuse;

Error being_changed(const std::string& function) {
  return {Code::conflict, "An update is in progress for resource: " + lambda::arn_of(function) + ": try again later"};
}

// What may be said only so; anything else is refused by its name. null and what is empty say nothing.
Result<void> check_supported(const Json& body) {
  struct Only { const char* pointer; const char* value; const char* instead; };
  static constexpr Only kOnly[] = {
      {"/Architectures/0", "x86_64", "write x86_64"},
      {"/FileSystemConfigs/0", "", "there are no shared file systems"},
      {"/VpcConfig/SubnetIds/0", "", "code has no network in this release"},
      {"/VpcConfig/SecurityGroupIds/0", "", "code has no network in this release"},
      {"/DeadLetterConfig/TargetArn", "", "nothing is sent to destinations"},
      {"/KMSKeyArn", "", "nothing is encrypted with keys of yours"},
      {"/CodeSigningConfigArn", "", "signatures of code are not checked"},
      {"/TracingConfig/Mode", "PassThrough", "write PassThrough"},
      {"/SnapStart/ApplyOn", "None", "write None"},
      {"/TenancyConfig", "", "leave it out"},
      {"/CapacityProviderConfig", "", "leave it out"},
      {"/DurableConfig", "", "leave it out"},
      {"/RuntimeConfig", "", "leave it out"},
      {"/AcceleratorConfig", "", "leave it out"},
  };
  for (const Only& only : kOnly) {
    const Json::json_pointer at(only.pointer);
    const Json value = body.contains(at) ? body.at(at) : Json();
    if (value.is_null() || value == only.value || value == "" || (value.is_structured() && value.empty())) continue;
    std::string name(only.pointer + 1);
    std::ranges::replace(name, '/', '.');
    return fail(Code::unimplemented, name + " " + dump(value).substr(0, 80) + " is not supported: " + only.instead);
  }
  if (const Json::json_pointer at("/EphemeralStorage/Size"); body.contains(at) && body.at(at) != 512)
    return fail(Code::unimplemented, "EphemeralStorage.Size " + dump(body.at(at)).substr(0, 40) + " is not supported: write 512");
  return {};
}

// {"Description", "Role"} as it becomes; null where the body says nothing of it.
Result<Json> said_in(const Json& body, Json before) {
  bool any = false;
  for (const char* key : {"Description", "Role"}) {
    if (!body.contains(key) || body[key].is_null()) continue;
    TRY(const std::string text, lambda::text_in(body, key));
    before[key] = text;
    any = true;
  }
  return any ? before : Json();
}

// One of the words, in whatever case, as the manifest has it.
Result<std::string> word_in(const Json& config, const char* key, const std::vector<std::string_view>& words) {
  TRY(std::string text, lambda::text_in(config, key));
  const auto lower = [](std::string_view word) {
    std::string small(word);
    for (char& c : small) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    return small;
  };
  std::string all;
  for (const std::string_view word : words) {
    if (text == word) return lower(word);
    all.append(all.empty() ? "" : ", ").append(word);
  }
  return fail(Code::invalid_argument, std::string("LoggingConfig.") + key + " '" + text.substr(0, 64) + "' is none of " + all);
}

// What it does not say stays, but for levels where the format becomes one that has none.
Result<domain::Logging> logging_in(const Json& config, domain::Logging logging) {
  if (!config.is_object()) return fail(Code::invalid_argument, "LoggingConfig is not an object");
  const auto said = [&](const char* key) { return config.contains(key) && !config[key].is_null(); };
  if (said("LogFormat")) {
    TRY(const std::string format, word_in(config, "LogFormat", {"Text", "JSON"}));
    if (format == "text") logging = {};
    logging.format = format == "json" ? domain::LogFormat::json : domain::LogFormat::text;
  }
  if ((said("ApplicationLogLevel") || said("SystemLogLevel")) && logging.format == domain::LogFormat::text)
    return fail(Code::invalid_argument, "levels are of LogFormat JSON: say LoggingConfig.LogFormat JSON with them");
  if (said("ApplicationLogLevel")) {
    TRY(const std::string level, word_in(config, "ApplicationLogLevel", {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}));
    logging.level = domain::read_level(level);
  }
  if (said("SystemLogLevel")) {
    TRY(const std::string level, word_in(config, "SystemLogLevel", {"DEBUG", "INFO", "WARN"}));
    logging.system_level = domain::read_level(level);
  }
  return logging;
}

}  // namespace

Result<domain::Manifest> lambda::manifest_in(const Json& body, domain::Manifest manifest) {
  TRY_VOID(check_supported(body));
  TRY_VOID(set_image_config(body, manifest));
  const bool image = manifest.is_container();             // what is of a zip alone says nothing then
  const auto said = [&](const char* key) { return body.contains(key) && !body[key].is_null(); };
  if (said("Runtime") && !image) {
    TRY(manifest.runtime, text_in(body, "Runtime"));
  }
  if (said("Handler") && !image) {
    TRY(manifest.handler, text_in(body, "Handler"));
  }
  if (said("Timeout")) {
    TRY(const int seconds, number_in(body, "Timeout", 1, 900));
    manifest.resources.timeout = std::chrono::seconds(seconds);
  }
  if (said("MemorySize")) {
    TRY(const int mib, number_in(body, "MemorySize", 128, 32'768));
    manifest.resources.memory = Bytes{static_cast<std::uint64_t>(mib) << 20};
  }
  if (said("Environment")) {
    const Json& environment = body["Environment"];
    const Json variables = environment.is_object() && environment.contains("Variables") ? environment["Variables"] : Json::object();
    if (!variables.is_object()) return fail(Code::invalid_argument, "Environment.Variables is not an object of NAME: value");
    manifest.environment.clear();
    for (const auto& [name, value] : variables.items()) {
      if (!value.is_string()) return fail(Code::invalid_argument, "Environment.Variables." + name.substr(0, 64) + " is not a text");
      manifest.environment.emplace_back(name, value.get<std::string>());
    }
    std::ranges::sort(manifest.environment);
  }
  if (said("Layers")) {
    TRY(manifest.layers, layers_in(body));
  }
  if (said("LoggingConfig")) {
    TRY(manifest.logging, logging_in(body["LoggingConfig"], manifest.logging));
  }
  if (manifest.runtime.empty()) return fail(Code::invalid_argument, "Runtime is missing: name what runs the code, like python3.11");
  auto checked = domain::parse_manifest(domain::to_json(manifest));  // as every manifest: runtime, names, sizes
  if (checked) return checked;
  const std::string& message = checked.error().message;             // "line 1: …", of text that nobody has seen
  return fail(Code::invalid_argument, message.substr(message.starts_with("line ") ? message.find(": ") + 2 : 0));
}

struct LambdaCode::Change {
  Responder to;
  std::string function;
  control::DeployOrder order;
  Json said;                               // {"Description", "Role"}, if it is to be kept
  std::vector<domain::Setting> settings;   // further ones
  bool publish = false;
  int status = 200;
};

void LambdaCode::add_routes(Router& router) {
  router.add(Method::post, "/2015-03-31/functions",
             [this](HttpRequest& request, Responder to) { create(request, to); }, lambda::kRequestMax);
  router.add(Method::put, "/2015-03-31/functions/{name}/code",
             [this](HttpRequest& request, Responder to) { update_code(request, to); }, lambda::kRequestMax);
  router.add(Method::put, "/2015-03-31/functions/{name}/configuration",
             [this](HttpRequest& request, Responder to) { update_configuration(request, to); }, kBodyMax);
}

namespace {

Result<bool> flag_in(const Json& body, const char* key) {
  const auto at = body.find(key);
  if (at == body.end() || at->is_null()) return false;
  if (at->is_boolean()) return at->get<bool>();
  return fail(Code::invalid_argument, std::string(key) + " is not true or false");
}

}  // namespace

void LambdaCode::create(HttpRequest& request, const Responder& to) {
  std::string cut = lambda::cut_zip(request.body);
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto begun = [&]() -> Result<std::pair<Change, std::optional<lambda::ZipSource>>> {
    TRY(const std::string named, lambda::text_in(*body, "FunctionName"));
    if (named.empty()) return fail(Code::invalid_argument, "FunctionName is missing: name the function");
    TRY(const lambda::Target target, lambda::parse_target(named, ""));
    Change change{.to = to, .function = target.function, .status = 201};
    if (control_.describe(target.function)) return fail(Code::conflict, "Function already exist: " + target.function);
    TRY(change.publish, flag_in(*body, "Publish"));
    TRY(const std::string role, lambda::text_in(*body, "Role"));
    if (role.empty()) return fail(Code::invalid_argument, "Role is missing: any ARN of a role, which is kept and gives nothing here");
    domain::Manifest defaults{.name = target.function, .build = domain::Build::never};  // a zip is whole, as there
    defaults.resources = {.memory = 128_MiB, .timeout = std::chrono::seconds(3)};
    const Json code = body->contains("Code") && (*body)["Code"].is_object() ? (*body)["Code"] : Json::object();
    TRY(const bool image, lambda::is_image(*body));
    TRY_VOID(lambda::check_package(code, image));
    if (image) {                                             // by Lambda's contract, whatever it starts
      defaults.runtime = "container-lambda";
      TRY_VOID(lambda::set_image(code, defaults));
    }
    TRY(const domain::Manifest manifest, lambda::manifest_in(*body, std::move(defaults)));
    change.order = {.name = target.function, .manifest = domain::to_json(manifest), .force = true};
    TRY(change.said, said_in(*body, {{"Description", ""}}));
    if (body->contains("Tags") && !(*body)["Tags"].empty()) {
      TRY(change.settings, lambda::tags_in(*body, {}));
    }
    if (image) return std::pair(std::move(change), std::nullopt);
    TRY(lambda::ZipSource zip, lambda::zip_in(code, std::move(cut)));
    return std::pair(std::move(change), std::move(zip));
  }();
  if (!begun) return refuse(to, begun.error());
  upload(begun->first, begun->second);
}

void LambdaCode::update_code(HttpRequest& request, const Responder& to) {
  std::string cut = lambda::cut_zip(request.body);
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto found = lambda::find(control_, request);
  if (!found) return refuse(to, found.error());
  const domain::Function& function = found->view.function;
  const Json is = configuration_of(function, function.versions.back(), "$LATEST");
  const auto revision = lambda::text_in(*body, "RevisionId");
  if (!revision) return refuse(to, revision.error());
  if (!lambda::same_revision(to, *revision, is["RevisionId"].get_ref<const std::string&>())) return;
  bool dry = false;
  const auto begun = [&]() -> Result<std::pair<Change, std::optional<lambda::ZipSource>>> {
    if (!function.versions.back().manifest.is_code())
      return fail(Code::invalid_argument, "function '" + function.name + "' is a model: deploy it with 'mayfly deploy'");
    Change change{.to = to, .function = function.name};
    TRY(change.publish, flag_in(*body, "Publish"));
    TRY(dry, flag_in(*body, "DryRun"));
    TRY_VOID(check_supported(*body));
    domain::Manifest manifest = function.versions.back().manifest;
    TRY_VOID(lambda::check_package(*body, manifest.is_container()));
    if (manifest.is_container()) TRY_VOID(lambda::set_image(*body, manifest));
    else manifest.build = domain::Build::never;
    change.order = {.name = function.name, .manifest = domain::to_json(manifest)};
    if (manifest.is_container()) return std::pair(std::move(change), std::nullopt);
    TRY(lambda::ZipSource zip, lambda::zip_in(*body, std::move(cut)));
    return std::pair(std::move(change), std::move(zip));
  }();
  if (!begun) return refuse(to, begun.error());
  if (dry) return answer(to, is);
  upload(begun->first, begun->second);
}

void LambdaCode::update_configuration(HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const auto found = lambda::find(control_, request);
  if (!found) return refuse(to, found.error());
  const domain::Function& function = found->view.function;
  const domain::Version& newest = function.versions.back();
  const auto revision = lambda::text_in(*body, "RevisionId");
  if (!revision) return refuse(to, revision.error());
  const Json is = configuration_of(function, newest, "$LATEST");
  if (!lambda::same_revision(to, *revision, is["RevisionId"].get_ref<const std::string&>())) return;
  const auto begun = [&]() -> Result<Change> {
    Change change{.to = to, .function = function.name};
    if (!newest.manifest.is_code())
      return fail(Code::invalid_argument, "function '" + function.name + "' is a model: deploy it again with its function.yaml");
    TRY(const domain::Manifest manifest, lambda::manifest_in(*body, newest.manifest));
    change.order = {.name = function.name, .manifest = domain::to_json(manifest), .files = newest.files, .force = true};
    TRY(change.said, said_in(*body, lambda::configured_of(function, newest.number)));
    return change;
  }();
  if (!begun) return refuse(to, begun.error());
  if (!changing_.insert(function.name).second) return refuse(to, being_changed(function.name));
  deploy(*begun);
}

// The zip as an artifact; then the deploy of it. An image's deploy pulls it.
void LambdaCode::upload(Change change, std::optional<lambda::ZipSource> zip) {
  if (!changing_.insert(change.function).second) return refuse(change.to, being_changed(change.function));
  if (!zip) return deploy(std::move(change));
  lambda::upload_zip(control_, *std::move(zip), "function.zip", [this, change = std::move(change)](const Result<domain::FileRef>& file) {
    if (!file) {
      changing_.erase(change.function);
      return refuse(change.to, file.error());
    }
    Change next = change;
    next.order.archive = *file;
    deploy(std::move(next));
  });
}

void LambdaCode::deploy(Change change) {
  control::DeployOrder order = change.order;
  control_.deploy(std::move(order),
                  [this, change = std::move(change)](const Result<control::VersionView>& view) { deployed(change, view); });
}

// What is said of it is kept after it is there: an error between the two leaves the version with the words of the one before.
void LambdaCode::deployed(const Change& change, const Result<control::VersionView>& view) {
  changing_.erase(change.function);
  if (!view) return refuse(change.to, view.error());
  const int number = view->version.number;
  std::vector<domain::Setting> settings = change.settings;
  if (!change.said.is_null()) settings.push_back({lambda::kConfigured, std::to_string(number), dump(change.said), {}});
  if (settings.empty()) return tell(change, number);
  control_.set_settings(change.function, std::move(settings), [this, change, number](const Result<void>& kept) {
    if (!kept) return refuse(change.to, kept.error());
    tell(change, number);
  });
}

void LambdaCode::tell(const Change& change, int version) {
  const std::string number = std::to_string(version);
  const auto now = lambda::find(control_, change.function, number);
  if (!now) return refuse(change.to, now.error());
  answer(change.to, configuration_of(now->view.function, *now->version, change.publish ? number : "$LATEST"), change.status);
}

}  // namespace mayfly::gateway
