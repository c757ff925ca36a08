// What extensions ask and what follows, by the words of their API; then real programs beside a real runtime.
#include "worker/extensions_api.h"

#include "domain/json.h"
#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Step = ExtensionsApi::Step;

const std::string kRoot = "/2020-01-01/extension/";

ExtensionsApi make_api() {
  return ExtensionsApi({.function = "f", .version = "7", .handler = "app.handler", .account = "000000000000", .function_arn = "arn:f"}, 1);
}

Step ask(ExtensionsApi& api, Method method, const std::string& path, std::vector<HttpHeader> headers, std::string body = {},
         ConnectionId from = 1) {
  return api.request(from, {.method = method, .path = path, .headers = headers, .body = std::move(body)});
}

std::string told(const Step& step, std::string_view name) {
  if (step.answers.empty()) return "none";
  for (const auto& [key, value] : step.answers[0].reply.headers)
    if (key == name) return value;
  return "none";
}

// "200", "403 Extension.…", "none"
std::string answer_of(const Step& step) {
  if (step.answers.empty()) return "none";
  const RuntimeReply& reply = step.answers[0].reply;
  return std::to_string(reply.status) + (reply.status < 300 ? "" : " " + Json::parse(reply.body).value("errorType", "?"));
}

Step enroll(ExtensionsApi& api, std::string_view name, const std::string& body = R"({"events": ["INVOKE"]})") {
  return ask(api, Method::post, kRoot + "register", {{"Lambda-Extension-Name", name}}, body);
}
Step get_next(ExtensionsApi& api, std::string_view id, ConnectionId from = 1) {
  return ask(api, Method::get, kRoot + "event/next", {{"Lambda-Extension-Identifier", id}}, "", from);
}
std::string id_of(const Step& step) { return told(step, "Lambda-Extension-Identifier"); }

TEST(ExtensionsApi, WhoRegisteredIsToldOfEachCall) {
  ExtensionsApi api = make_api();
  EXPECT_TRUE(api.idle() && !api.any());
  api.expect("outside");
  EXPECT_FALSE(api.idle() || api.all_registered());
  Step step = ask(api, Method::post, kRoot + "register",
                  {{"lambda-extension-name", "outside"}, {"Lambda-Extension-Accept-Feature", "accountId"}},
                  R"({"events": ["INVOKE", "SHUTDOWN"]})");
  const std::string outside = id_of(step);
  EXPECT_EQ(outside.size(), 36U);
  EXPECT_EQ(Json::parse(step.answers[0].reply.body),
            Json::parse(R"({"functionName": "f", "functionVersion": "7", "handler": "app.handler", "accountId": "000000000000"})"));
  step = enroll(api, "inside");
  const std::string inside = id_of(step);
  EXPECT_FALSE(Json::parse(step.answers[0].reply.body).contains("accountId"));
  EXPECT_TRUE(api.all_registered() && !api.idle());
  EXPECT_EQ(answer_of(get_next(api, outside, 5)), "none");
  EXPECT_FALSE(api.idle());
  EXPECT_EQ(answer_of(get_next(api, inside, 6)), "none");
  EXPECT_TRUE(api.idle());
  step = api.invoke({.id = "a", .deadline_ms = 12, .trace_id = "Root=1-a"});
  ASSERT_EQ(step.answers.size(), 2U);
  EXPECT_EQ(step.answers[0].to, 5U);
  EXPECT_EQ(step.answers[1].to, 6U);
  EXPECT_EQ(told(step, "Lambda-Extension-Event-Identifier").size(), 36U);
  EXPECT_EQ(Json::parse(step.answers[0].reply.body),
            Json::parse(R"({"eventType": "INVOKE", "deadlineMs": 12, "requestId": "a", "invokedFunctionArn": "arn:f",
                            "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-a"}})"));
  EXPECT_FALSE(api.idle());
  static_cast<void>(get_next(api, outside, 5));
  EXPECT_FALSE(api.idle());
  static_cast<void>(get_next(api, inside, 6));
  EXPECT_TRUE(api.idle());
  step = api.shut_down("spindown", 34);
  ASSERT_EQ(step.answers.size(), 1U) << "of an internal one nobody asks";
  EXPECT_EQ(Json::parse(step.answers[0].reply.body),
            Json::parse(R"({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 34})"));
  EXPECT_TRUE(api.wants_shutdown("outside") && !api.wants_shutdown("inside"));
}

