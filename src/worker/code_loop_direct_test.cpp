// Calls that our runtime for Python has from the node itself, with its host beside it: domain/direct.h.
#include <gtest/gtest.h>

#include <sstream>

#include "domain/direct.h"
#include "domain/printed.h"
#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

using domain::DirectKind;

struct Answer {
  DirectKind kind{};
  std::uint64_t ticket = 0;
  std::string body;
};

// The node's end of the program's own socket.
class Direct {
 public:
  explicit Direct(Host& host) : host_(host) {
    auto start = host.told_of_start();
    EXPECT_TRUE(start && start->ready) << (start ? start->failure : "nothing was told") << host.log();
    if (!start || start->brought.size() != 2) return;
    EXPECT_TRUE(os::is_packet_socket(start->brought[0].get()));
    EXPECT_GT(os::pid_of(start->brought[1]), 0);
    socket_ = std::move(start->brought[0]);
  }
  explicit operator bool() const { return static_cast<bool>(socket_); }

  void begin(std::uint8_t ticket, std::string event, const std::string& said = {}, Duration left = 20s) {
    const Instant now = os::monotonic_now();
    domain::RequestHead note{.ticket = ticket, .deadline_ns = static_cast<std::uint64_t>((now + left).since_boot.count()),
                             .direct = domain::DirectStep::begun, .begun_ns = static_cast<std::uint64_t>(now.since_boot.count())};
    domain::DirectCall call{.ticket = ticket, .time_left_ns = static_cast<std::uint64_t>(left.count()),
                            .event_size = static_cast<std::uint32_t>(event.size())};
    note.request_id[15] = call.request_id[15] = ticket;
    host_.node().write(note);
    EXPECT_GT(os::send_packet_now(socket_.get(), os::bytes_of(call), event + said), 0);
  }
  Answer answer() {
    Answer all;
    std::string bytes(70'000, '\0');
    for (all.kind = DirectKind::piece; all.kind == DirectKind::piece;) {
      pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      ::poll(&wait, 1, 20'000);
      const std::int64_t size = os::receive_packet_now(socket_.get(), bytes);
      domain::DirectAnswer head;
      if (size < static_cast<std::int64_t>(sizeof head)) {
        ADD_FAILURE() << "no answer: " << size << host_.log();
        return all;
      }
      std::memcpy(&head, bytes.data(), sizeof head);
      all.kind = head.kind;
      all.ticket = head.ticket;
      all.body.append(bytes, sizeof head, static_cast<std::size_t>(size) - sizeof head);
    }
    host_.node().write({.ticket = all.ticket, .direct = domain::DirectStep::answered});
    return all;
  }
  Answer call(std::uint8_t ticket, const std::string& event, const std::string& said = {}) {
    begin(ticket, event, said);
    return answer();
  }

 private:
  Host& host_;
  os::Fd socket_;
};

constexpr const char* kEcho = "def handler(event, context):\n    return event\n";

TEST(CodeLoopDirect, CallsComeByBothWaysInTurn) {
  SKIP_WITHOUT_PYTHON();
  Host host(kEcho);
  Direct direct(host);
  ASSERT_TRUE(direct);
  for (std::uint8_t n = 1; n <= 40; ++n) {
    if (n % 3 == 0) {
      EXPECT_EQ(host.call({.ticket = n, .body = std::to_string(n)}).body, std::to_string(n));
      continue;
    }
    const Answer answer = direct.call(n, std::to_string(n));
    EXPECT_EQ(answer.kind, DirectKind::response);
    EXPECT_EQ(answer.ticket, n);
    EXPECT_EQ(answer.body, std::to_string(n));
  }
  EXPECT_EQ(host.stop(), End::stopped);
}

TEST(CodeLoopDirect, WhatAHandlerIsToldOfACall) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os\n"
            "def handler(event, context):\n"
            "    trace = os.environ['_X_AMZN_TRACE_ID']\n"
            "    named = trace if 'Root=1-5-a' in trace else [part.split('=')[0] for part in trace.split(';')]\n"
            "    client = context.client_context and context.client_context.custom\n"
            "    left = 0 < context.get_remaining_time_in_millis() <= 20000\n"
            "    return [context.aws_request_id[-4:], context.invoked_function_arn, left, named, client]\n");
  const std::string arn = "\"arn:aws:lambda:us-east-1:000000000000:function:greet\"";
  Direct direct(host);
  ASSERT_TRUE(direct);
  EXPECT_EQ(direct.call(7, "{}").body, R"(["0007", )" + arn + R"(, true, ["Root", "Parent", "Sampled"], null])");
  const std::string said = "Lambda-Runtime-Trace-Id: Root=1-5-a;Parent=b;Sampled=1\r\n"
                           "Lambda-Runtime-Client-Context: {\"custom\":{\"k\":1}}\r\n";
  EXPECT_EQ(direct.call(8, "{}", said).body, R"(["0008", )" + arn + R"(, true, "Root=1-5-a;Parent=b;Sampled=1", {"k": 1}])");
}

