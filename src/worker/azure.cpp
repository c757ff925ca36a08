#include "worker/azure.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/http.h"
#include "base/http_parser.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kFileMax = 1 << 20;
constexpr std::size_t kFunctionsMax = 1000;

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

Result<Json> read_json(const fs::path& file) {
  std::error_code error;
  if (fs::file_size(file, error) > kFileMax || error) return wrong(file.string() + " can't be read, or has more than 1 MiB");
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  Json json = Json::parse(text.str(), nullptr, false, true);  // comments are allowed there
  if (!json.is_object()) return wrong(file.string() + " is not a JSON object");
  return json;
}

// "name" of an object, where it is a text.
std::string text_of(const Json& json, const char* name, std::string otherwise = {}) {
  const auto at = json.find(name);
  return at != json.end() && at->is_string() ? at->get<std::string>() : otherwise;
}

// A member, any case: handlers write statusCode, StatusCode, status.
const Json* member(const Json& json, std::string_view name) {
  if (!json.is_object()) return nullptr;
  for (auto at = json.begin(); at != json.end(); ++at)
    if (same_word(at.key(), name)) return &*at;
  return nullptr;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// A file of the folder, else a program of the sandbox's /usr.
Result<std::string> find_program(const std::string& folder, std::string name) {
  if (name.starts_with("./")) name.erase(0, 2);
  for (const std::string& place : {folder, std::string("/usr/local/bin"), std::string("/usr/bin"), std::string("/bin")}) {
    const std::string path = place + "/" + name;
    if (::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path)) return path;
  }
  return wrong("customHandler.description.defaultExecutablePath '" + name + "' is no program of the folder or of the machine: add it");
}

std::vector<std::string> segments_of(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) segments.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return segments;
}

// {id}, {id:int}, {id?}, {*rest} of a route.
struct Parameter {
  std::string name;
  bool optional = false, rest = false;
};
bool as_parameter(std::string_view segment, Parameter& into) {
  if (!segment.starts_with('{') || !segment.ends_with('}')) return false;
  segment = segment.substr(1, segment.size() - 2);
  into.rest = segment.starts_with('*');
  if (into.rest) segment.remove_prefix(1);
  into.optional = into.rest || segment.ends_with('?');
  if (segment.ends_with('?')) segment.remove_suffix(1);
  into.name = segment.substr(0, segment.find(':'));
  return true;
}

bool matches(const std::vector<std::string>& route, const std::vector<std::string>& path, Json& parameters) {
  std::size_t at = 0;
  for (const std::string& segment : route) {
    Parameter parameter;
    if (!as_parameter(segment, parameter)) {
      if (at == path.size() || !same_word(segment, path[at++])) return false;
      continue;
    }
    if (at == path.size()) {
      if (!parameter.optional) return false;
      continue;
    }
    std::string value = percent_decoded(path[at]).value_or(path[at]);
    ++at;
    for (; parameter.rest && at < path.size(); ++at) value += "/" + percent_decoded(path[at]).value_or(path[at]);
    parameters[parameter.name] = value;
  }
  return at == path.size();
}

Json query_of(std::string_view query) {
  Json all = Json::object();
  while (const auto pair = take_pair(query)) {
    const auto key = percent_decoded(pair->first, true), value = percent_decoded(pair->second, true);
    if (key && value && !key->empty()) all[*key] = *value;
  }
  return all;
}

int literals_of(const std::vector<std::string>& route) {
  return static_cast<int>(std::ranges::count_if(route, [](const std::string& s) { return !s.starts_with('{'); }));
}