TEST(ExtensionsApi, AnEventThatNobodyWaitsForWaits) {
  ExtensionsApi api = make_api();
  api.expect("a");
  const std::string id = id_of(enroll(api, "a", R"({"events": ["SHUTDOWN"]})"));
  static_cast<void>(get_next(api, id, 5));
  EXPECT_TRUE(api.invoke({.id = "x"}).answers.empty()) << "it did not register for calls";
  EXPECT_TRUE(api.idle());
  api.left(5);
  EXPECT_TRUE(api.shut_down("timeout", 1).answers.empty());
  EXPECT_EQ(Json::parse(get_next(api, id, 6).answers.at(0).reply.body)["shutdownReason"], "timeout");
  EXPECT_FALSE(api.idle());
}

TEST(ExtensionsApi, WhatIsOutOfTurnIsRefused) {
  ExtensionsApi api = make_api();
  api.expect("outside");
  EXPECT_EQ(answer_of(enroll(api, "")), "403 Extension.InvalidExtensionName");
  EXPECT_EQ(answer_of(enroll(api, "outside", "[1]")), "403 InvalidRequestFormat");
  EXPECT_EQ(answer_of(enroll(api, "outside", R"({"events": ["SLEEP"]})")), "403 Extension.InvalidEventType");
  EXPECT_EQ(answer_of(enroll(api, "outside", R"({"events": "INVOKE"})")), "403 Extension.InvalidEventType");
  EXPECT_EQ(answer_of(enroll(api, "inside", R"({"events": ["SHUTDOWN"]})")), "403 Extension.InvalidEventType");
  const std::string id = id_of(enroll(api, "outside"));
  EXPECT_EQ(answer_of(enroll(api, "outside")), "403 Extension.InvalidExtensionState");
  EXPECT_EQ(answer_of(ask(api, Method::get, kRoot + "event/next", {})), "403 Extension.MissingExtensionIdentifier");
  EXPECT_EQ(answer_of(get_next(api, "nobody")), "403 Extension.UnknownExtensionIdentifier");
  EXPECT_EQ(answer_of(ask(api, Method::post, kRoot + "event/next", {})), "405 MethodNotAllowed");
  EXPECT_EQ(answer_of(ask(api, Method::get, kRoot + "nowhere", {})), "404 NotFound");
  static_cast<void>(get_next(api, id, 5));
  EXPECT_EQ(answer_of(get_next(api, id, 6)), "403 Extension.InvalidExtensionState");
  for (int i = 2; i <= 10; ++i) EXPECT_EQ(answer_of(enroll(api, "inside" + std::to_string(i))), "200");
  EXPECT_EQ(answer_of(enroll(api, "one more")), "403 Extension.TooManyExtensions");
  api.close_registration();
  EXPECT_EQ(answer_of(enroll(api, "late")), "403 Extension.RegistrationClosed");
}

TEST(ExtensionsApi, AnErrorEndsItOnce) {
  ExtensionsApi api = make_api();
  const std::string a = id_of(enroll(api, "a")), b = id_of(enroll(api, "b"));
  const auto say = [&](const std::string& what, const std::string& id, std::vector<HttpHeader> headers = {}, std::string body = {}) {
    headers.push_back({"Lambda-Extension-Identifier", id});
    return ask(api, Method::post, kRoot + what, headers, std::move(body));
  };
  EXPECT_EQ(answer_of(say("init/error", a)), "403 Extension.MissingHeader");
  Step step = say("init/error", a, {{"Lambda-Extension-Function-Error-Type", "Extension.NoConfig"}}, R"({"errorMessage": "no file"})");
  EXPECT_EQ(answer_of(step), "202");
  ASSERT_TRUE(step.failed);
  EXPECT_EQ(step.failed->text(), "Extension.NoConfig: extension a: no file");
  EXPECT_EQ(answer_of(get_next(api, a)), "403 Extension.InvalidExtensionState");
  static_cast<void>(get_next(api, b));
  EXPECT_EQ(answer_of(say("init/error", b, {{"Lambda-Extension-Function-Error-Type", "x"}})), "403 Extension.InvalidExtensionState");
  step = say("exit/error", b, {{"Lambda-Extension-Function-Error-Type", "Extension.Gone"}}, "no json");
  ASSERT_TRUE(step.failed);
  EXPECT_EQ(step.failed->text(), "Extension.Gone: extension b");
}

