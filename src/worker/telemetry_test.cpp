// Who subscribes, what is sent when and what is dropped, on a loop with a destination as a script says; then an extension beside a
// real program.
#include "worker/telemetry.h"

#include <optional>

#include "domain/json.h"
#include "os/clock.h"
#include "worker/test_code_host.h"
#include "worker/test_http_server.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Kind = Telemetry::Kind;
using namespace std::chrono_literals;

class TelemetryTest : public testing::Test {
 protected:
  TelemetryTest() {
    server.emplace(loop, [this](std::size_t, std::string_view come) -> TestHttpServer::Answer {
      const std::size_t head = come.find("\r\n\r\n"), length = come.find("Content-Length: ");
      if (head == come.npos || come.size() < head + 4 + std::stoul(std::string(come.substr(length + 16)))) return {};
      ++requests;
      heads.append(come.substr(0, head)).append("\r\n");
      if (!answers.empty()) {
        const std::string answer = answers.front();
        answers.pop_front();
        if (answer.empty()) return {};
        return {.bytes = "HTTP/1.1 " + answer + " x\r\nContent-Length: 0\r\n\r\n"};
      }
      const Json batch = Json::parse(come.substr(head + 4));
      sizes.push_back(batch.size());
      for (const Json& event : batch) events.push_back(event);
      return {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    });
  }
  static Json wish(const std::string& uri, Json types = {"platform", "function", "extension"}, Json buffering = {{"timeoutMs", 25}}) {
    return {{"schemaVersion", "2022-12-13"}, {"types", types}, {"buffering", buffering},
            {"destination", {{"protocol", "HTTP"}, {"URI", uri}}}};
  }
  std::string here(const std::string& host = "sandbox.localdomain") {
    return "http://" + host + server->address().substr(server->address().find(':')) + "/told";
  }
  // "200 \"OK\"", "400 …"
  std::string subscribe(const Json& json, const std::string& name = "watch", Method method = Method::put) {
    const RuntimeReply reply = telemetry.subscribe(name, {.method = method, .path = "/2022-07-01/telemetry", .body = json.dump()});
    return std::to_string(reply.status) + " " + (reply.status == 200 ? reply.body : Json::parse(reply.body).value("errorMessage", "?"));
  }
  void turn_until(const std::function<bool()>& good, Duration wait = 10s) {
    const Instant end = os::monotonic_now() + wait;
    while (!good() && os::monotonic_now() < end) loop.turn(5ms);
    EXPECT_TRUE(good()) << Json(events);
  }
  std::vector<std::string> types() const {
    std::vector<std::string> all;
    for (const Json& event : events) all.push_back(event["type"]);
    return all;
  }
  void print_lines(int count) {
    for (int i = 0; i < count; ++i) telemetry.printed(Kind::function, "line\n");
  }
  static Instant at(Duration since) { return Instant{} + since; }

  os::Loop loop = os::Loop::create().value();
  const domain::CodeOrder order{.function = "greet", .version = 3, .memory_mb = 256, .runtime = "python3.11"};
  std::optional<TestHttpServer> server;
  std::deque<std::string> answers;             // statuses to give before events are taken; "": no answer
  std::size_t requests = 0;
  std::string heads;
  std::vector<Json> events;
  std::vector<std::size_t> sizes;              // of the batches
  Telemetry telemetry{loop, order};
};

TEST_F(TelemetryTest, WhoSubscribesIsToldWhatWasAndWhatComes) {
  telemetry.init_began();
  telemetry.printed(Kind::function, "before\nbeg");
  telemetry.printed(Kind::extension, "not asked for\n");
  EXPECT_EQ(subscribe(wish(here(), {"platform", "function"})), "200 \"OK\"");
  telemetry.printed(Kind::function, "un\n\n");
  telemetry.init_done();
  telemetry.init_done("error", "only the first counts");
  telemetry.extension_ready("watch", true, false);
  telemetry.start_over(2ms);
  turn_until([&] { return events.size() >= 7; });
  EXPECT_EQ(types(), (std::vector<std::string>{"platform.initStart", "function", "platform.telemetrySubscription", "function",
                                               "platform.initRuntimeDone", "platform.extension", "platform.initReport"}));
  EXPECT_EQ(events[0]["record"]["functionName"], "greet");
  EXPECT_EQ(events[0]["time"].get<std::string>().size(), 24U);
  EXPECT_EQ(events[1]["record"], "before");
  EXPECT_EQ(events[2]["record"], Json::parse(R"({"name": "watch", "state": "Subscribed", "types": ["platform", "function"]})"));
  EXPECT_EQ(events[3]["record"], "begun");
  EXPECT_EQ(events[4]["record"]["status"], "success");
  EXPECT_EQ(events[5]["record"], Json::parse(R"({"name": "watch", "state": "Ready", "events": ["INVOKE"]})"));
  EXPECT_EQ(events[6]["record"]["metrics"]["durationMs"], 2.0);
  EXPECT_NE(heads.find("POST /told HTTP/1.1\r\nHost: sandbox.localdomain:"), std::string::npos) << heads;
}

TEST_F(TelemetryTest, ACallIsToldAsItGoes) {
  EXPECT_EQ(subscribe(wish(here("127.0.0.1"), {"platform"})), "200 \"OK\"");
  telemetry.init_done();
  telemetry.start_over(7ms);
  telemetry.call_began({.id = "a", .trace_id = "Root=1-x"}, at(1s));
  telemetry.call_over(at(2s), 0);              // it runs still: nothing
  telemetry.call_done("success", "", 42, at(1s + 1500us));
  telemetry.call_over(at(1s + 2200us), ::getpid());
  telemetry.call_over(at(9s), 0);
  telemetry.call_began({.id = "b", .trace_id = "Root=1-y"}, at(3s));
  telemetry.failed("Extension.Crash: extension x: exit status 7", at(4s));
  telemetry.call_done("timeout", "", 0, at(5s));
  telemetry.call_over(at(4s), 0);
  turn_until([&] { return events.size() >= 9; });
  EXPECT_EQ(types(), (std::vector<std::string>{"platform.telemetrySubscription", "platform.initRuntimeDone", "platform.initReport",
                                               "platform.start", "platform.runtimeDone", "platform.report",
                                               "platform.start", "platform.runtimeDone", "platform.report"}));
  EXPECT_EQ(events[3]["record"], Json::parse(R"({"requestId": "a", "version": "3",
                                                 "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-x"}})"));
  EXPECT_EQ(events[4]["record"]["metrics"], Json::parse(R"({"durationMs": 1.5, "producedBytes": 42})"));
  const Json& metrics = events[5]["record"]["metrics"];
  EXPECT_EQ(metrics["durationMs"], 2.2);
  EXPECT_EQ(metrics["billedDurationMs"], 3);
  EXPECT_EQ(metrics["memorySizeMB"], 256);
  EXPECT_EQ(metrics["initDurationMs"], 7.0);
  EXPECT_GT(metrics["maxMemoryUsedMB"].get<int>(), 0);
  EXPECT_EQ(events[7]["record"]["status"], "failure");
  EXPECT_EQ(events[7]["record"]["errorType"], "Extension.Crash");
  EXPECT_FALSE(events[8]["record"]["metrics"].contains("initDurationMs")) << "the first call's alone";
}

