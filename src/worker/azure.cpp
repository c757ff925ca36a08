#include "worker/azure.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/http.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kFileMax = 1 << 20;
constexpr std::size_t kFunctionsMax = 1000, kOutputLogMax = 4096;
constexpr std::string_view kOurs = "Mayfly-Azure-";  // headers for our runtimes, which no caller can send

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

Result<std::string> read_text(const std::string& file) {
  std::error_code error;
  if (fs::file_size(file, error) > kFileMax || error) return wrong(file + " can't be read, or has more than 1 MiB");
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Result<Json> object_of(std::string_view text, const std::string& name) {
  Json json = Json::parse(text, nullptr, false, true);  // comments are allowed there
  if (!json.is_object()) return wrong(name + " is not a JSON object");
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

Json query_of(std::string_view query) {
  Json all = Json::object();
  while (const auto pair = take_pair(query)) {
    const auto key = percent_decoded(pair->first, true), value = percent_decoded(pair->second, true);
    if (key && value && !key->empty()) all[*key] = *value;
  }
  return all;
}

bool is_trigger(std::string_view type) {
  constexpr std::string_view kEnding = "trigger";
  return type.size() >= kEnding.size() && same_word(type.substr(type.size() - kEnding.size()), kEnding);
}

// As Azure wants function names; what goes into a request line or a header has no other characters.
bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_name_character(c)) out += c;
    else out.append({'%', kHexDigits[byte >> 4], kHexDigits[byte & 15]});
  }
  return out;
}

// A header's value on one line; the node checks the rest.
std::string line_of(std::string_view name, std::string_view value) {
  std::string line = std::string(name) + ": " + std::string(value);
  std::ranges::replace_if(line, [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return line + "\r\n";
}

std::string data_request(const std::string& name, const std::string& text) {
  return "POST /" + name + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: " +
         std::to_string(text.size()) + "\r\n\r\n" + text;
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

// What is given to nobody, as a line of the log.
std::string output_line(std::string_view name, std::string_view type, const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : dump(value);
  if (text.size() > kOutputLogMax) text = text.substr(0, kOutputLogMax) + "…";
  return "output " + std::string(name) + " (" + std::string(type) + "): " + text + "\n";
}

std::string json_head(int status, std::string_view reason, std::size_t size) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason) + "\r\nContent-Type: application/json; charset=utf-8\r\n" +
         "Content-Length: " + std::to_string(size) + "\r\n\r\n";
}

// The "input" of a call by hand; a trigger by time has one of its own.
Json input_of(const Json& told, std::string_view trigger) {
  Json input = told.value("input", Json(""));
  if (!same_word(trigger, "timerTrigger") || input.is_object()) return input;
  return Json{{"Schedule", {{"AdjustForDST", true}}}, {"ScheduleStatus", nullptr}, {"IsPastDue", false}};
}

}  // namespace

Result<AzureApp> AzureApp::read(const std::string& folder, bool outputs_to_log) {
  TRY(const std::string host, read_text(folder + "/host.json"));
  TRY(AzureApp app, parse(host, folder, outputs_to_log));
  if (app.custom()) TRY_VOID(app.read_functions(folder));
  return app;
}

Result<AzureApp> AzureApp::parse(std::string_view host_json, const std::string& folder, bool outputs_to_log) {
  TRY(const Json host, object_of(host_json, "host.json"));
  AzureApp app;
  app.outputs_to_log_ = outputs_to_log;
  const Json* extensions = member(host, "extensions");
  const Json* http = extensions ? member(*extensions, "http") : nullptr;
  if (http) app.prefix_ = text_of(*http, "routePrefix", "api");
  const Json* custom = member(host, "customHandler");
  if (!custom) return app;
  const Json* description = member(*custom, "description");
  if (!description || !description->is_object()) return wrong("customHandler of host.json has no description, which names its program");
  TRY(const std::string program, find_program(folder, text_of(*description, "defaultExecutablePath")));
  app.arguments_ = {program};
  for (const Json& argument : description->value("arguments", Json::array()))
    if (argument.is_string()) app.arguments_.push_back(argument.get<std::string>());
  for (const char* name : {"enableForwardingHttpRequest", "enableProxyingHttpRequest"}) {
    const Json* passes = member(*custom, name);
    app.passes_ = app.passes_ || (passes && *passes == true);
  }
  return app;
}