// With nothing but the documented API; what it is told it prints. `more` is run for each event.
std::string extension(const std::string& more = "", const std::string& first = "") {
  return "#!" + python() + " -I\n"
         "import http.client, json, os, sys, time\n" + first +
         "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
         "def ask(method, path, body=None, headers={}):\n"
         "    api.request(method, '/2020-01-01/extension/' + path, body, headers)\n"
         "    reply = api.getresponse()\n"
         "    return reply, reply.read()\n"
         "reply, text = ask('POST', 'register', json.dumps({'events': ['INVOKE', 'SHUTDOWN']}),\n"
         "                  {'Lambda-Extension-Name': os.path.basename(sys.argv[0])})\n"
         "me = {'Lambda-Extension-Identifier': reply.headers['Lambda-Extension-Identifier']}\n"
         "print('EXTENSION knows', sorted(n for n in os.environ if n.startswith(('_', 'AWS_', 'LAMBDA_', 'MINE'))), flush=True)\n"
         "while True:\n"
         "    event = json.loads(ask('GET', 'event/next', None, me)[1])\n"
         "    print('EXTENSION', event['eventType'], event.get('requestId', event.get('shutdownReason')), flush=True)\n" + more +
         "    if event['eventType'] == 'SHUTDOWN': break\n";
}

const char* const kEcho = "import signal, sys\n"
                          "signal.signal(signal.SIGTERM, lambda *_: (print('PROGRAM terminated', flush=True), sys.exit(0)))\n"
                          "def handler(event, context):\n    return event\n";

TEST(Extensions, AProgramBesideTheRuntimeIsToldOfCallsAndOfTheEnd) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho, {.environment = {"MINE=1"}}, {}, {{"extensions/watch", extension()}, {"extensions/notes.txt", "no program\n"}});
  ASSERT_TRUE(host.becomes_ready());
  for (std::uint64_t ticket = 1; ticket <= 2; ++ticket) EXPECT_EQ(host.call({.ticket = ticket, .body = "7"}).body, "7");
  EXPECT_EQ(host.stop(), End::stopped);
  const std::string log = host.log();
  EXPECT_NE(log.find("knows ['AWS_DEFAULT_REGION', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE', 'AWS_LAMBDA_FUNCTION_NAME', "
                     "'AWS_LAMBDA_FUNCTION_VERSION', 'AWS_LAMBDA_INITIALIZATION_TYPE', 'AWS_LAMBDA_RUNTIME_API', 'AWS_REGION', 'MINE']\n"),
            std::string::npos) << log;
  const std::size_t first = log.find("EXTENSION INVOKE 00000000-0000-4000-8000-000000000001\n"), second = log.find("-000000000002\n"),
                    ended = log.find("EXTENSION SHUTDOWN spindown\n");
  EXPECT_TRUE(first < second && second < ended && ended != std::string::npos) << log;
  EXPECT_LT(log.find("PROGRAM terminated\n"), ended) << log;
}

TEST(Extensions, TheNextCallBeginsWhenAllHaveComeBack) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\ndef handler(event, context):\n    return time.time()\n", {}, {},
            {{"extensions/slow", extension("    time.sleep(0.4); print('DONE', time.time(), flush=True)\n")}});
  ASSERT_TRUE(host.becomes_ready());
  for (std::uint64_t ticket = 1; ticket <= 2; ++ticket) ASSERT_TRUE(host.node().write({.ticket = ticket, .body = "1"}));
  const Instant begun = os::monotonic_now();
  host.node().wake();
  const auto first = host.node().reply();
  EXPECT_LT(os::monotonic_now() - begun, 390ms) << "an answer waits for no extension";
  const auto second = host.node().reply();
  ASSERT_TRUE(first && second);
  EXPECT_GE(std::stod(second->body) - std::stod(first->body), 0.35);
}