TEST_F(TelemetryTest, WhatIsNoSubscriptionIsRefusedAndSaysWhy) {
  const auto with = [&](const char* key, Json value) {
    Json json = wish(here());
    json[key] = std::move(value);
    return subscribe(json);
  };
  EXPECT_EQ(subscribe("text"), "400 the body is not a JSON object");
  EXPECT_EQ(with("types", Json::array()), "400 types is not a list of platform, function, extension");
  EXPECT_EQ(with("types", {"logs"}), "400 types: \"logs\" is none of platform, function, extension");
  EXPECT_EQ(with("buffering", 1), "400 buffering is not an object");
  EXPECT_EQ(with("buffering", {{"maxItems", 999}}), "400 buffering.maxItems is not a whole number from 1000 to 10000");
  EXPECT_EQ(with("buffering", {{"maxBytes", 1048577}}), "400 buffering.maxBytes is not a whole number from 262144 to 1048576");
  EXPECT_EQ(with("buffering", {{"timeoutMs", "25"}}), "400 buffering.timeoutMs is not a whole number from 25 to 30000");
  EXPECT_EQ(with("destination", nullptr), "400 destination: it is missing");
  EXPECT_EQ(with("destination", {{"protocol", "TCP"}, {"port", 9}}), "400 destination: the protocol \"TCP\" is not served: write HTTP");
  for (const char* uri : {"http://example.com:80", "https://sandbox:80", "http://sandbox:0", "http://sandbox:65536", "http://sandbox:8x",
                          "http://sandbox:80/a b", "http://sandbox.localdomain.example.com:80", ""})
    EXPECT_TRUE(subscribe(wish(uri)).starts_with("400 destination: ")) << uri;
  EXPECT_EQ(subscribe(wish(here()), ""), "403 Lambda-Extension-Identifier is missing, or no extension's");
  EXPECT_EQ(subscribe(wish(here()), "watch", Method::post), "405 the Telemetry API takes PUT only");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(subscribe(wish(here("sandbox"))), "200 \"OK\"");
  EXPECT_EQ(subscribe(wish(here())), "403 there were 20 subscriptions already");
  telemetry.start_over(1ms);
  EXPECT_EQ(subscribe(wish(here())), "403 the start is over: subscribe before asking for the first event");
  turn_until([&] { return !events.empty() && telemetry.delivered(); });
  EXPECT_EQ(std::ranges::count(types(), "platform.initReport"), 1) << "each takes the place of the one before";
}

