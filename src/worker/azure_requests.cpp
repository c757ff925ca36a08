// What an Azure app's program is sent: by a route, by hand, and what is read for it before.
#include <algorithm>
#include <array>

#include "domain/json.h"
#include "os/digest.h"
#include "worker/azure.h"
#include "worker/azure_storage.h"
#include "worker/detail/azure_json.h"

namespace mayfly::worker {
namespace {

using namespace detail;

constexpr std::string_view kOurs = "Mayfly-Azure-";  // headers for our runtimes, which no caller can send
constexpr std::string_view kAdmin = "/admin/functions";
constexpr std::size_t kNamedBodyMax = 1 << 20;       // a larger one's members are no values of expressions

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

// The name and the value of each, as a query has them.
std::string query_text(const AzureRoute::Parameters& parameters) {
  std::string text;
  for (const auto& [name, value] : parameters) text += (text.empty() ? "" : "&") + percent_encoded(name) + "=" + percent_encoded(value);
  return text;
}

std::string data_request(const std::string& name, const std::string& text) {
  return "POST /" + name + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: " +
         std::to_string(text.size()) + "\r\n\r\n" + text;
}

// The "input" of a call by hand; a trigger by time has one of its own.
Json input_of(const Json& told, std::string_view trigger) {
  Json input = told.value("input", Json(""));
  if (!same_word(trigger, "timerTrigger") || input.is_object()) return input;
  return Json{{"Schedule", {{"AdjustForDST", true}}}, {"ScheduleStatus", nullptr}, {"IsPastDue", false}};
}

// As Azure's host gives a value to a custom handler: an object as it is, bytes in base64, all else as JSON's text.
Json handler_value(const Json& value) { return value.is_object() ? value : Json(dump(value)); }

Json handler_value(const AzureInput& input, const AzureBinding& binding) {
  if (!input.bytes) return handler_value(Json());
  if (binding.data_type != "binary" && is_utf8(*input.bytes)) return handler_value(Json(*input.bytes));
  return os::to_base64(*input.bytes);
}

// The members of an object, also one that is a text.
Json members_of(const Json& value) {
  if (value.is_object()) return value;
  if (!value.is_string()) return Json::object();
  const std::string& text = value.get_ref<const std::string&>();
  Json json = text.starts_with('{') && text.size() <= kNamedBodyMax ? domain::parse_json<Json>(text) : Json();
  return json.is_object() ? json : Json::object();
}

Result<Json> told_by(std::string_view body) {
  Json told = body.empty() ? Json::object() : domain::parse_json<Json>(body);
  if (!told.is_object()) return wrong("a call by hand wants a JSON object {\"input\": …}");
  if (told.contains("metadata") && !told["metadata"].is_object()) return wrong("the \"metadata\" of a call by hand is no JSON object");
  return told;
}

// What expressions may name of a request: members of a JSON body, the query, the route's parameters; the latter win.
Json values_of_request(const HttpRequestHead& head, const AzureRoute::Parameters& parameters, std::string_view body) {
  Json values = body.size() <= kNamedBodyMax ? members_of(Json(std::string(body))) : Json::object();
  const Json query = query_of(head.query);
  values.update(query);
  for (const auto& [name, value] : parameters) values[name] = value;
  Json headers = Json::object();
  for (const HttpHeader& header : head.headers) headers[std::string(header.name)] = std::string(header.value);
  values["Query"] = query;
  values["Headers"] = std::move(headers);
  return values;
}

// … and of what a trigger tells: members of its data, its metadata, the data itself by the trigger's name, a blob's path in parts.
Json values_of_trigger(const AzureBinding& trigger, const Json& told, const std::string& pattern) {
  const Json input = told.value("input", Json());
  Json values = members_of(input);
  const Json metadata = told.value("metadata", Json::object());
  values.update(metadata);
  const Json* path = member(metadata, "BlobTrigger");
  if (same_word(trigger.type, "queueTrigger") && input.is_string()) values["queueTrigger"] = input;
  if (same_word(trigger.type, "blobTrigger") && path && path->is_string())
    if (const auto parts = match_pattern(pattern, path->get_ref<const std::string&>()))
      for (const auto& [name, value] : *parts) values[name] = value;
  return values;
}

// What Azure's host tells of a blob beside its bytes.
void add_blob_metadata(Json& metadata, const AzurePlace& place, const AzureInput& input) {
  const AzureEndpoint& to = place.account->blob;
  metadata["Uri"] = std::string(to.tls ? "https://" : "http://") + address_text(to) + to.prefix + "/" + place.container + "/" +
                    percent_encoded(place.blob, "/");
  metadata["Properties"] = {{"ContentLength", input.bytes->size()}, {"ContentType", header_of(input.head, "content-type")},
                            {"ETag", header_of(input.head, "etag")}, {"LastModified", header_of(input.head, "last-modified")}};
  Json own = Json::object();
  constexpr std::string_view kMeta = "x-ms-meta-";
  std::string_view rest = input.head;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find("\r\n"), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    const std::size_t colon = line.find(':');
    if (colon == line.npos || colon <= kMeta.size() || !same_word(line.substr(0, kMeta.size()), kMeta)) continue;
    own[std::string(line.substr(kMeta.size(), colon - kMeta.size()))] = header_of(input.head, line.substr(0, colon));
  }
  metadata["Metadata"] = std::move(own);
}

}  // namespace