TEST(Extensions, OneThatDoesNotComeBackIsEndedAtTheCallsDeadline) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho, {}, {}, {{"extensions/stuck", extension("    if event['eventType'] == 'INVOKE': time.sleep(1000)\n")},
                            {"extensions/watch", extension()}});
  ASSERT_TRUE(host.becomes_ready());
  const auto deadline = static_cast<std::uint64_t>((os::monotonic_now() + 1s).since_boot.count());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1", .deadline_ns = deadline}).body, "1");
  EXPECT_EQ(host.end(), End::given_up);
  EXPECT_NE(host.log().find("EXTENSION SHUTDOWN timeout\n"), std::string::npos) << host.log();
}

TEST(Extensions, OneThatEndsEndsTheInstance) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\ndef handler(event, context):\n    time.sleep(20)\n", {}, {},
            {{"extensions/frail", extension("    if event['eventType'] == 'INVOKE': sys.exit(7)\n")}, {"extensions/watch", extension()}});
  ASSERT_TRUE(host.becomes_ready());
  const TestReply reply = host.call({.ticket = 1, .body = "1"});
  EXPECT_EQ(static_cast<Code>(reply.head.code), Code::unavailable);
  EXPECT_EQ(reply.body, "Extension.Crash: extension frail: exit status 7");
  EXPECT_EQ(reply.head.last, 1);
  EXPECT_EQ(host.end(), End::code_ended);
  EXPECT_NE(host.log().find("EXTENSION SHUTDOWN failure\n"), std::string::npos) << host.log();
}

TEST(Extensions, AStartThatOneFailsSaysWhy) {
  SKIP_WITHOUT_PYTHON();
  std::map<std::string, std::string> many;
  for (int i = 0; i < 11; ++i) many["extensions/" + std::to_string(i)] = extension();
  const std::pair<std::map<std::string, std::string>, const char*> rows[] = {
      {{{"extensions/a", extension("", "sys.exit(3)\n")}}, "Extension.Crash: extension a: exit status 3"},
      {{{"extensions/a", "#!/nowhere/at/all\n"}}, "Extension.LaunchError: posix_spawn"},
      {many, "Extension.LaunchError: 11 extensions; at most 10"},
  };
  for (const auto& [files, failure] : rows) {
    Host host(kEcho, {}, {}, files);
    const std::string said = host.failure();
    EXPECT_TRUE(said.starts_with(failure)) << said << host.log();
    EXPECT_EQ(host.end(), End::not_started);
  }
}

TEST(Extensions, AThreadOfTheRuntimeMayBeOne) {
  SKIP_WITHOUT_PYTHON();
  Host host("import http.client, json, os, threading\n"
            "seen = []\n"
            "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
            "api.request('POST', '/2020-01-01/extension/register', json.dumps({'events': ['INVOKE']}),\n"
            "            {'Lambda-Extension-Name': 'inner'})\n"
            "reply = api.getresponse()\n"
            "reply.read()\n"
            "def watch():\n"
            "    while True:\n"
            "        api.request('GET', '/2020-01-01/extension/event/next', None,\n"
            "                    {'Lambda-Extension-Identifier': reply.headers['Lambda-Extension-Identifier']})\n"
            "        seen.append(json.loads(api.getresponse().read())['requestId'][-1])\n"
            "threading.Thread(target=watch, daemon=True).start()\n"
            "def handler(event, context):\n    return seen\n");
  ASSERT_TRUE(host.becomes_ready());
  static_cast<void>(host.call({.ticket = 1, .body = "1"}));
  static_cast<void>(host.call({.ticket = 2, .body = "1"}));
  const Json seen = Json::parse(host.call({.ticket = 3, .body = "1"}).body);
  ASSERT_GE(seen.size(), 2U);
  EXPECT_TRUE(seen[0] == "1" && seen[1] == "2") << seen;
  EXPECT_EQ(host.stop(), End::stopped);
}

}  // namespace
}  // namespace mayfly::worker
