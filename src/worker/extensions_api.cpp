#include "worker/extensions_api.h"

#include <algorithm>

#include "base/hex.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Step = ExtensionsApi::Step;

constexpr std::string_view kRoot = "/2020-01-01/extension/", kIdHeader = "Lambda-Extension-Identifier";
constexpr std::size_t kNameMax = 128;

std::string header(const RuntimeRequest& request, std::string_view name) {
  for (const HttpHeader& header : request.headers)
    if (same_word(header.name, name)) return std::string(header.value);
  return {};
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Step answer(ConnectionId to, RuntimeReply reply) {
  Step step;
  step.answers.push_back({to, std::move(reply)});
  return step;
}

Step refusal(ConnectionId to, std::string_view type, std::string_view message, int status = 403) {
  return answer(to, {.status = status, .body = dump({{"errorMessage", message}, {"errorType", type}})});
}

// What of `events` it registers for; an error's text where one is none.
std::string read_events(const Json& events, bool external, bool& invoke, bool& shutdown) {
  if (!events.is_array()) return "events is not a list";
  for (const Json& event : events) {
    if (event == "INVOKE") invoke = true;
    else if (event == "SHUTDOWN" && external) shutdown = true;
    else return dump(event).substr(0, 40) + " is no event that " + (external ? "an external" : "an internal") + " extension may have";
  }
  return {};
}

}  // namespace

void ExtensionsApi::expect(std::string name) { extensions_.push_back({.name = std::move(name), .external = true}); }

bool ExtensionsApi::all_registered() const {
  return std::ranges::none_of(extensions_, [](const Extension& each) { return each.external && each.id.empty(); });
}

bool ExtensionsApi::idle() const {
  return all_registered() && std::ranges::all_of(extensions_, &Extension::ready);
}

bool ExtensionsApi::wants_shutdown(std::string_view name) const {
  return std::ranges::any_of(extensions_, [&](const Extension& each) { return each.name == name && each.shutdown; });
}

std::string ExtensionsApi::name_of(const RuntimeRequest& request) const {
  const std::string id = header(request, kIdHeader);
  const auto found = std::ranges::find(extensions_, id, &Extension::id);
  return id.empty() || found == extensions_.end() ? std::string() : found->name;
}

Step ExtensionsApi::request(ConnectionId from, RuntimeRequest&& request) {
  const std::string_view what = request.path.substr(kRoot.size());
  const bool is_next = what == "event/next", at_start = what == "init/error";
  if (what != "register" && !is_next && !at_start && what != "exit/error")
    return refusal(from, "NotFound", "no such path: '" + std::string(request.path.substr(0, 200)) + "'", 404);
  if (request.method != (is_next ? Method::get : Method::post))
    return refusal(from, "MethodNotAllowed", std::string(request.path) + " takes " + (is_next ? "GET" : "POST") + " only", 405);
  if (what == "register") return enroll(from, std::move(request));
  const std::string id = header(request, kIdHeader);
  if (id.empty()) return refusal(from, "Extension.MissingExtensionIdentifier", "the header " + std::string(kIdHeader) + " is missing");
  const auto found = std::ranges::find(extensions_, id, &Extension::id);
  if (found == extensions_.end())
    return refusal(from, "Extension.UnknownExtensionIdentifier", "no extension has the identifier '" + id.substr(0, 64) + "'");
  return is_next ? next(from, *found) : error(from, *found, std::move(request), at_start);
}

