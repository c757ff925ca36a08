// What a user's folder, our runtime, a caller and a custom handler say, all foreign: texts or errors, never more. What goes to the program
// is one request whose lines of ours come from us; what goes to the caller has a head that ends where it says.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "worker/azure.h"

namespace {

using mayfly::worker::AzureApp;

// What a call reads and writes stays within the places that the app's bindings have.
std::optional<AzureApp::Plan> planned(const AzureApp& app, std::string_view head, std::string_view body) {
  const auto plan = app.plan(head, body, {.now = {}, .random = mayfly::Random(1), .function = {}});
  if (!plan) return std::nullopt;
  for (const auto& places : {plan->reads, plan->writes})
    for (const auto& place : places) {
      ASSERT(place.container.find('/') == place.container.npos && place.container.size() >= 3, "a place has a container");
      ASSERT(place.account && place.account->blob.host == "127.0.0.1", "which is where its connection says");
    }
  return *plan;
}

void check(const AzureApp& app, std::string_view head, std::string_view body, std::string_view answer) {
  const auto plan = planned(app, head, body);
  if (!plan) {
    ASSERT(!app.request(head, body) || app.stores(), "what needs no store is refused by both or by neither");
    return;
  }
  std::vector<mayfly::worker::AzureInput> inputs;
  for (const auto& place : plan->reads) inputs.push_back({.name = place.binding.name, .bytes = std::string(answer),
      .head = std::string(head)});
  const auto request = app.request(head, body, *plan, inputs);
  if (!request) return;
  if (request->form == AzureApp::Form::named) {
    const std::string_view sent = std::string_view(request->bytes).substr(0, request->bytes.find("\r\n\r\n"));
    std::size_t count = 0;
    for (std::size_t at = 0; (at = sent.find("\r\nMayfly-Azure-Function: ", at)) != sent.npos; ++at) ++count;
    ASSERT(count == 1 && (plan->reads_trigger || request->bytes.ends_with(body)), "a request names one function");
  }
  const auto reply = app.answer(*request, "HTTP/1.1 200 OK\r\n", answer, *plan);
  if (reply) ASSERT(reply->bytes.find("\r\n\r\n") + 4 == reply->head_size, "a head ends where it says");
  static_cast<void>(app.answer(*request, answer, body, *plan));
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "{\"extensions\": {\"http\": {\"routePrefix\": \"v1\"}}}\x01[{\"name\": \"f\", \"bindings\": [{\"type\": \"httpTrigger\", \"route\": "
      "\"o/{id:int?}/{*r}\"}]}]\x01GET /v1/o/7/a%20b?x=1 HTTP/1.1\r\nA: b\r\n\r\n\x01" "body\x01{\"ReturnValue\": {\"status\": \"201\", "
      "\"headers\": {\"a\": \"b\"}, \"body\": 1}, \"Logs\": [1]}",
      "{\"customHandler\": {\"description\": {\"defaultExecutablePath\": \"sh\", \"arguments\": [\"a\"]}}}\x01"
      "[{\"name\": \"t\", \"bindings\": [{\"type\": \"timerTrigger\", \"name\": \"t\"}, {\"type\": \"queue\", \"direction\": "
      "\"out\", \"name\": \"q\"}]}]\x01POST /admin/functions/t HTTP/1.1\r\nContent-Length: 2\r\n\r\n"
      "\x01{\"input\": 1}\x01{\"Outputs\": {\"q\": [1]}}",
      "{\"extensions\": {\"queues\": {\"messageEncoding\": \"none\"}}}\x01"
      "[{\"name\": \"b\", \"bindings\": [{\"type\": \"blobTrigger\", \"name\": \"i\", "
      "\"path\": \"inbox/{n}.{e}\"}, "
      "{\"type\": \"blob\", \"direction\": \"in\", \"name\": \"s\", \"path\": \"%S%/{n}\"}, {\"type\": \"queue\", "
      "\"direction\": \"out\", \"name\": \"q\", \"queueName\": \"a-{e}-{DateTime:yyyy}\"}]}]\x01POST /admin/functions/b HTTP/1.1\r\n\r\n"
      "\x01{\"input\": \"inbox/a.b\"}\x01HTTP/1.1 200 OK\r\nMayfly-Azure-Outputs: q=json:1",
      "{}\x01[{\"name\": \"f\", \"bindings\": [{\"type\": \"httpTrigger\"}]}]\x01GET /admin/functions HTTP/1.1\r\n\r\n\x01\x01", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size), parts[5];  // host.json, functions, head, body, answer
  for (std::string_view& part : parts) {
    const std::size_t end = std::min(rest.find('\x01'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (const bool outputs_to_log : {false, true}) {
    auto app = AzureApp::parse(parts[0], "/nowhere", outputs_to_log);
    if (!app) return 0;
    app->use({{"AzureWebJobsStorage", "UseDevelopmentStorage=true"}, {"S", "a/b"}});
    if (app->add_functions(parts[1])) check(*app, parts[2], parts[3], parts[4]);
  }
  return 0;
}
