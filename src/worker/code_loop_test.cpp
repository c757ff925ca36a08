// The host process with a real Python program; the test plays the node.
#include "worker/code_loop.h"

#include "domain/json.h"
#include "worker/code_environment.h"
#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;

const char* const kEcho = "def handler(event, context):\n    return event\n";

TEST(CodeLoop, CallsAreAnsweredInTurnAndAStopEndsIt) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  const auto start = host.told_of_start();
  ASSERT_TRUE(start && start->ready) << host.log();
  EXPECT_EQ(start->message.credit, 1U);
  EXPECT_GT(start->message.load_ns, 0U);
  EXPECT_GT(start->message.cpu_ns, 0U);
  for (std::uint64_t ticket = 1; ticket <= 20; ++ticket) {
    const std::string event = "{\"n\": " + std::to_string(ticket) + ", \"s\": \"gr\u00fc\u00df\"}";
    const TestReply reply = host.call({.ticket = ticket, .body = event});
    EXPECT_EQ(reply.head.code, 0) << reply.body;
    EXPECT_EQ(reply.body, event);
    EXPECT_EQ(reply.head.ticket, ticket);
    EXPECT_EQ(reply.head.rows, 1U);
    EXPECT_GT(reply.head.run_ns, 0U);
    EXPECT_GT(reply.head.cpu_ns, 0U);
    EXPECT_GE(reply.head.begun_ns, 1U);
  }
  EXPECT_EQ(host.stop(), End::stopped);
}

TEST(CodeLoop, WhatItsCodeStartsHasNoConnectionToTheRuntimeApi) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os, subprocess\n"
            "def handler(event, context):\n"
            "    names = ['/proc/self/fd/' + fd for fd in os.listdir('/proc/self/fd')]\n"
            "    held = [os.readlink(name) for name in names if os.path.exists(name)]\n"
            "    started = subprocess.run(['/bin/ls', '-l', '/proc/self/fd'], close_fds=False, capture_output=True, text=True).stdout\n"
            "    return [sum(what.startswith('socket:') for what in held), 'socket:' in started]\n");
  ASSERT_TRUE(host.told_of_start() && true) << host.log();
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "[2, false]");
  EXPECT_EQ(host.stop(), End::stopped);
}

TEST(CodeLoop, WhatWaitsIsAnsweredBeforeAStop) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  ASSERT_TRUE(host.becomes_ready());
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket) ASSERT_TRUE(host.node().write({.ticket = ticket, .body = "1"}));
  host.node().wake();
  host.node().stop();
  for (const auto& [ticket, reply] : host.node().replies(3)) EXPECT_EQ(reply.head.code, 0) << reply.body;
  EXPECT_EQ(host.end(), End::stopped);
}

TEST(CodeLoop, ThatAnAnswerWasTakenIsSaidAtOnceOrWithTheEventThatIsWaitedFor) {
  SKIP_WITHOUT_PYTHON();
  const char* const program =
      "import os, re, socket\n"
      "host, _, port = os.environ['AWS_LAMBDA_RUNTIME_API'].rpartition(':')\n"
      "link = socket.create_connection((host, int(port)))\n"
      "ask = b'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'\n"
      "def hear(seconds):\n"
      "    link.settimeout(seconds)\n"
      "    try: return link.recv(65536)\n"
      "    except TimeoutError: return b''\n"
      "def answer(event, body, behind):\n"
      "    call = re.search(rb'Request-Id: ([-0-9a-f]+)', event).group(1)\n"
      "    link.sendall(b'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost:x\\r\\nContent-Length: %d\\r\\n\\r\\n%s%s' %\n"
      "                 (call, len(body), body, behind))\n"
      "link.sendall(ask)\n"
      "first = hear(30)\n"
      "answer(first, b'1', ask)\n"
      "early = hear(0.3)\n"
      "second = hear(30)\n"
      "answer(second, b'%d' % (len(early) * 100 + second.count(b'HTTP/1.1 202') * 10 + second.count(b'HTTP/1.1 200')), b'')\n"
      "alone = hear(30)\n"
      "link.sendall(ask)\n"
      "answer(hear(30), b'%d' % alone.count(b'HTTP/1.1 202'), b'')\n"
      "hear(30)\n";
  domain::CodeOrder order;
  order.arguments = {python(), "program.py"};
  Host host("", order, {}, {{"program.py", program}});
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "{}"}).body, "1");
  ::usleep(600'000);  // it hears nothing meanwhile
  EXPECT_EQ(host.call({.ticket = 2, .body = "{}"}).body, "11") << "both with the next event: " << host.log();
  EXPECT_EQ(host.call({.ticket = 3, .body = "{}"}).body, "1") << "at once: " << host.log();
}