Step ExtensionsApi::enroll(ConnectionId from, RuntimeRequest&& request) {
  const std::string name = header(request, "Lambda-Extension-Name");
  if (name.empty() || name.size() > kNameMax)
    return refusal(from, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing, or longer than 128 bytes");
  const Json body = domain::parse_json<Json>(request.body);
  if (!body.is_object()) return refusal(from, "InvalidRequestFormat", "the body is not a JSON object with \"events\"");
  const auto known = std::ranges::find(extensions_, name, &Extension::name);
  Extension extension{.name = name, .external = known != extensions_.end() && known->external};
  const std::string wrong = read_events(body.value("events", Json::array()), extension.external, extension.invoke, extension.shutdown);
  if (!wrong.empty()) return refusal(from, "Extension.InvalidEventType", wrong);
  if (known != extensions_.end() && !known->id.empty())
    return refusal(from, "Extension.InvalidExtensionState", "an extension '" + name + "' has registered already");
  if (closed_)
    return refusal(from, "Extension.RegistrationClosed", "the start is over: extensions register before the runtime asks for a call");
  if (known == extensions_.end() && extensions_.size() >= kExtensionsMax)
    return refusal(from, "Extension.TooManyExtensions", "there are " + std::to_string(kExtensionsMax) + " extensions already");
  extension.id = uuid_text((random_.next() & ~std::uint64_t{0xf000}) | 0x4000, (random_.next() >> 2) | std::uint64_t{1} << 63);
  Json told{{"functionName", options_.function}, {"functionVersion", options_.version}, {"handler", options_.handler}};
  if (header(request, "Lambda-Extension-Accept-Feature").contains("accountId")) told["accountId"] = options_.account;
  RuntimeReply reply{.headers = {{std::string(kIdHeader), extension.id}}, .body = dump(told)};
  if (known == extensions_.end()) extensions_.push_back(std::move(extension));
  else *known = std::move(extension);
  return answer(from, std::move(reply));
}

RuntimeReply ExtensionsApi::event_reply(std::string event) {
  return {.headers = {{"Lambda-Extension-Event-Identifier", uuid_text(random_.next(), random_.next())}}, .body = std::move(event)};
}

Step ExtensionsApi::next(ConnectionId from, Extension& extension) {
  if (extension.failed || extension.waits)
    return refusal(from, "Extension.InvalidExtensionState", extension.failed ? "it has said that it can't go on: there is no next event"
                                                                              : "it waits for an event already");
  Step step;
  if (!std::exchange(extension.asked, true)) step.ready = ExtensionsApi::Ready{extension.name, extension.invoke, extension.shutdown};
  extension.ready = extension.event.empty();
  if (extension.ready) extension.waits = from;
  else step.answers.push_back({from, event_reply(std::exchange(extension.event, {}))});
  return step;
}

Step ExtensionsApi::error(ConnectionId from, Extension& extension, RuntimeRequest&& request, bool at_start) {
  FunctionError told{.type = header(request, "Lambda-Extension-Function-Error-Type")};
  if (told.type.empty()) return refusal(from, "Extension.MissingHeader", "the header Lambda-Extension-Function-Error-Type is missing");
  if (extension.failed || (at_start && extension.asked))
    return refusal(from, "Extension.InvalidExtensionState", "its start is over, or has failed already");
  extension.failed = true;
  extension.ready = false;
  if (const Json json = domain::parse_json<Json>(request.body); json.is_object())
    if (const auto message = json.find("errorMessage"); message != json.end() && message->is_string()) told.message = *message;
  told.message = "extension " + extension.name + (told.message.empty() ? "" : ": " + told.message);
  Step step = answer(from, {.status = 202, .body = "{\"status\":\"OK\"}\n"});
  step.failed = std::move(told);
  return step;
}

void ExtensionsApi::left(ConnectionId from) {
  for (Extension& extension : extensions_)
    if (extension.waits == from) extension.waits.reset();
}

Step ExtensionsApi::to_all(bool Extension::* wanted, const std::string& event) {
  Step step;
  for (Extension& extension : extensions_) {
    if (!(extension.*wanted) || extension.id.empty() || extension.failed) continue;
    if (!extension.waits) {
      extension.event = event;
      continue;
    }
    step.answers.push_back({*std::exchange(extension.waits, std::nullopt), event_reply(event)});
    extension.ready = false;
  }
  return step;
}

Step ExtensionsApi::invoke(const RuntimeCall& call) {
  return to_all(&Extension::invoke, dump({{"eventType", "INVOKE"}, {"deadlineMs", call.deadline_ms}, {"requestId", call.id},
                                          {"invokedFunctionArn", options_.function_arn},
                                          {"tracing", {{"type", "X-Amzn-Trace-Id"}, {"value", call.trace_id}}}}));
}

Step ExtensionsApi::shut_down(std::string_view reason, std::uint64_t deadline_ms) {
  return to_all(&Extension::shutdown, dump({{"eventType", "SHUTDOWN"}, {"shutdownReason", reason}, {"deadlineMs", deadline_ms}}));
}

}  // namespace mayfly::worker