Result<void> AzureApp::read_functions(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (fs::exists(entry.path() / "function.json", error)) names.push_back(entry.path().filename().string());
  if (names.empty()) return wrong("no function.json is in a folder below " + folder + ": each function of a custom handler has one");
  std::ranges::sort(names);
  for (const std::string& name : names) {
    TRY(const std::string text, read_text((fs::path(folder) / name / "function.json").string()));
    TRY_VOID(add_function(name, text));
  }
  sort_functions();
  return {};
}

Result<void> AzureApp::add_functions(std::string_view text) {
  const Json all = Json::parse(text, nullptr, false);
  if (!all.is_array() || all.empty()) return wrong("the app has no functions: none was registered");
  for (const Json& each : all) TRY_VOID(add_function(text_of(each, "name"), dump(each)));
  sort_functions();
  return {};
}

void AzureApp::sort_functions() {
  std::ranges::stable_sort(functions_, std::greater<>(), [](const Function& f) { return f.route ? f.route->literals() : 0; });
}

Result<void> AzureApp::add_function(const std::string& name, const std::string& description) {
  if (name.empty() || name.size() > 127 || !std::ranges::all_of(name, is_name_character))
    return wrong("a function's name is '" + name + "': letters, digits, '_' and '-' are possible, up to 127");
  if (std::ranges::count(functions_, name, &Function::name) > 0) return wrong("two functions have the name " + name);
  if (functions_.size() == kFunctionsMax) return wrong("more than 1000 functions");
  TRY(const Json json, object_of(description, name + "/function.json"));
  const Json bindings = json.value("bindings", Json::array());
  Function function{.name = name, .bindings = dump(bindings)};
  for (const Json& each : bindings) {
    if (!each.is_object()) return wrong("the function " + name + " has a binding that is no object");
    const Binding binding{text_of(each, "name"), text_of(each, "type")};
    if (is_trigger(binding.type)) {
      if (!function.trigger.type.empty()) return wrong("the function " + name + " has two triggers");
      function.trigger = binding;
      if (!same_word(binding.type, "httpTrigger")) continue;
      function.route.emplace(prefix_ + "/" + text_of(each, "route", name));
      const Json methods = each.value("methods", Json());
      for (const Json& method : methods.is_array() ? methods : Json::array()) {
        std::string upper = method.is_string() ? method.get<std::string>() : "";
        std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        function.methods.push_back(upper);
      }
    } else if (!same_word(text_of(each, "direction"), "out")) {
      function.inputs.push_back(binding);
    } else if (same_word(binding.type, "http")) {
      function.http = binding.name;
    } else {
      function.outputs.push_back(binding);
    }
  }
  if (function.trigger.type.empty()) return wrong("the function " + name + " has no trigger among its bindings");
  functions_.push_back(std::move(function));
  return {};
}

// --- requests

Result<AzureApp::Request> AzureApp::request(std::string_view head_text, std::string_view body) const {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  if (parse_head(head_text, storage, head).kind != HeadVerdict::complete) return wrong("the request's headers can't be read here");
  constexpr std::string_view kAdmin = "/admin/functions";
  if (!head.path.starts_with(kAdmin)) return by_route(head, body);
  const std::string_view rest = head.path.substr(kAdmin.size());
  if ((rest.empty() || rest == "/") && head.method == Method::get) return listed();
  if (rest.starts_with('/') && rest.size() > 1 && head.method == Method::post) return by_hand(head, rest.substr(1), body);
  return fail(Code::not_found, "of /admin there are GET /admin/functions and POST /admin/functions/NAME");
}