TEST(CodeLoopDirect, ErrorsAndLargeAnswers) {
  SKIP_WITHOUT_PYTHON();
  Host host("def handler(event, context):\n"
            "    if event == 'raise': raise ValueError('no such thing')\n"
            "    if event == 'much': raise ValueError('x' * 200000)\n"
            "    return 'x' * event\n", {}, {.response_max = 500'000});
  Direct direct(host);
  ASSERT_TRUE(direct);
  const Answer raised = direct.call(1, "\"raise\"");
  EXPECT_EQ(raised.kind, DirectKind::error);
  EXPECT_TRUE(raised.body.starts_with(R"({"errorMessage": "no such thing", "errorType": "ValueError")")) << raised.body;
  const Answer much = direct.call(2, "\"much\"");
  EXPECT_EQ(much.kind, DirectKind::error);
  EXPECT_LT(much.body.size(), domain::kInlineMax);
  EXPECT_EQ(direct.call(3, "400000").body.size(), 400'002U);
  const Answer beyond = direct.call(4, "500000");
  EXPECT_EQ(beyond.kind, DirectKind::error);
  EXPECT_NE(beyond.body.find("Function.ResponseSizeTooLarge"), std::string::npos) << beyond.body;
  EXPECT_EQ(direct.call(5, "1").body, "\"x\"");
  const Answer bad = direct.call(6, "{");
  EXPECT_NE(bad.body.find("Runtime.UnmarshalError"), std::string::npos) << bad.body;
}

TEST(CodeLoopDirect, WhatIsPrintedFindsItsCall) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os, sys\n"
            "def handler(event, context):\n"
            "    print('call', event)\n"
            "    if event % 2: os.write(2, b'trouble %d\\n' % event)\n"
            "    if event % 5 == 0: sys.stdout.write('no end')\n"
            "    return event\n");
  Direct direct(host);
  ASSERT_TRUE(direct);
  constexpr int kCalls = 200;
  for (std::uint8_t n = 1; n <= kCalls; ++n) EXPECT_EQ(direct.call(n, std::to_string(n)).body, std::to_string(n));
  EXPECT_EQ(host.stop(), End::stopped);
  std::istringstream all(host.log());
  int lines = 0;
  for (std::string line; std::getline(all, line);) {
    const domain::Printed printed = domain::read_printed(line);
    if (printed.stream == domain::Stream::platform) continue;
    ++lines;
    if (printed.text == "no end") EXPECT_EQ(printed.request_low % 5, 0U);
    else EXPECT_TRUE(printed.text.ends_with(" " + std::to_string(printed.request_low))) << printed.text << " of " << printed.request_low;
  }
  EXPECT_EQ(lines, kCalls + kCalls / 2 + kCalls / 5);
}

TEST(CodeLoopDirect, AProgramThatEndsIsAnsweredFor) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os\n"
            "def handler(event, context):\n"
            "    if event == 3:\n"
            "        print('last word', flush=True)\n"
            "        os._exit(5)\n"
            "    return event\n");
  Direct direct(host);
  ASSERT_TRUE(direct);
  for (std::uint8_t n = 1; n <= 2; ++n) EXPECT_EQ(direct.call(n, std::to_string(n)).body, std::to_string(n));
  direct.begin(3, "3");
  const auto reply = host.node().reply();
  ASSERT_TRUE(reply) << host.log();
  EXPECT_EQ(reply->head.ticket, 3U);
  EXPECT_EQ(reply->body, "Runtime.ExitError: exit status 5");
  EXPECT_EQ(reply->head.last, 1);
  EXPECT_EQ(reply->log, "last word\n");
  EXPECT_EQ(host.end(), End::code_ended);
}