Result<AzureApp::Asked> AzureApp::asked(const HttpRequestHead& head) const {
  Asked asked;
  if (head.path.starts_with(kAdmin)) {
    const std::string_view rest = head.path.substr(kAdmin.size());
    if ((rest.empty() || rest == "/") && head.method == Method::get) return asked;
    if (!rest.starts_with('/') || rest.size() < 2 || head.method != Method::post)
      return fail(Code::not_found, "of /admin there are GET /admin/functions and POST /admin/functions/NAME");
    const auto found = std::ranges::find(functions_, rest.substr(1), &Function::name);
    if (found == functions_.end()) return fail(Code::not_found, "this app has no function '" + std::string(rest.substr(1)) + "'");
    if (found->route) return wrong("the function " + found->name + " has an HTTP trigger: call it at " + found->route->text());
    asked.function = &*found;
    asked.by_hand = true;
  } else {
    const auto found = std::ranges::find_if(functions_, [&](const Function& function) {
      asked.parameters.clear();
      const bool takes = function.methods.empty() || std::ranges::find(function.methods, head.method_text) != function.methods.end();
      return takes && function.route && function.route->matches(head.path, asked.parameters);
    });
    if (found == functions_.end()) {
      std::string there;
      for (const Function& function : functions_)
        if (function.route) there += (there.empty() ? "" : ", ") + function.route->text();
      return fail(Code::not_found, "no function of this app takes " + std::string(head.method_text) + " " + std::string(head.path) +
                                       "; there are " + (there.empty() ? "none with an HTTP trigger" : there));
    }
    asked.function = &*found;
  }
  TRY_VOID(check_bindings(*asked.function, asked.by_hand));
  return asked;
}

Result<void> AzureApp::check_bindings(const Function& function, bool by_hand) const {
  const auto refuse = [&](const Binding& binding, const std::string& why) {
    std::string advice;
    if (is_storable(binding.type))
      advice = " until its connection, the setting " + (binding.connection.empty() ? "AzureWebJobsStorage" : binding.connection) +
               ", is a connection string in the manifest's environment";
    return fail(Code::unimplemented, "the function " + function.name + " has the binding '" + binding.name + "' of type " + binding.type +
                                         ": " + why + advice);
  };
  for (const Binding& input : function.inputs)
    if (!same_word(input.type, "blob") || !is_stored(input)) return refuse(input, "nothing here gives it its input");
  for (const Binding& output : function.outputs)
    if (!by_hand && !outputs_to_log_ && !is_stored(output))
      return refuse(output, "nothing here takes its output; run the function by POST /admin/functions/" + function.name +
                                ", which answers with it, or set the environment's MAYFLY_AZURE_OUTPUTS to log");
  return {};
}

