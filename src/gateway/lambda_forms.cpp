#include "gateway/lambda_forms.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/hex.h"
#include "base/units.h"
#include "domain/arn.h"
#include "domain/json.h"
#include "domain/manifest.h"
#include "domain/printed.h"
#include "domain/settings.h"
#include "gateway/lambda_images.h"
#include "os/digest.h"

namespace mayfly::gateway::lambda {
namespace {

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(by);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Of a model its file's, of an archive its own; of code that came as files that of their names and hashes, in order.
std::string code_hash(const domain::Version& version) {
  std::string all;
  const bool image = version.manifest.is_container();
  for (const domain::FileRef& file : version.files) {
    if ((file.archive && !image) || (!version.manifest.is_code() && file.path == version.manifest.model)) return bytes_of_hex(file.sha256);
    all += file.path + '\0' + file.sha256 + '\n';
  }
  return os::sha256(all);
}

Json layers_of(const domain::Version& version) {
  Json layers = Json::array();
  for (const domain::LayerRef& layer : version.layers)
    layers.push_back({{"Arn", domain::layer_arn(layer.name, layer.number)}, {"CodeSize", layer.size.count}});
  return layers;
}

Json logging_of(const std::string& function, const domain::Logging& logging) {
  const auto upper = [](domain::Level level) {
    std::string text(domain::name(level));
    for (char& c : text) c = static_cast<char>(c - 'a' + 'A');
    return text;
  };
  Json json{{"LogFormat", "Text"}, {"LogGroup", "/aws/lambda/" + function}};
  if (logging.format == domain::LogFormat::json)
    json.update({{"LogFormat", "JSON"}, {"ApplicationLogLevel", upper(logging.level)}, {"SystemLogLevel", upper(logging.system_level)}});
  return json;
}

Json environment_of(const domain::Manifest& manifest) {
  Json variables = Json::object();
  for (const auto& [name, value] : manifest.environment) variables[name] = value;
  return variables;
}

// Its names for what went wrong.
struct Kind { int status; const char* type; };
Kind kind_of(Code code) {
  switch (code) {
    case Code::not_found: return {404, "ResourceNotFoundException"};
    case Code::conflict: return {409, "ResourceConflictException"};
    case Code::exhausted: return {429, "TooManyRequestsException"};
    case Code::permission_denied: return {403, "AccessDeniedException"};
    case Code::unauthenticated: return {403, "UnrecognizedClientException"};
    case Code::invalid_argument:
    case Code::unimplemented:          // not 5xx: it would be asked again
    case Code::cancelled: return {400, "InvalidParameterValueException"};
    default: return {500, "ServiceException"};
  }
}

Result<int> version_number(std::string_view text, const std::vector<domain::Version>& versions) {
  int number = 0;
  if (text == "$LATEST" && !versions.empty()) return versions.back().number;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && at == text.data() + text.size() && number >= 1) return number;
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 64)) + "' is not a version: write its number");
}

}  // namespace