TEST_F(TelemetryTest, ABatchGoesOutWhenItIsFullOrItsTimeIsOverOrAllEnds) {
  EXPECT_EQ(subscribe(wish(here(), {"function"}, {{"maxItems", 1000}, {"timeoutMs", 30'000}})), "200 \"OK\"");
  print_lines(2500);
  turn_until([&] { return events.size() >= 2000; }, 5s);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{1000, 1000}));
  EXPECT_FALSE(telemetry.delivered());
  telemetry.flush();
  turn_until([&] { return telemetry.delivered(); }, 5s);
  telemetry.printed(Kind::function, std::string(300'000, 'x') + "\n");
  turn_until([&] { return telemetry.delivered(); }, 5s);
  ASSERT_EQ(events.size(), 2505U);
  EXPECT_EQ(events[2500]["record"].get<std::string>().size(), 65536U) << "long lines come in pieces";
}

TEST_F(TelemetryTest, WhatADestinationDoesNotTakeIsDroppedAndCounted) {
  answers = {"", "500", "503"};
  EXPECT_EQ(subscribe(wish(here(), {"function"}, {{"maxItems", 1000}, {"timeoutMs", 25}})), "200 \"OK\"");
  const Instant begun = os::monotonic_now();
  print_lines(5000);
  EXPECT_LT(os::monotonic_now() - begun, 2s) << "who prints doesn't wait";
  turn_until([&] { return requests >= 5 && telemetry.delivered(); });
  std::size_t lines = 0, dropped = 0;
  for (const Json& event : events) {
    if (event["type"] == "function") ++lines;
    else dropped += event["record"]["droppedRecords"].get<std::size_t>();
  }
  EXPECT_EQ(events.at(0)["type"], "platform.logsDropped") << "before what comes after it";
  EXPECT_EQ(lines, 2000U) << "two batches are kept";
  EXPECT_EQ(dropped, 3000U) << "one was tried three times, two were too many";
}

TEST_F(TelemetryTest, WhereNobodyListensNobodyWaits) {
  const std::string gone = here();
  server.reset();
  EXPECT_EQ(subscribe(wish(gone)), "200 \"OK\"");
  print_lines(10);
  telemetry.flush();
  turn_until([&] { return telemetry.delivered(); }, 2s);
  EXPECT_EQ(requests, 0U);
}

// Subscribes as AWS's own examples do, and prints what it gets. It buffers for longer than the test takes: all comes at the end.
const std::string kWatcher =
    " -I\n"
    "import http.client, http.server, json, os, sys, threading\n"
    "class Listener(http.server.BaseHTTPRequestHandler):\n"
    "    def do_POST(self):\n"
    "        for event in json.loads(self.rfile.read(int(self.headers['Content-Length']))):\n"
    "            print('GOT', event['type'], json.dumps(event['record'], sort_keys=True), flush=True)\n"
    "        self.send_response(200)\n"
    "        self.end_headers()\n"
    "    def log_message(self, *_): pass\n"
    "server = http.server.HTTPServer(('127.0.0.1', 0), Listener)\n"
    "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
    "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
    "def ask(method, path, body=None, headers={}):\n"
    "    api.request(method, path, body and json.dumps(body), headers)\n"
    "    reply = api.getresponse()\n"
    "    return reply, json.loads(reply.read())\n"
    "reply, _ = ask('POST', '/2020-01-01/extension/register', {'events': ['INVOKE', 'SHUTDOWN']},\n"
    "               {'Lambda-Extension-Name': os.path.basename(sys.argv[0])})\n"
    "me = {'Lambda-Extension-Identifier': reply.headers['Lambda-Extension-Identifier']}\n"
    "reply, text = ask('PUT', '/2022-07-01/telemetry', {'schemaVersion': '2022-07-01', 'types': ['platform', 'function'],\n"
    "    'buffering': {'timeoutMs': 30000}, 'destination': {'protocol': 'HTTP', 'URI': f'http://sandbox:{server.server_port}'}}, me)\n"
    "print('SUBSCRIBED', reply.status, text, flush=True)\n"
    "while ask('GET', '/2020-01-01/extension/event/next', None, me)[1]['eventType'] != 'SHUTDOWN': pass\n"
    "print('END', flush=True)\n";

TEST(TelemetryOfCode, AnExtensionHasItAllBeforeTheEnd) {
  SKIP_WITHOUT_PYTHON();
  Host host("print('imported')\ndef handler(event, context):\n    print('handles', event)\n    return 1 // event\n", {}, {},
            {{"extensions/watch", "#!" + python() + kWatcher}});
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "1");
  EXPECT_EQ(host.call({.ticket = 2, .body = "0"}).head.function_error, 1);
  EXPECT_EQ(host.stop(), End::stopped);
  const std::string log = host.log();
  std::size_t from = 0;
  for (const char* wanted :
       {"SUBSCRIBED 200 OK", "GOT platform.initStart {\"functionName\": \"greet\"", "GOT platform.telemetrySubscription",
        "GOT function \"imported\"", "GOT platform.initRuntimeDone", "GOT platform.initReport",
        "GOT platform.start {\"requestId\": \"00000000-0000-4000-8000-000000000001\"",
        "GOT platform.runtimeDone", "\"status\": \"success\"", "GOT platform.report {\"metrics\": {\"billedDurationMs\":",
        "GOT platform.start {\"requestId\": \"00000000-0000-4000-8000-000000000002\"",
        "GOT platform.runtimeDone {\"errorType\": \"ZeroDivisionError\"", "\"status\": \"error\"",
        "GOT platform.report {\"errorType\": \"ZeroDivisionError\"", "END\n"}) {
    const std::size_t at = log.find(wanted, from);
    ASSERT_NE(at, std::string::npos) << wanted << "\n" << log;
    from = at;
  }
  EXPECT_NE(log.find("GOT function \"handles 1\""), std::string::npos) << log;
  EXPECT_NE(log.find("GOT function \"handles 0\""), std::string::npos) << log;
  EXPECT_NE(log.find("GOT platform.extension {\"events\": [\"INVOKE\", \"SHUTDOWN\"], \"name\": \"watch\", \"state\": \"Ready\"}"),
            std::string::npos) << log;
}

TEST(TelemetryOfCode, AStartThatFailsIsTold) {
  SKIP_WITHOUT_PYTHON();
  Host host("raise ValueError('no')\n", {}, {}, {{"extensions/watch", "#!" + python() + kWatcher}});
  EXPECT_EQ(host.failure().substr(0, 10), "ValueError");
  EXPECT_EQ(host.end(), End::not_started);
  EXPECT_NE(host.log().find("GOT platform.initRuntimeDone {\"errorType\": \"ValueError\""), std::string::npos) << host.log();
}

TEST(TelemetryOfCode, AListenerThatNeverAnswersHarmsNobody) {
  SKIP_WITHOUT_PYTHON();
  std::string silent = kWatcher;
  const std::string reads = "        for event in json.loads";
  silent.insert(silent.find(reads), "        threading.Event().wait()\n");
  Host host("def handler(event, context):\n    for i in range(event): print('x' * 999)\n    return event\n", {}, {},
            {{"extensions/watch", "#!" + python() + silent}});
  ASSERT_TRUE(host.becomes_ready());
  const Instant begun = os::monotonic_now();
  EXPECT_EQ(host.call({.ticket = 1, .body = "3000"}).body, "3000");
  EXPECT_EQ(host.call({.ticket = 2, .body = "1"}).body, "1");
  EXPECT_EQ(host.stop(), End::stopped);
  EXPECT_LT(os::monotonic_now() - begun, 10s);
  EXPECT_NE(host.log().find("END\n"), std::string::npos) << "it has its SHUTDOWN";
}

}  // namespace
}  // namespace mayfly::worker