TEST(CodeLoop, ItEndsWithTheNode) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.leave(), End::node_gone);
}

TEST(CodeLoop, TheProgramSeesLambdasEnvironmentAndContext) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os, signal\n"
            "def handler(event, context):\n"
            "    return {'env': dict(os.environ), 'cwd': os.getcwd(), 'fds': sorted(int(f) for f in os.listdir('/proc/self/fd')),\n"
            "            'stdin': os.readlink('/proc/self/fd/0'), 'group': os.getpgrp() == os.getpid(),\n"
            "            'mask': len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),\n"
            "            'id': context.aws_request_id, 'name': context.function_name, 'version': context.function_version,\n"
            "            'arn': context.invoked_function_arn, 'memory': context.memory_limit_in_mb,\n"
            "            'left': context.get_remaining_time_in_millis(), 'group_name': context.log_group_name,\n"
            "            'stream': context.log_stream_name, 'client': context.client_context,\n"
            "            'who': context.identity.cognito_identity_id}\n",
            {.environment = {"GREETING=hi=ho", "AWS_REGION=mars", "PATH=/bin"}, .version = 7, .memory_mb = 256});
  ASSERT_TRUE(host.becomes_ready());
  const auto deadline = os::monotonic_now() + 20s;
  const auto deadline_ns = static_cast<std::uint64_t>(deadline.since_boot.count());
  const TestReply reply = host.call({.ticket = 0x1234, .body = "{}", .deadline_ns = deadline_ns});
  ASSERT_EQ(reply.head.code, 0) << reply.body;
  const Json told = Json::parse(reply.body);
  const Json& env = told["env"];
  EXPECT_EQ(env["GREETING"], "hi=ho");
  EXPECT_EQ(env["AWS_REGION"], "us-east-1");
  EXPECT_EQ(env["PATH"], "/bin");
  EXPECT_EQ(env["_HANDLER"], "app.handler");
  EXPECT_EQ(env["LAMBDA_TASK_ROOT"], host.folder().path());
  EXPECT_FALSE(env.contains("PYTHONUNBUFFERED") || env.contains("MAIL") || env.contains("USER"));
  EXPECT_EQ(std::filesystem::canonical(told["cwd"].get<std::string>()), std::filesystem::canonical(host.folder().path()));
  EXPECT_EQ(told["stdin"], "/dev/null");
  EXPECT_LE(told["fds"].size(), 8U);  // 0, 1, 2, the last two once more, its two connections, the folder that it lists
  EXPECT_EQ(told["group"], true);
  EXPECT_EQ(told["mask"], 0);
  EXPECT_EQ(told["id"], "00000000-0000-4000-8000-000000001234");
  EXPECT_EQ(told["name"], "greet");
  EXPECT_EQ(told["version"], "7");
  EXPECT_EQ(told["arn"], "arn:aws:lambda:us-east-1:000000000000:function:greet");
  EXPECT_EQ(told["memory"], "256");
  EXPECT_GT(told["left"], 0);
  EXPECT_LE(told["left"], 20'000);
  EXPECT_EQ(told["group_name"], "/aws/lambda/greet");
  EXPECT_EQ(told["stream"].get<std::string>().substr(0, 3), "[7]");
  EXPECT_TRUE(told["client"].is_null() && told["who"].is_null());
}

TEST(CodeLoop, WhatTheCallerSaidOfTheCallIsTheContexts) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os\n"
            "def handler(event, context):\n"
            "    told = context.client_context\n"
            "    said = told and [told.custom, told.env, told.client.app_title, told.client.installation_id]\n"
            "    return [event, os.environ['_X_AMZN_TRACE_ID'], said]\n");
  ASSERT_TRUE(host.becomes_ready());
  const std::string context = "Lambda-Runtime-Trace-Id: Root=1-67000000-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=1\r\n"
                              "Lambda-Runtime-Client-Context: {\"custom\":{\"a\":\"\\u00fc\"},\"client\":{\"app_title\":\"t\"}}\r\n";
  for (const bool in_memfd : {false, true}) {
    const Json told = Json::parse(host.call({.ticket = 1, .body = "{}", .in_memfd = in_memfd, .context = context}).body);
    EXPECT_EQ(told[0], Json::object());
    EXPECT_EQ(told[1], "Root=1-67000000-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=1");
    EXPECT_EQ(told[2], Json::parse("[{\"a\": \"\u00fc\"}, null, \"t\", null]"));
  }
  const Json first = Json::parse(host.call({.ticket = 2, .body = "1"}).body);
  const Json second = Json::parse(host.call({.ticket = 3, .body = "1"}).body);
  EXPECT_TRUE(first[2].is_null());
  EXPECT_TRUE(first[1].get<std::string>().starts_with("Root=1-") && first[1].get<std::string>().ends_with(";Sampled=0")) << first[1];
  EXPECT_NE(first[1], second[1]);
}

