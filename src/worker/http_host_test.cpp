// The host process of a program that serves HTTP, with real ones in Python; the test plays the node.
#include "worker/http_host.h"

#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

constexpr const char* kServer = R"(import http.server, os, signal, sys, threading, time
def leave(*_):
    print("SIGTERM was seen", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/exit":
            os._exit(5)
        if self.path.startswith("/sleep"):
            time.sleep(float(self.path.split("?")[1]))
        body = (self.path + " " + os.environ.get("GREETING", "")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
server.serve_forever()
)";

// As Host of test_code_host.h; the port is one that was free a moment ago.
class ServingHost final : public ForkedHost {
 public:
  explicit ServingHost(const std::string& program, domain::CodeOrder order = {}, HttpHostOptions options = {},
                       const std::map<std::string, std::string>& files = {}) {
    const std::string address = os::Listener::create("127.0.0.1:0").value().address();
    options.port = std::stoi(address.substr(address.rfind(':') + 1));
    folder_.write("server.py", program);
    for (const auto& [name, text] : files) folder_.write(name, text);
    if (order.arguments.empty()) order.arguments = {python(), "server.py"};
    if (order.contract == domain::Contract::lambda) order.contract = domain::Contract::http;
    order.function = "serve";
    order.folder = folder_.path();
    order.concurrency = 4;
    fork([&](os::Loop loop, FrameLink link) { return HttpHost(std::move(loop), std::move(link), order, options).run(); });
  }

  // "ready", or why it is not.
  std::string start() {
    const auto told = told_of_start();
    if (!told) return "nothing was told";
    if (!told->ready) return told->failure;
    EXPECT_EQ(told->message.credit, 4U);
    return "ready";
  }
  void send(std::uint64_t ticket, const std::string& path, Duration within = 20s) {
    node_.send({.ticket = ticket, .body = "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n", .format = domain::WireFormat::http,
                .deadline_ns = static_cast<std::uint64_t>((os::monotonic_now() + within).since_boot.count())});
  }
  TestReply call(std::uint64_t ticket, const std::string& path) {
    send(ticket, path);
    auto reply = node_.reply();
    EXPECT_TRUE(reply) << log();
    return reply.value_or(TestReply{});
  }
  HttpHost::End end() { return static_cast<HttpHost::End>(exit_status()); }
};

using HostEnd = HttpHost::End;

std::string body_of(const TestReply& reply) { return reply.body.substr(std::min(reply.head.json_size, reply.body.size())); }

TEST(HttpHost, CallsPassThroughSeveralAtATimeAndAStopIsASigterm) {
  SKIP_WITHOUT_PYTHON();
  ServingHost host(kServer, {.environment = {"GREETING=hi"}});
  ASSERT_EQ(host.start(), "ready") << host.log();
  const TestReply reply = host.call(1, "/a?b");
  EXPECT_EQ(reply.head.code, 0) << reply.body;
  EXPECT_TRUE(reply.body.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(body_of(reply), "/a?b hi");
  EXPECT_GT(reply.head.cpu_ns, 0U);
  const Instant begun = os::monotonic_now();
  for (std::uint64_t ticket = 2; ticket < 6; ++ticket) host.send(ticket, "/sleep?0.5");
  for (const auto& [ticket, each] : host.node().replies(4)) EXPECT_EQ(each.head.code, 0) << each.body;
  EXPECT_LT(os::monotonic_now() - begun, 1900ms);
  host.send(7, "/sleep?0.3");
  host.node().stop();
  EXPECT_EQ(host.node().replies(1)[7].head.code, 0);  // what was begun is answered first
  EXPECT_EQ(host.end(), HostEnd::stopped);
  EXPECT_NE(host.log().find("SIGTERM was seen"), std::string::npos) << host.log();
}

TEST(HttpHost, WhatNeverListensSaysWhy) {
  SKIP_WITHOUT_PYTHON();
  ServingHost ends("import sys\nsys.exit(7)\n");
  EXPECT_NE(ends.start().find("status 7"), std::string::npos);
  EXPECT_EQ(ends.end(), HostEnd::not_started);
  ServingHost mute("import time\ntime.sleep(60)\n", {}, {.start_max = 300ms});
  EXPECT_NE(mute.start().find("did not listen"), std::string::npos);
  EXPECT_EQ(mute.end(), HostEnd::not_started);
  ServingHost none("", {.arguments = {"/no/such/program"}});
  EXPECT_NE(none.start().find("can't be started"), std::string::npos);
}

TEST(HttpHost, OtherFormatsAndPastDeadlinesAreRefused) {
  SKIP_WITHOUT_PYTHON();
  ServingHost host(kServer);
  ASSERT_EQ(host.start(), "ready") << host.log();
  host.node().send({.ticket = 1, .body = "{}"});
  EXPECT_EQ(static_cast<Code>(host.node().replies(1)[1].head.code), Code::unimplemented);
  host.send(2, "/", -1s);
  EXPECT_EQ(static_cast<Code>(host.node().replies(1)[2].head.code), Code::deadline_exceeded);
  EXPECT_EQ(host.call(3, "/").head.code, 0);
}

TEST(HttpHost, ALateCallEndsTheProgramWhenTheOthersAreAnswered) {
  SKIP_WITHOUT_PYTHON();
  ServingHost host(kServer);
  ASSERT_EQ(host.start(), "ready") << host.log();
  host.send(1, "/sleep?60", 200ms);
  host.send(2, "/sleep?0.6");
  auto replies = host.node().replies(2);
  EXPECT_EQ(static_cast<Code>(replies[1].head.code), Code::deadline_exceeded) << replies[1].body;
  EXPECT_EQ(replies[1].head.last, 1);
  EXPECT_EQ(replies[2].head.code, 0) << replies[2].body;
  EXPECT_EQ(host.end(), HostEnd::given_up);
}

TEST(HttpHost, ACancelledCallIsAnsweredAndTheProgramGoesOn) {
  SKIP_WITHOUT_PYTHON();
  ServingHost host(kServer);
  ASSERT_EQ(host.start(), "ready") << host.log();
  host.send(1, "/sleep?60");
  host.node().cancel(1);
  host.node().cancel(9);  // of nobody
  host.node().wake();
  EXPECT_EQ(static_cast<Code>(host.node().replies(1)[1].head.code), Code::cancelled);
  EXPECT_EQ(host.call(2, "/").head.code, 0);
}

TEST(HttpHost, AProgramThatEndsFailsTheCallsThatItHad) {
  SKIP_WITHOUT_PYTHON();
  ServingHost host(kServer);
  ASSERT_EQ(host.start(), "ready") << host.log();
  host.send(1, "/sleep?30");
  host.send(2, "/exit");
  for (const auto& [ticket, reply] : host.node().replies(2)) {
    EXPECT_EQ(static_cast<Code>(reply.head.code), Code::unavailable);
    EXPECT_NE(reply.body.find("status 5"), std::string::npos) << reply.body;
  }
  EXPECT_EQ(host.end(), HostEnd::program_ended);
}

TEST(HttpHost, AnAzureAppSaysWhatItHas) {
  SKIP_WITHOUT_PYTHON();
  const std::map<std::string, std::string> files = {
      {"host.json", R"({"customHandler": {"enableForwardingHttpRequest": true, "description": {"defaultExecutablePath": "python3",
                        "arguments": ["server.py"]}}})"},
      {"f/function.json", R"({"bindings": [{"type": "httpTrigger", "direction": "in", "name": "r"}]})"}};
  ServingHost host(kServer, {.arguments = {"/var/task/host.json"}, .contract = domain::Contract::azure}, {}, files);
  ASSERT_EQ(host.start(), "ready") << host.log();
  EXPECT_EQ(body_of(host.call(1, "/api/f")), "/api/f ");
  EXPECT_EQ(static_cast<Code>(host.call(2, "/api/g").head.code), Code::not_found);
  const TestReply listed = host.call(3, "/admin/functions");
  EXPECT_NE(body_of(listed).find("\"name\":\"f\""), std::string::npos) << listed.body;
  ServingHost nothing("", {.arguments = {"/var/task/host.json"}, .contract = domain::Contract::azure}, {}, {{"host.json", "{}"}});
  EXPECT_NE(nothing.start().find("function_app.py"), std::string::npos);
}