Result<void> AzureApp::check_bindings(const Function& function, bool by_hand) const {
  const auto refuse = [&](const Binding& binding, const std::string& why) {
    return fail(Code::unimplemented, "the function " + function.name + " has the binding '" + binding.name + "' of type " + binding.type +
                                         ": " + why);
  };
  if (!function.inputs.empty()) return refuse(function.inputs[0], "nothing here gives it its input");
  if (!function.outputs.empty() && !by_hand && !outputs_to_log_)
    return refuse(function.outputs[0], "nothing here takes its output; run the function by POST /admin/functions/" + function.name +
                                           ", which answers with it, or set the environment's MAYFLY_AZURE_OUTPUTS to log");
  return {};
}

Result<AzureApp::Request> AzureApp::by_route(const HttpRequestHead& head, std::string_view body) const {
  AzureRoute::Parameters parameters;
  const auto found = std::ranges::find_if(functions_, [&](const Function& function) {
    parameters.clear();
    const bool takes = function.methods.empty() || std::ranges::find(function.methods, head.method_text) != function.methods.end();
    return takes && function.route && function.route->matches(head.path, parameters);
  });
  if (found == functions_.end()) {
    std::string there;
    for (const Function& function : functions_)
      if (function.route) there += (there.empty() ? "" : ", ") + function.route->text();
    return fail(Code::not_found, "no function of this app takes " + std::string(head.method_text) + " " + std::string(head.path) +
                                     "; there are " + (there.empty() ? "none with an HTTP trigger" : there));
  }
  TRY_VOID(check_bindings(*found, false));
  if (!custom()) return named(head, *found, parameters, false, body);
  if (passes_ && found->outputs.empty()) return Request{.function = index_of(*found)};
  Json headers = Json::object(), values = Json::object();
  for (const auto& [name, value] : parameters) values[name] = value;
  std::string host, scheme = "http";
  for (const HttpHeader& header : head.headers) {
    headers[std::string(header.name)].push_back(std::string(header.value));
    if (same_word(header.name, "host")) host = header.value;
    if (same_word(header.name, "x-forwarded-proto")) scheme = header.value;
  }
  const std::string target = std::string(head.path) + (head.query.empty() ? "" : "?" + std::string(head.query));
  const Json query = query_of(head.query);
  Json sent{{"Url", scheme + "://" + host + target}, {"Method", std::string(head.method_text)}, {"Query", dump(query)},
            {"Headers", headers}, {"Params", values}, {"Identities", Json::array()}};
  if (!body.empty()) sent["Body"] = std::string(body);
  const Json call{{"Data", {{found->trigger.name, sent}}},
                  {"Metadata", {{"Query", query}, {"Headers", headers}, {"sys", {{"MethodName", found->name}}}}}};
  return Request{.form = Form::data, .bytes = data_request(found->name, dump(call)), .function = index_of(*found)};
}

Result<AzureApp::Request> AzureApp::by_hand(const HttpRequestHead& head, std::string_view name, std::string_view body) const {
  const auto found = std::ranges::find(functions_, name, &Function::name);
  if (found == functions_.end()) return fail(Code::not_found, "this app has no function '" + std::string(name) + "'");
  if (found->route) return wrong("the function " + found->name + " has an HTTP trigger: call it at " + found->route->text());
  TRY_VOID(check_bindings(*found, true));
  const Json told = body.empty() ? Json::object() : Json::parse(body, nullptr, false);
  if (!told.is_object()) return wrong("a call by hand wants a JSON object {\"input\": …}");
  if (!custom()) return named(head, *found, {}, true, body);
  Json metadata = told.value("metadata", Json::object());
  if (!metadata.is_object()) return wrong("the \"metadata\" of a call by hand is no JSON object");
  metadata["sys"] = {{"MethodName", found->name}};
  const Json call{{"Data", {{found->trigger.name, input_of(told, found->trigger.type)}}}, {"Metadata", metadata}};
  return Request{.form = Form::data, .bytes = data_request(found->name, dump(call)), .function = index_of(*found), .by_hand = true};
}