Result<Target> parse_target(std::string_view name, std::string_view qualifier) {
  const std::vector<std::string_view> parts = split(name, ':');
  Target target;
  std::size_t at = 0;  // of the name
  if (parts.size() >= 7 && parts[0] == "arn" && parts[2] == "lambda" && parts[5] == "function") at = 6;
  else if (parts.size() >= 3 && parts[1] == "function") at = 2;
  if (parts.size() > at + 2 || parts[at].empty() || (at == 0 && parts[0] == "arn"))
    return fail(Code::invalid_argument, "'" + std::string(name.substr(0, 170)) +
                                            "' is no function: write its name, or arn:aws:lambda:REGION:ACCOUNT:function:NAME");
  target.function = parts[at];
  if (parts.size() == at + 2) target.qualifier = parts[at + 1];
  if (!qualifier.empty()) {
    if (!target.qualifier.empty() && target.qualifier != qualifier)
      return fail(Code::invalid_argument, "the function's name says '" + target.qualifier.substr(0, 64) + "' and Qualifier says '" +
                                              std::string(qualifier.substr(0, 64)) + "': name one");
    target.qualifier = qualifier;
  }
  return target;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string arn_of(std::string_view function, std::string_view qualifier) {
  std::string arn = domain::function_arn(function);
  if (!qualifier.empty()) arn.append(":").append(qualifier);
  return arn;
}

std::string date_of(WallTime time) {
  std::string text = rfc3339(time);
  return text.replace(text.size() - 1, 1, "+0000");
}

std::string revision_of(std::string_view text) {
  const std::string hash = os::sha256(text);
  std::uint64_t halves[2];
  std::memcpy(halves, hash.data(), sizeof halves);
  return uuid_text((halves[0] & ~std::uint64_t{0xf000}) | 0x8000, (halves[1] & ~(std::uint64_t{3} << 62)) | std::uint64_t{2} << 62);
}

Json configured_of(const domain::Function& function, int version) {
  Json found{{"Description", ""}, {"Role", "arn:aws:iam::" + std::string(domain::kAwsAccount) + ":role/none"}};
  int newest = 0;
  for (const domain::Setting& setting : function.settings) {
    int number = 0;
    std::from_chars(setting.key.data(), setting.key.data() + setting.key.size(), number);
    if (setting.kind != kConfigured || number > version || number <= newest) continue;
    newest = number;
    if (const Json said = domain::parse_json<Json>(setting.document); said.is_object()) found.update(said);
  }
  return found;
}

Json tags_of(const domain::Function& function) {
  Json tags = Json::object();
  for (const domain::Setting& setting : function.settings)
    if (setting.kind.starts_with(kTag)) tags[setting.kind.substr(kTag.size())] = domain::parse_json<Json>(setting.document);
  return tags;
}

Json configuration_of(const domain::Function& function, const domain::Version& version, std::string_view qualifier) {
  std::uint64_t size = 0;
  for (const domain::FileRef& file : version.files) size += file.size.count;
  const domain::Manifest& manifest = version.manifest;
  const bool latest = qualifier.empty() || qualifier == "$LATEST";
  const bool image = manifest.is_container();
  Json said = configured_of(function, version.number);
  if (const domain::Setting* published = domain::find_setting(function, kPublished, std::to_string(version.number)); published && !latest)
    if (const Json text = domain::parse_json<Json>(published->document); text.is_object()) said.update(text);
  Json json{{"FunctionName", function.name},
            {"FunctionArn", arn_of(function.name, latest ? "" : qualifier)},
            {"Role", said["Role"]},
            {"Handler", manifest.is_code() ? manifest.handler : manifest.model},
            {"PackageType", image ? "Image" : "Zip"},
            {"CodeSize", size},
            {"CodeSha256", manifest.image.digest.empty() ? os::to_base64(code_hash(version)) : manifest.image.digest},
            {"Description", said["Description"]},
            {"Timeout", static_cast<std::int64_t>(std::max(1.0, std::ceil(to_seconds(manifest.resources.timeout))))},
            {"MemorySize", std::max<std::uint64_t>(128, manifest.resources.memory.count >> 20)},
            {"LastModified", date_of(version.created)},
            {"Version", latest ? "$LATEST" : std::to_string(version.number)},
            {"State", "Active"},
            {"LastUpdateStatus", "Successful"},
            {"Architectures", {"x86_64"}},
            {"Layers", layers_of(version)},
            {"VpcConfig", {{"SubnetIds", Json::array()}, {"SecurityGroupIds", Json::array()}, {"VpcId", ""}}},
            {"TracingConfig", {{"Mode", "PassThrough"}}},
            {"SnapStart", {{"ApplyOn", "None"}, {"OptimizationStatus", "Off"}}},
            {"LoggingConfig", logging_of(function.name, manifest.logging)},
            {"EphemeralStorage", {{"Size", 512}}}};
  if (image) json.erase("Handler");
  else if (manifest.is_code()) json["Runtime"] = manifest.runtime;
  if (Json config = image_config_of(manifest.image.instead); !config.is_null())
    json["ImageConfigResponse"] = {{"ImageConfig", std::move(config)}};
  if (!manifest.environment.empty()) json["Environment"] = {{"Variables", environment_of(manifest)}};
  // By the version's own number: what is not said of it (files of a folder) has changed too where that has.
  json["RevisionId"] = revision_of(std::to_string(version.id.number) + dump(json));
  return json;
}

Json alias_of(const domain::Function& function, const domain::Alias& alias) {
  Json json{{"AliasArn", arn_of(function.name, alias.name)}, {"Name", alias.name}, {"Description", ""}};
  if (const domain::Setting* said = domain::find_setting(function, kAliasSaid, alias.name))
    if (const Json text = domain::parse_json<Json>(said->document); text.is_object()) json.update(text);
  if (alias.weights.empty()) return json;
  json["FunctionVersion"] = std::to_string(alias.weights[0].version);
  if (alias.weights.size() > 1) {
    Json others = Json::object();
    for (std::size_t i = 1; i < alias.weights.size(); ++i) others[std::to_string(alias.weights[i].version)] = alias.weights[i].share;
    json["RoutingConfig"] = {{"AdditionalVersionWeights", std::move(others)}};
  }
  json["RevisionId"] = revision_of(dump(json));
  return json;
}

Result<std::vector<domain::Weight>> weights_of(const Json& body, const std::vector<domain::Weight>& before,
                                               const std::vector<domain::Version>& versions) {
  const Json& version = body.contains("FunctionVersion") ? body["FunctionVersion"] : Json();
  int number = before.empty() ? 0 : before[0].version;
  if (version.is_string()) {
    TRY(number, version_number(version.get_ref<const std::string&>(), versions));
  }
  if (number == 0) return fail(Code::invalid_argument, "FunctionVersion is missing: name the version that the alias is to stand for");
  std::vector<domain::Weight> weights{{number, 1}};
  const Json& routing = body.contains("RoutingConfig") ? body["RoutingConfig"] : Json();
  if (routing.is_null()) return weights;
  if (!routing.is_object()) return fail(Code::invalid_argument, "RoutingConfig is not an object");
  const Json& others = routing.contains("AdditionalVersionWeights") ? routing["AdditionalVersionWeights"] : Json();
  if (others.is_null()) return weights;
  if (!others.is_object()) return fail(Code::invalid_argument, "AdditionalVersionWeights is not an object of version: weight");
  for (const auto& [text, share] : others.items()) {
    TRY(const int other, version_number(text, versions));
    if (!share.is_number()) return fail(Code::invalid_argument, "the weight of version " + text.substr(0, 64) + " is not a number");
    weights.push_back({other, share.get<double>()});
    weights[0].share -= weights.back().share;
  }
  return weights;
}

bool is_path(std::string_view path) {
  const std::string_view date = path.substr(0, 12);  // "/2015-03-31/"
  return date.size() == 12 && date.starts_with("/20") && date[5] == '-' && date[8] == '-' && date[11] == '/';
}

HttpReply error_reply(const Error& error, int status) {
  Kind kind = kind_of(error.code);
  if (status == 413) kind = {413, "RequestTooLargeException"};
  else if (status != 0) kind.status = status;
  return error_reply(kind.status, kind.type, error.message);
}

HttpReply error_reply(int status, std::string_view type, std::string_view message) {
  const Json body{{"Type", status < 500 ? "User" : "Service"}, {"Message", message}};
  HttpReply reply{.status = status, .body = dump(body)};
  reply.headers.emplace_back("x-amzn-ErrorType", type);
  if (status == 429 || status == 503) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

namespace {

struct FunctionError {
  std::string type, message;
};

// "… Runtime.ExitError: signal 9 (Killed): it exceeded …" -> that type, and the words that a function's owner knows from there.
FunctionError split_error(std::string_view request_id, const Error& error) {
  const std::string prefix = "RequestId: " + std::string(request_id) + " Error: ";
  if (error.code == Code::deadline_exceeded) return {"Sandbox.Timedout", prefix + error.message};
  const std::string& text = error.message;
  std::size_t at = text.npos;
  for (const char* family : {"Runtime.", "Extension."}) at = std::min(at, text.find(family));
  const std::size_t colon = at == text.npos ? at : text.find(": ", at);
  if (colon == text.npos || text.substr(at, colon - at).find(' ') != text.npos) return {"Mayfly." + std::string(name(error.code)), text};
  FunctionError told{text.substr(at, colon - at), text.substr(colon + 2)};
  if (told.type != "Runtime.ExitError") return told;
  if (const std::size_t open = told.message.find('('); told.message.starts_with("signal ") && open != told.message.npos) {
    const std::size_t close = std::min(told.message.find(')', open), told.message.size() - 1);
    std::string signal = told.message.substr(open + 1, close - open - 1);
    for (char& c : signal) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    told.message = "signal: " + signal + told.message.substr(close + 1);
  }
  told.message = prefix + "Runtime exited with error: " + told.message;
  return told;
}

}  // namespace

bool is_function_error(const serve::InvocationReply& reply) {
  if (reply.ok || reply.version == 0) return false;
  if (reply.function_error) return true;
  const Code code = reply.error.code;
  const bool ran = reply.phases.decode > Duration{} || reply.phases.run > Duration{};
  const bool own = (reply.not_started || reply.died) && split_error("", reply.error).type.find("Mayfly.") != 0;
  return code == Code::deadline_exceeded || ran || (code == Code::invalid_argument) || own;
}

std::string function_error(std::string_view request_id, const Error& error) {
  const FunctionError told = split_error(request_id, error);
  return dump({{"errorType", told.type}, {"errorMessage", told.message}});
}

std::string log_of(std::string_view request_id, const serve::InvocationReply& reply, Bytes memory) {
  const std::string id(request_id);
  const Duration ran = reply.phases.decode + reply.phases.run + reply.phases.encode;
  const double ms = to_seconds(ran) * 1e3;
  const bool ended = !reply.ok && !reply.function_error;
  const FunctionError error = ended ? split_error(request_id, reply.error) : FunctionError();
  std::string text = "START RequestId: " + id + " Version: " + std::to_string(reply.version) + "\n" + reply.log;
  if (!reply.log.empty() && !reply.log.ends_with('\n')) text += '\n';
  if (ended) text += error.message + "\n" + error.type + "\n";
  char numbers[200];
  const auto mb = [](Bytes bytes) { return std::to_string(bytes.count >> 20) + " MB"; };
  std::snprintf(numbers, sizeof numbers, "\tDuration: %.2f ms\tBilled Duration: %.0f ms", ms, std::ceil(ms));
  text += "END RequestId: " + id + "\nREPORT RequestId: " + id + numbers;
  text += "\tMemory Size: " + mb(memory) + "\tMax Memory Used: " + mb(reply.memory);
  if (reply.phases.cold != 0) {
    std::snprintf(numbers, sizeof numbers, "\tInit Duration: %.2f ms", to_seconds(reply.phases.init) * 1e3);
    text += numbers;
  }
  if (ended) text += reply.error.code == Code::deadline_exceeded ? "\tStatus: timeout" : "\tStatus: error\tError Type: " + error.type;
  text += "\n";
  return std::string(domain::last_lines(text, domain::kLastLinesMax));
}

Result<std::string> from_base64(std::string_view text, std::string_view what) {
  auto bytes = text.size() % 4 == 0 ? os::from_base64(text) : std::nullopt;  // padding is wanted
  if (!bytes) return fail(Code::invalid_argument, std::string(what) + " is not base64");
  return *std::move(bytes);
}

Result<std::string> call_context(std::string_view trace, std::string_view client) {
  constexpr std::size_t kTraceMax = 512, kClientMax = 3583;  // the second is its API's
  std::string lines;
  const bool printable = std::ranges::all_of(trace, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!trace.empty() && trace.size() <= kTraceMax && printable) lines.append("Lambda-Runtime-Trace-Id: ").append(trace).append("\r\n");
  if (client.empty()) return lines;
  if (client.size() > kClientMax)
    return fail(Code::invalid_argument, "X-Amz-Client-Context has " + std::to_string(client.size()) + " bytes: at most 3583 are taken");
  TRY(const std::string text, from_base64(client, "X-Amz-Client-Context"));
  const Json json = domain::parse_json<Json>(text);
  if (!json.is_object()) return fail(Code::invalid_argument, "X-Amz-Client-Context is not a JSON object in base64");
  // As ASCII in one line: it travels in a header.
  lines.append("Lambda-Runtime-Client-Context: ").append(json.dump(-1, ' ', true, Json::error_handler_t::replace)).append("\r\n");
  return lines;
}

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(&hex[i], &hex[i] + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

}  // namespace mayfly::gateway::lambda