// Our runtime's part played by a program: what it says of the app's functions, or of why there are none.
TEST(HttpHost, AnAppInAProgrammingModelIsAskedForItsFunctions) {
  SKIP_WITHOUT_PYTHON();
  const auto runtime = [](const std::string& status, const std::string& body) {
    return "import http.server, os\nclass Handler(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n"
           "        asked = self.headers.get('Mayfly-Azure-Function')\n"
           "        body = ('ran ' + asked if asked else '''" + body + "''').encode()\n"
           "        self.send_response(200 if asked else " + status + ")\n        self.send_header('Content-Length', str(len(body)))\n"
           "        self.end_headers()\n        self.wfile.write(body)\n"
           "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n";
  };
  const domain::CodeOrder order{.arguments = {python(), "server.py"}, .contract = domain::Contract::azure};
  const std::map<std::string, std::string> files = {{"host.json", "{}"}};
  ServingHost host(runtime("200", R"([{"name": "f", "bindings": [{"type": "httpTrigger", "name": "r"}]}])"), order, {}, files);
  ASSERT_EQ(host.start(), "ready") << host.log();
  EXPECT_EQ(body_of(host.call(1, "/api/f")), "ran f");
  ServingHost broken(runtime("500", "function_app.py is broken"), order, {}, files);
  const std::string why = broken.start();
  EXPECT_TRUE(why.starts_with("function_app.py is broken")) << why;  // behind it is what it printed
  EXPECT_EQ(broken.end(), HostEnd::not_started);
  ServingHost empty(runtime("200", "[]"), order, {}, files);
  EXPECT_NE(empty.start().find("no functions"), std::string::npos);
}

}  // namespace
}  // namespace mayfly::worker