TEST(CodeLoop, AStreamedResponseIsTakenWhole) {
  SKIP_WITHOUT_PYTHON();
  const char* const program =  // as runtimes that stream do, a piece at a time
      "import os, re, socket, time\n"
      "host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')\n"
      "link = socket.create_connection((host, int(port)))\n"
      "def take():\n"
      "    text = b''\n"
      "    while b'\\r\\n\\r\\n' not in text: text += link.recv(1)\n"
      "    size = int(re.search(rb'Content-Length: (\\d+)', text)[1])\n"
      "    while size: size -= len(link.recv(size))\n"
      "    return text\n"
      "while True:\n"
      "    link.sendall(b'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
      "    call = re.search(rb'Lambda-Runtime-Aws-Request-Id: (\\S+)', take())[1]\n"
      "    head = (b'POST /2018-06-01/runtime/invocation/' + call + b'/response HTTP/1.1\\r\\nHost: x\\r\\n'\n"
      "            b'Transfer-Encoding: chunked\\r\\nLambda-Runtime-Function-Response-Mode: streaming\\r\\n\\r\\n')\n"
      "    pieces = [head, b'5\\r\\nfirst\\r\\n', b'6\\r\\nsec', b'ond\\r\\n', b'0\\r\\n']\n"
      "    if call.endswith(b'2'): pieces += [b'Lambda-Runtime-Function-Error-Type: Oo', b'ps\\r\\n']\n"
      "    for piece in pieces + [b'\\r\\n']:\n"
      "        link.sendall(piece)\n"
      "        time.sleep(0.02)\n"
      "    take()\n";
  Host host("", {.arguments = {python(), "-c", program}});
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "firstsecond");
  const TestReply failed = host.call({.ticket = 2, .body = "1"});
  EXPECT_EQ(static_cast<Code>(failed.head.code), Code::internal);
  EXPECT_EQ(failed.body, "Oops");
  EXPECT_EQ(host.call({.ticket = 3, .body = "1"}).body, "firstsecond");
}

TEST(CodeLoop, AnErrorIsTheHandlersOwnAndTheProgramGoesOn) {
  SKIP_WITHOUT_PYTHON();
  Host host("class Oops(Exception): pass\n"
            "def inner(event): raise Oops('no ' + event)\n"
            "def handler(event, context):\n"
            "    return {1, 2} if event == 'set' else inner(event) if event != 'fine' else b'raw'\n");
  ASSERT_TRUE(host.becomes_ready());
  TestReply reply = host.call({.ticket = 1, .body = "\"luck\""});
  EXPECT_EQ(static_cast<Code>(reply.head.code), Code::internal);
  EXPECT_EQ(reply.head.function_error, 1);
  EXPECT_EQ(reply.head.last, 0);
  Json told = Json::parse(reply.body);
  EXPECT_EQ(told["errorType"], "Oops");
  EXPECT_EQ(told["errorMessage"], "no luck");
  ASSERT_EQ(told["stackTrace"].size(), 2U) << reply.body;  // the handler's frames, not the runtime's
  EXPECT_NE(told["stackTrace"][1].get<std::string>().find("in inner"), std::string::npos);
  EXPECT_NE(host.log().find("[ERROR] Oops: no luck"), std::string::npos) << host.log();
  for (const auto& [event, type] : {std::pair("\"set\"", "Runtime.MarshalError"), std::pair("{", "Runtime.UnmarshalError")}) {
    reply = host.call({.ticket = 2, .body = event});
    EXPECT_EQ(Json::parse(reply.body)["errorType"], type) << reply.body;
  }
  EXPECT_EQ(host.call({.ticket = 3, .body = "\"fine\""}).body, "raw");
}