// A header's value on one line; the node checks the rest.
std::string line_of(std::string_view name, std::string_view value) {
  std::string line = std::string(name) + ": " + std::string(value);
  std::ranges::replace_if(line, [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return line + "\r\n";
}

// {"statusCode" or "status", "headers", "body"}, or a body alone, as an HTTP answer.
AzureApp::Reply http_answer(const Json* value) {
  std::string body, headers, type;
  int status = value ? 200 : 204;
  const Json* content = value;
  if (value && value->is_object() &&
      (member(*value, "statusCode") || member(*value, "status") || member(*value, "body") || member(*value, "headers"))) {
    const Json* said = member(*value, "statusCode") ? member(*value, "statusCode") : member(*value, "status");
    if (said && said->is_number_integer()) status = said->get<int>();
    else if (said && said->is_string()) {
      const std::string digits = said->get<std::string>();
      if (std::from_chars(digits.data(), digits.data() + digits.size(), status).ec != std::errc()) status = 500;
    }
    if (const Json* lines = member(*value, "headers"); lines && lines->is_object())
      for (auto at = lines->begin(); at != lines->end(); ++at) {
        const std::string text = at->is_string() ? at->get<std::string>() : dump(*at);
        if (same_word(at.key(), "content-type")) type = text;
        else headers += line_of(at.key(), text);
      }
    content = member(*value, "body");
  }
  if (content && content->is_string()) body = content->get<std::string>();
  else if (content && !content->is_null()) body = dump(*content);
  if (type.empty()) type = content && !content->is_string() ? "application/json; charset=utf-8" : "text/plain; charset=utf-8";
  if (status < 200 || status > 599) status = 500;
  AzureApp::Reply reply{.bytes = "HTTP/1.1 " + std::to_string(status) + " Answer\r\n" + line_of("Content-Type", type) + headers + "\r\n"};
  reply.head_size = reply.bytes.size();
  reply.bytes += body;
  return reply;
}

}  // namespace

Result<AzureApp> AzureApp::read(const std::string& folder) {
  AzureApp app;
  TRY_VOID(app.read_host(folder));
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (fs::exists(entry.path() / "function.json", error)) names.push_back(entry.path().filename().string());
  if (names.empty()) return wrong("no function.json is in a folder below " + folder + ": each function of a custom handler has one");
  if (names.size() > kFunctionsMax) return wrong("more than 1000 functions");
  std::ranges::sort(names);
  for (const std::string& name : names) TRY_VOID(app.read_function(folder, name));
  std::ranges::stable_sort(app.functions_, std::greater<>(), [](const Function& f) { return literals_of(f.route); });
  return app;
}

Result<void> AzureApp::read_host(const std::string& folder) {
  TRY(const Json host, read_json(folder + "/host.json"));
  const Json custom = host.value("customHandler", Json());
  if (!custom.is_object() || !custom.value("description", Json()).is_object())
    return wrong("host.json has no customHandler.description: only apps with a custom handler run here");
  const Json& description = custom.at("description");
  TRY(const std::string program, find_program(folder, text_of(description, "defaultExecutablePath")));
  arguments_ = {program};
  for (const Json& argument : description.value("arguments", Json::array()))
    if (argument.is_string()) arguments_.push_back(argument.get<std::string>());
  for (const char* name : {"enableForwardingHttpRequest", "enableProxyingHttpRequest"})
    passes_ = passes_ || (custom.contains(name) && custom.at(name) == true);
  const Json extensions = host.value("extensions", Json::object());
  const Json* http = member(extensions, "http");
  if (http) prefix_ = text_of(*http, "routePrefix", "api");
  return {};
}

Result<void> AzureApp::read_function(const std::string& folder, const std::string& name) {
  TRY(const Json json, read_json(fs::path(folder) / name / "function.json"));
  Function function{.name = name};
  bool triggered = false;
  for (const Json& binding : json.value("bindings", Json::array())) {
    const std::string type = text_of(binding, "type"), as = text_of(binding, "name");
    if (same_word(type, "httpTrigger")) {
      triggered = true;
      function.trigger = as;
      for (const Json& method : binding.value("methods", Json::array())) {
        if (!method.is_string()) continue;
        std::string upper = method.get<std::string>();
        std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        function.methods.push_back(upper);
      }
      function.route = segments_of(text_of(binding, "route", name));
    } else if (same_word(type, "http") && text_of(binding, "direction") == "out") {
      function.output = as;
    } else {
      return wrong(name + "/function.json has the binding '" + as + "' of type '" + type + "': httpTrigger and http are all that run here");
    }
  }
  if (!triggered) return wrong(name + "/function.json has no httpTrigger: other triggers do not run here");
  const std::vector<std::string> prefix = segments_of(prefix_);
  function.route.insert(function.route.begin(), prefix.begin(), prefix.end());
  functions_.push_back(std::move(function));
  return {};
}

Result<AzureApp::Request> AzureApp::request(std::string_view head_text, std::string_view body) const {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  if (parse_head(head_text, storage, head).kind != HeadVerdict::complete) return wrong("the request's headers can't be read here");
  const std::vector<std::string> path = segments_of(head.path);
  Json parameters = Json::object();
  const auto found = std::ranges::find_if(functions_, [&](const Function& function) {
    parameters = Json::object();
    const bool takes = function.methods.empty() || std::ranges::find(function.methods, head.method_text) != function.methods.end();
    return takes && matches(function.route, path, parameters);
  });
  if (found == functions_.end()) {
    std::string there;
    for (const Function& function : functions_) {
      there += there.empty() ? "" : ", ";
      for (const std::string& segment : function.route) there += "/" + segment;
    }
    return fail(Code::not_found, "no function of this app takes " + std::string(head.method_text) + " " + std::string(head.path) +
                                     "; there are " + there);
  }
  const auto function = static_cast<std::size_t>(found - functions_.begin());
  if (passes_) return Request{{}, function};
  Json headers = Json::object();
  std::string host, scheme = "http";
  for (const HttpHeader& header : head.headers) {
    headers[std::string(header.name)].push_back(std::string(header.value));
    if (same_word(header.name, "host")) host = header.value;
    if (same_word(header.name, "x-forwarded-proto")) scheme = header.value;
  }
  const std::string target = std::string(head.path) + (head.query.empty() ? "" : "?" + std::string(head.query));
  const Json query = query_of(head.query);
  Json sent{{"Url", scheme + "://" + host + target}, {"Method", std::string(head.method_text)}, {"Query", dump(query)},
            {"Headers", headers}, {"Params", parameters}, {"Identities", Json::array()}};
  if (!body.empty()) sent["Body"] = std::string(body);
  const Json call{{"Data", {{found->trigger, sent}}},
                  {"Metadata", {{"Query", query}, {"Headers", headers}, {"sys", {{"MethodName", found->name}}}}}};
  const std::string text = dump(call);
  return Request{"POST /" + found->name + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\n" +
                     "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text, function};
}

Result<AzureApp::Reply> AzureApp::answer(std::size_t index, std::string_view head, std::string_view body) const {
  const Function& function = functions_.at(index);
  if (head.size() < 12 || head.substr(9, 1) != "2")
    return fail(Code::internal, "the custom handler answered /" + function.name + " with status " + std::string(head.substr(9, 3)) + ": " +
                                    std::string(body.substr(0, 1024)));
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object())
    return fail(Code::internal, "the custom handler's answer to /" + function.name +
                                    " is no JSON object {\"Outputs\", \"Logs\", \"ReturnValue\"}");
  const Json* value = nullptr;
  const Json* outputs = member(json, "Outputs");
  if (function.output == "$return") value = member(json, "ReturnValue");
  else if (outputs && !function.output.empty()) value = member(*outputs, function.output);
  Reply reply = http_answer(value && !value->is_null() ? value : nullptr);
  if (const Json* logs = member(json, "Logs"); logs && logs->is_array())
    for (const Json& line : *logs) reply.log += (line.is_string() ? line.get<std::string>() : dump(line)) + "\n";
  return reply;
}

}  // namespace mayfly::worker