bool AzureApp::stores() const {
  const auto stored = [this](const Binding& binding) { return is_stored(binding); };
  return std::ranges::any_of(functions_, [&](const Function& function) {
    const bool reads_trigger = same_word(function.trigger.type, "blobTrigger") && connection_of(function.trigger, settings_);
    return reads_trigger || !function.inputs.empty() || std::ranges::any_of(function.outputs, stored);
  });
}

Result<AzureApp::Plan> AzureApp::plan(std::string_view head_text, std::string_view body, AzureMoment moment) const {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  if (parse_head(head_text, storage, head).kind != HeadVerdict::complete) return wrong("the request's headers can't be read here");
  TRY(const Asked asked, this->asked(head));
  Plan plan;
  if (!asked.function) return plan;
  const Function& function = *asked.function;
  moment.function = function.name;
  Json values;
  if (asked.by_hand) {
    TRY(Json told, told_by(body));
    TRY(const std::string pattern, fill_settings(function.trigger.path, settings_));
    const Json input = told.value("input", Json());
    // A blob's own bytes are there where a store is: then the input is its path, as Azure's administrators write it.
    if (same_word(function.trigger.type, "blobTrigger") && connection_of(function.trigger, settings_) && !told.contains("encoding") &&
        input.is_string()) {
      const std::string& path = input.get_ref<const std::string&>();
      if (!match_pattern(pattern, path))
        return wrong("the function " + function.name + " has a blob trigger for '" + pattern + "', and the input '" + path.substr(0, 200) +
                     "' is no path of it; with \"encoding\": \"text\" or \"base64\" it is taken as the blob's content");
      Binding own = function.trigger;
      own.path = "{path}";
      TRY(AzurePlace place, place_of(own, settings_, {{"path", input}}, moment));
      plan.reads.push_back(std::move(place));
      plan.reads_trigger = true;
      told["metadata"]["BlobTrigger"] = input;
    }
    values = values_of_trigger(function.trigger, told, pattern);
  } else {
    values = values_of_request(head, asked.parameters, body);
  }
  for (const Binding& binding : function.inputs) {
    TRY(AzurePlace place, place_of(binding, settings_, values, moment));
    plan.reads.push_back(std::move(place));
  }
  for (const Binding& binding : function.outputs) {
    if (outputs_to_log_ || !is_stored(binding)) continue;
    TRY(AzurePlace place, place_of(binding, settings_, values, moment));
    plan.writes.push_back(std::move(place));
  }
  return plan;
}

Result<AzureApp::Request> AzureApp::request(std::string_view head_text, std::string_view body, const Plan& plan,
                                            const std::vector<AzureInput>& inputs) const {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  if (parse_head(head_text, storage, head).kind != HeadVerdict::complete) return wrong("the request's headers can't be read here");
  TRY(const Asked asked, this->asked(head));
  if (!asked.function) return listed();
  const Given given{plan, inputs};
  if (plan.reads_trigger && (inputs.empty() || !inputs[0].bytes))
    return fail(Code::not_found, "the blob " + plan.reads[0].container + "/" + plan.reads[0].blob + " isn't there: the function " +
                                     asked.function->name + " has not been run");
  return asked.by_hand ? by_hand(head, body, asked, given) : by_route(head, body, asked, given);
}

namespace {

// Data of the bindings that were read.
void add_inputs(Json& data, const AzureApp::Plan& plan, const std::vector<AzureInput>& inputs) {
  for (std::size_t i = 0; i < inputs.size() && i < plan.reads.size(); ++i)
    data[inputs[i].name] = handler_value(inputs[i], plan.reads[i].binding);
}

}  // namespace

Result<AzureApp::Request> AzureApp::by_route(const HttpRequestHead& head, std::string_view body, const Asked& asked,
                                             const Given& given) const {
  const Function& function = *asked.function;
  if (!custom()) return named(head, body, asked, given);
  if (passes_ && function.outputs.empty() && function.inputs.empty()) return Request{.function = index_of(function)};
  Json headers = Json::object(), values = Json::object();
  for (const auto& [name, value] : asked.parameters) values[name] = value;
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
  Json call{{"Data", {{function.trigger.name, sent}}},
            {"Metadata", {{"Query", query}, {"Headers", headers}, {"sys", {{"MethodName", function.name}}}}}};
  add_inputs(call["Data"], given.plan, given.inputs);
  return Request{.form = Form::data, .bytes = data_request(function.name, dump(call)), .function = index_of(function)};
}