TEST(CodeLoop, AStartThatFailsSaysWhy) {
  SKIP_WITHOUT_PYTHON();
  struct Row {
    const char* what;
    const char* app;
    const char* handler;
    const char* failure;
  };
  const Row rows[] = {
      {"no module", "", "nowhere.handler", "Runtime.ImportModuleError: Unable to import module 'nowhere': No module named 'nowhere'"},
      {"a module that imports none", "import nowhere", "app.handler", "Runtime.ImportModuleError: Unable to import module 'app'"},
      {"no function", "x = 1", "app.handler", "Runtime.HandlerNotFound: Handler 'handler' missing on module 'app'"},
      {"bad syntax", "def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError: Syntax error in module 'app'"},
      {"no dot", "", "app", "Runtime.MalformedHandlerName: Bad handler 'app'"},
      {"a module that raises", "1/0", "app.handler", "ZeroDivisionError: division by zero"},
      {"a module that ends", "import sys; sys.exit(3)", "app.handler", "Runtime.ExitError: exit status 3"},
      {"a module that is killed", "import os; os.kill(os.getpid(), 9)", "app.handler", "Runtime.ExitError: signal 9 (Killed)"},
  };
  for (const Row& row : rows) {
    Host host(row.app, {.handler = row.handler});
    EXPECT_TRUE(host.failure().starts_with(row.failure)) << row.what << host.log();
    EXPECT_EQ(host.end(), End::not_started) << row.what;
  }
  Host host("", {.arguments = {"/nowhere/python3"}});
  EXPECT_TRUE(host.failure().starts_with("Runtime.InvalidEntrypoint: posix_spawn /nowhere/python3: No such file"));
  EXPECT_EQ(host.end(), End::not_started);
}

TEST(CodeLoop, AHandlerMayLieInAPackageAndItsFilesAreNotTheRuntimes) {
  SKIP_WITHOUT_PYTHON();
  const std::map<std::string, std::string> files = {
      {"pkg/deep/app.py", "import beside\ndef run(e, c): return [__name__, beside.x, e]\n"},
      {"beside.py", "x = 5\n"},
      {"json.py", "raise SystemError('shadowed')\n"},
      {"http/client.py", "raise SystemError('shadowed')\n"}};
  Host host("", {.handler = "pkg/deep/app.run"}, {}, files);
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "[\"pkg.deep.app\", 5, 1]");
}

TEST(CodeLoop, LargeEventsAndResponsesTravelInFiles) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  ASSERT_TRUE(host.becomes_ready());
  std::string event = "\"" + std::string(5'000'000, 'x') + "\"";
  TestReply reply = host.call({.ticket = 1, .body = event, .in_memfd = true});
  EXPECT_EQ(reply.head.code, 0);
  EXPECT_EQ(reply.head.in_memfd, 1);
  EXPECT_TRUE(reply.body == event) << reply.body.size();
  event = "\"" + std::string(domain::kInlineMax - 2, 'x') + "\"";  // just fits
  reply = host.call({.ticket = 2, .body = event});
  EXPECT_EQ(reply.head.in_memfd, 0);
  EXPECT_TRUE(reply.body == event) << reply.body.size();
  reply = host.call({.ticket = 3, .body = "\"" + std::string(7'000'000, 'x') + "\"", .in_memfd = true});
  EXPECT_EQ(static_cast<Code>(reply.head.code), Code::internal);
  EXPECT_EQ(Json::parse(reply.body)["errorType"], "Function.ResponseSizeTooLarge") << reply.body;
  EXPECT_EQ(host.call({.ticket = 4, .body = "4"}).body, "4");
}

TEST(CodeLoop, AProgramThatEndsFailsItsCall) {
  SKIP_WITHOUT_PYTHON();
  struct Row {
    const char* how;
    const char* text;
  };
  for (const Row& row : {Row{"import os; os._exit(3)", "Runtime.ExitError: exit status 3"},
                         Row{"import os; os.kill(os.getpid(), 11)", "Runtime.ExitError: signal 11 (Segmentation fault)"}}) {
    Host host(std::string("def handler(event, context):\n    ") + row.how + "\n");
    ASSERT_TRUE(host.becomes_ready());
    const TestReply reply = host.call({.ticket = 1, .body = "1"});
    EXPECT_EQ(static_cast<Code>(reply.head.code), Code::unavailable);
    EXPECT_TRUE(reply.body.starts_with(row.text)) << reply.body;
    EXPECT_EQ(reply.head.last, 1);
    EXPECT_EQ(host.end(), End::code_ended);
  }
}

