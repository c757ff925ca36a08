#include "worker/azure.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/http.h"
#include "domain/json.h"
#include "os/digest.h"
#include "worker/azure_storage.h"
#include "worker/detail/azure_json.h"

namespace mayfly::worker {
namespace {

using namespace detail;
namespace fs = std::filesystem;

constexpr std::uintmax_t kFileMax = 1 << 20;
constexpr std::size_t kFunctionsMax = 1000, kOutputLogMax = 4096;

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

// A file of the folder, else a program of the sandbox's /usr.
Result<std::string> find_program(const std::string& folder, std::string name) {
  if (name.starts_with("./")) name.erase(0, 2);
  for (const std::string& place : {folder, std::string("/usr/local/bin"), std::string("/usr/bin"), std::string("/bin")}) {
    const std::string path = place + "/" + name;
    if (::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path)) return path;
  }
  return wrong("customHandler.description.defaultExecutablePath '" + name + "' is no program of the folder or of the machine: add it");
}

bool is_trigger(std::string_view type) {
  constexpr std::string_view kEnding = "trigger";
  return type.size() >= kEnding.size() && same_word(type.substr(type.size() - kEnding.size()), kEnding);
}

// As Azure wants function names.
bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
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

// What is given to nobody, as a line of the log.
std::string output_line(std::string_view name, std::string_view type, const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : dump(value);
  if (text.size() > kOutputLogMax) text = text.substr(0, kOutputLogMax) + "…";
  return "output " + std::string(name) + " (" + std::string(type) + "): " + text + "\n";
}

// A text is itself; where the binding says that it is binary, base64.
Result<AzureOutput> handler_output(const AzureBinding& binding, const Json& value) {
  AzureOutput output{.name = binding.name, .value = {}};
  if (!value.is_string()) {
    output.form = AzureOutput::Form::json;
    output.value = dump(value);
    return output;
  }
  output.value = value.get<std::string>();
  if (binding.data_type != "binary") return output;
  auto bytes = os::from_base64(output.value);
  if (!bytes)
    return fail(Code::internal, "the binding '" + binding.name + "' of type " + binding.type +
                                    " has \"dataType\": \"binary\", and what the custom handler gave for it is no base64");
  output.form = AzureOutput::Form::bytes;
  output.value = *std::move(bytes);
  return output;
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
  const Json* queues = extensions ? member(*extensions, "queues") : nullptr;
  const Json* encoding = queues ? member(*queues, "messageEncoding") : nullptr;
  if (encoding && encoding->is_string()) {
    const std::string& said = encoding->get_ref<const std::string&>();
    app.base64_ = !same_word(said, "none");
    if (app.base64_ && !same_word(said, "base64"))
      return wrong("extensions.queues.messageEncoding of host.json is '" + said + "': base64 and none are possible");
  }
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
  const Json all = domain::parse_json<Json>(text);
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
    const Binding binding = read_binding(each);
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
  if (function.inputs.size() + function.outputs.size() > kStoredMax)
    return wrong("the function " + name + " has more than " + std::to_string(kStoredMax) + " bindings beside its trigger");
  functions_.push_back(std::move(function));
  return {};
}

// --- answers

Result<AzureApp::Reply> AzureApp::answer(const Request& request, std::string_view head, std::string_view body, const Plan& plan) const {
  if (request.form == Form::named) return envelope(request, head, body, plan);
  const Function& function = functions_.at(request.function);
  if (head.size() < 12 || head.substr(9, 1) != "2")
    return fail(Code::internal, "the custom handler answered /" + function.name + " with status " +
                                    std::string(head.substr(std::min<std::size_t>(9, head.size()), 3)) + ": " +
                                    std::string(body.substr(0, 1024)));
  const Json json = domain::parse_json<Json>(body);
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
  std::vector<AzureOutput> given;
  for (const Binding& output : function.outputs) {
    const Json& value = value_of(output.name);
    if (value.is_null()) continue;
    if (std::ranges::any_of(plan.writes, [&](const AzurePlace& place) { return place.binding == output; })) {
      TRY(AzureOutput one, handler_output(output, value));
      given.push_back(std::move(one));
    } else if (!request.by_hand) {
      reply.log += output_line(output.name, output.type, value);
    }
  }
  TRY(reply.writes, writes_of(plan.writes, std::move(given), base64_));
  return reply;
}

// What our runtime answers where outputs are wanted: they stand in front of the answer itself. A function that failed has none.
Result<AzureApp::Reply> AzureApp::envelope(const Request& request, std::string_view head, std::string_view body, const Plan& plan) const {
  Reply reply;
  const std::string line(header_of(head, "Mayfly-Azure-Outputs"));
  if (line.empty()) {
    reply.bytes.append(head).append("\r\n");
    reply.head_size = reply.bytes.size();
    reply.bytes.append(body);
    return reply;
  }
  TRY(std::vector<AzureOutput> outputs, take_outputs(line == "-" ? "" : line, body));
  const std::size_t end = body.find("\r\n\r\n");
  if (end == body.npos)
    return fail(Code::internal, "the runtime gave outputs of " + functions_.at(request.function).name + " and no answer");
  reply.bytes = body;
  reply.head_size = end + 4;
  TRY(reply.writes, writes_of(plan.writes, std::move(outputs), base64_));
  return reply;
}

}  // namespace mayfly::worker