Result<AzureApp::Request> AzureApp::by_hand(const HttpRequestHead& head, std::string_view body, const Asked& asked,
                                            const Given& given) const {
  const Function& function = *asked.function;
  TRY(Json told, told_by(body));
  if (given.plan.reads_trigger) {
    Json& metadata = told["metadata"];
    const AzurePlace& place = given.plan.reads[0];
    if (const auto pattern = fill_settings(function.trigger.path, settings_))
      for (const auto& [name, value] : match_pattern(*pattern, text_of(told, "input")).value_or(AzureValues())) metadata[name] = value;
    metadata["BlobTrigger"] = told["input"];
    add_blob_metadata(metadata, place, given.inputs[0]);
    if (!custom()) return named(head, dump(told), asked, given);
  }
  if (!custom()) return named(head, body, asked, given);
  Json metadata = told.value("metadata", Json::object());
  metadata["sys"] = {{"MethodName", function.name}};
  Json call{{"Data", {{function.trigger.name, handler_value(input_of(told, function.trigger.type))}}}, {"Metadata", metadata}};
  add_inputs(call["Data"], given.plan, given.inputs);
  return Request{.form = Form::data, .bytes = data_request(function.name, dump(call)), .function = index_of(function), .by_hand = true};
}

// For our runtime: the request as it came, behind lines that only we write; what was read stands in front of its body.
AzureApp::Request AzureApp::named(const HttpRequestHead& head, std::string_view body, const Asked& asked, const Given& given) const {
  Request request{.form = Form::named, .function = index_of(*asked.function), .by_hand = asked.by_hand};
  std::string& out = request.bytes;
  const auto line = [&](std::string_view name, std::string_view value) {
    out.append(kOurs).append(name).append(": ").append(value).append("\r\n");
  };
  // An answer that brings outputs has a body, whatever the method's own would have.
  const bool writes = !given.plan.writes.empty(), another = writes && head.method == Method::head;
  std::size_t size = body.size();
  for (const AzureInput& input : given.inputs) size += input.bytes ? input.bytes->size() : 0;
  out.reserve(1024 + size);
  out.append(another ? "POST" : head.method_text).append(" ").append(head.path);
  if (!head.query.empty()) out.append("?").append(head.query);
  out.append(" HTTP/1.1\r\n");
  line("Function", asked.function->name);
  if (asked.by_hand) line("By-Hand", "1");
  if (!asked.parameters.empty()) line("Parameters", query_text(asked.parameters));
  if (another) line("Method", head.method_text);
  if (writes) line("Outputs", "1");
  if (!given.inputs.empty()) line("Inputs", inputs_line(given.inputs));
  const bool told_anew = asked.by_hand || another || !given.inputs.empty();
  for (const HttpHeader& header : head.headers)
    if (!same_word(header.name.substr(0, kOurs.size()), kOurs) && !(told_anew && same_word(header.name, "content-length")))
      out.append(header.name).append(": ").append(header.value).append("\r\n");
  if (told_anew) out.append("Content-Length: ").append(std::to_string(size)).append("\r\n");
  out.append("\r\n");
  for (const AzureInput& input : given.inputs)
    if (input.bytes) out.append(*input.bytes);
  out.append(body);
  return request;
}

AzureApp::Request AzureApp::listed() const {
  Json all = Json::array();
  for (const Function& function : functions_) {
    Json one{{"name", function.name}, {"config", {{"bindings", domain::parse_json<Json>(function.bindings)}}}};
    if (function.route) one["invoke_url_template"] = function.route->text();
    all.push_back(std::move(one));
  }
  const std::string text = dump(all);
  Request request{.form = Form::answered, .bytes = json_head(200, "OK", text.size())};
  request.head_size = request.bytes.size();
  request.bytes += text;
  return request;
}

}  // namespace mayfly::worker