TEST(CodeLoop, ACallThatIsCancelledOrOverdueEndsTheProgram) {
  SKIP_WITHOUT_PYTHON();
  const char* const app = "import os, subprocess, time\n"
                          "def handler(event, context):\n"
                          "    child = subprocess.Popen(['/bin/sleep', '1000'])\n"
                          "    open('pids.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
                          "    os.rename('pids.new', 'pids')\n"
                          "    time.sleep(1000)\n";
  for (const bool cancelled : {true, false}) {
    Host host(app);
    ASSERT_TRUE(host.becomes_ready());
    const Instant deadline = os::monotonic_now() + (cancelled ? 1000s : 2s);
    host.node().send({.ticket = 5, .body = "1", .deadline_ns = static_cast<std::uint64_t>(deadline.since_boot.count())});
    if (cancelled) {
      while (!std::filesystem::exists(host.folder().path("pids"))) ::usleep(10'000);
      host.node().cancel(99);  // somebody else's
      host.node().cancel(5);
      host.node().wake();
    }
    const auto reply = host.node().reply();
    ASSERT_TRUE(reply);
    EXPECT_EQ(static_cast<Code>(reply->head.code), cancelled ? Code::cancelled : Code::deadline_exceeded) << reply->body;
    EXPECT_EQ(reply->head.last, 1);
    EXPECT_EQ(host.end(), End::given_up);
    std::istringstream pids(host.folder().read("pids"));
    int program = 0, its_child = 0;
    if (!(pids >> program >> its_child) && !cancelled) continue;  // its time was over before it came so far
    ASSERT_GT(its_child, 0);
    EXPECT_NE(::kill(program, 0), 0);
    for (std::string left = "?"; !left.empty(); ::usleep(10'000)) {  // a zombie of whoever inherited it has no command line
      std::ifstream file("/proc/" + std::to_string(its_child) + "/cmdline");
      left.assign(std::istreambuf_iterator<char>(file), {});
    }
  }
}

TEST(CodeLoop, WhatWasOverBeforeItBeganIsNotRun) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(static_cast<Code>(host.call({.ticket = 1, .body = "1", .deadline_ns = 1}).head.code), Code::deadline_exceeded);
  EXPECT_EQ(host.call({.ticket = 2, .body = "2"}).body, "2");
}

TEST(CodeLoop, WhatIsPrintedIsTheLogsAndMuchOfItHarmsNobody) {
  SKIP_WITHOUT_PYTHON();
  Host host("import sys\n"
            "def handler(event, context):\n"
            "    for i in range(100000): print('line', i)\n"
            "    print('at the end', file=sys.stderr)\n"
            "    return 'done'\n");
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "\"done\"");
  const std::string log = host.log();
  EXPECT_NE(log.find("line 99999\n"), std::string::npos);
  EXPECT_NE(log.find("at the end\n"), std::string::npos);
}

TEST(RunCode, AnOrderThatIsNoneIsToldToTheNode) {
  TestLink link;
  const std::array shared{os::duplicate(link.memory.get()).value(), os::duplicate(link.request_bell.get()).value(),
                          os::duplicate(link.reply_bell.get()).value()};
  const int pid = ::fork();
  if (pid == 0) run_code(link.instance_socket.get(), shared, "{}");
  link.instance_socket.reset();
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  std::array<std::byte, 4096> bytes;
  const auto packet = os::receive_packet(link.node_socket.get(), bytes);
  ASSERT_TRUE(packet && packet->size > sizeof(domain::FailedMessage));
  domain::FailedMessage failed;
  std::memcpy(&failed, bytes.data(), sizeof failed);
  EXPECT_EQ(failed.head.kind, domain::MessageKind::failed);
  EXPECT_EQ(static_cast<Code>(failed.code), Code::invalid_argument);
  EXPECT_EQ(failed.head.size, packet->size - sizeof failed);
}

TEST(CodeEnvironment, EachNameIsThereOnce) {
  const auto all = code_environment({.environment = {"LANG=a", "LANG=b", "_HANDLER=c"}, .handler = "h", .function = "f",
                                     .runtime = "python3.11"}, "1:2", "s");
  std::map<std::string, std::string> seen;
  for (const std::string& entry : all) {
    const std::size_t equals = entry.find('=');
    EXPECT_TRUE(seen.emplace(entry.substr(0, equals), entry.substr(equals + 1)).second) << entry;
  }
  EXPECT_EQ(seen["LANG"], "b");
  EXPECT_EQ(seen["_HANDLER"], "h");
  EXPECT_EQ(seen["AWS_LAMBDA_RUNTIME_API"], "1:2");
  EXPECT_EQ(seen["AWS_EXECUTION_ENV"], "AWS_Lambda_python3.11");
}

}  // namespace
}  // namespace mayfly::worker