// For our runtime: the request as it came, behind lines that only we write.
AzureApp::Request AzureApp::named(const HttpRequestHead& head, const Function& function, const AzureRoute::Parameters& parameters,
                                  bool by_hand, std::string_view body) const {
  Request request{.form = Form::named, .function = index_of(function), .by_hand = by_hand};
  std::string& out = request.bytes;
  out.reserve(1024 + body.size());
  out.append(head.method_text).append(" ").append(head.path);
  if (!head.query.empty()) out.append("?").append(head.query);
  out.append(" HTTP/1.1\r\n").append(kOurs).append("Function: ").append(function.name).append("\r\n");
  if (by_hand) out.append(kOurs).append("By-Hand: 1\r\n");
  if (!parameters.empty()) out.append(kOurs).append("Parameters: ");
  for (const auto& [name, value] : parameters) {
    if (&name != &parameters.front().first) out += '&';
    out.append(percent_encoded(name)).append("=").append(percent_encoded(value));
  }
  if (!parameters.empty()) out.append("\r\n");
  for (const HttpHeader& header : head.headers)
    if (!same_word(header.name.substr(0, kOurs.size()), kOurs)) out.append(header.name).append(": ").append(header.value).append("\r\n");
  out.append("\r\n").append(body);
  return request;
}

AzureApp::Request AzureApp::listed() const {
  Json all = Json::array();
  for (const Function& function : functions_) {
    Json one{{"name", function.name}, {"config", {{"bindings", Json::parse(function.bindings, nullptr, false)}}}};
    if (function.route) one["invoke_url_template"] = function.route->text();
    all.push_back(std::move(one));
  }
  const std::string text = dump(all);
  Request request{.form = Form::answered, .bytes = json_head(200, "OK", text.size())};
  request.head_size = request.bytes.size();
  request.bytes += text;
  return request;
}

// --- answers

Result<AzureApp::Reply> AzureApp::answer(const Request& request, std::string_view head, std::string_view body) const {
  const Function& function = functions_.at(request.function);
  if (head.size() < 12 || head.substr(9, 1) != "2")
    return fail(Code::internal, "the custom handler answered /" + function.name + " with status " +
                                    std::string(head.substr(std::min<std::size_t>(9, head.size()), 3)) + ": " +
                                    std::string(body.substr(0, 1024)));
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object())
    return fail(Code::internal, "the custom handler's answer to /" + function.name +
                                    " is no JSON object {\"Outputs\", \"Logs\", \"ReturnValue\"}");
  const Json none = nullptr;
  const Json* outputs = member(json, "Outputs");
  const Json* returned = member(json, "ReturnValue");
  const auto value_of = [&](const std::string& name) -> const Json& {
    const Json* value = name == "$return" ? returned : outputs ? member(*outputs, name) : nullptr;
    return value ? *value : none;
  };
  Reply reply;
  if (request.by_hand) {
    Json told{{"Outputs", outputs ? *outputs : Json::object()}, {"ReturnValue", returned ? *returned : none}};
    const std::string text = dump(told);
    reply.bytes = json_head(202, "Accepted", text.size());
    reply.head_size = reply.bytes.size();
    reply.bytes += text;
  } else {
    const Json& value = function.http.empty() ? none : value_of(function.http);
    reply = http_answer(value.is_null() ? nullptr : &value);
  }
  if (const Json* logs = member(json, "Logs"); logs && logs->is_array())
    for (const Json& line : *logs) reply.log += (line.is_string() ? line.get<std::string>() : dump(line)) + "\n";
  for (const Binding& output : function.outputs)
    if (const Json& value = value_of(output.name); !request.by_hand && !value.is_null())
      reply.log += output_line(output.name, output.type, value);
  return reply;
}

}  // namespace mayfly::worker