TEST(CodeLoopDirect, OneThatIsTooSlowIsEndedWhenItsHostIsTold) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\n"
            "def handler(event, context):\n"
            "    if event == 2: time.sleep(1000)\n"
            "    return event\n");
  Direct direct(host);
  ASSERT_TRUE(direct);
  EXPECT_EQ(direct.call(1, "1").body, "1");
  direct.begin(2, "2", {}, 1500ms);
  EXPECT_FALSE(host.node().reply(1800ms)) << "nobody has woken it";
  host.node().wake();
  const auto reply = host.node().reply();
  ASSERT_TRUE(reply) << host.log();
  EXPECT_EQ(reply->head.ticket, 2U);
  EXPECT_EQ(static_cast<Code>(reply->head.code), Code::deadline_exceeded);
  EXPECT_TRUE(reply->body.starts_with("Task timed out after ")) << reply->body;
  EXPECT_EQ(host.end(), End::given_up);
}

// A host that was woken in the middle of a call has its deadline: it must not count against what comes after it.
TEST(CodeLoopDirect, ADeadlineOfACallThatIsOverEndsNothing) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\n"
            "def handler(event, context):\n"
            "    if event == 1: print('awake', flush=True)\n"
            "    time.sleep(0.2)\n"
            "    return event\n");
  Direct direct(host);
  ASSERT_TRUE(direct);
  direct.begin(1, "1", {}, 1s);
  EXPECT_EQ(direct.answer().body, "1");
  std::uint8_t n = 2;
  for (const Instant end = os::monotonic_now() + 1500ms; os::monotonic_now() < end; ++n)
    EXPECT_EQ(direct.call(n, std::to_string(n)).body, std::to_string(n));
  EXPECT_EQ(host.stop(), End::stopped);
}

TEST(CodeLoopDirect, ToldToStopItAwaitsTheAnswer) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\n"
            "def handler(event, context):\n"
            "    time.sleep(0.3)\n"
            "    return event\n");
  Direct direct(host);
  ASSERT_TRUE(direct);
  direct.begin(1, "1");
  host.node().stop();
  EXPECT_EQ(direct.answer().body, "1");
  host.node().wake();
  EXPECT_EQ(host.end(), End::stopped);
}

TEST(CodeLoopDirect, OnlyARuntimeThatKnowsOfThemTakesThem) {
  EXPECT_TRUE(takes_direct_calls({.arguments = {"/usr/bin/python3", "-c", std::string(domain::kPythonRuntime)}}));
  EXPECT_FALSE(takes_direct_calls({.arguments = {"/usr/bin/python3", "-c", std::string(domain::kPythonRuntime)}, .debug_port = 1}));
  EXPECT_FALSE(takes_direct_calls({.arguments = {"/usr/bin/node", "-e", std::string(domain::kNodeRuntime)}}));
  EXPECT_FALSE(takes_direct_calls({.arguments = {"/var/task/bootstrap"}}));
}

}  // namespace
}  // namespace mayfly::worker
