// What becomes of what a program prints: whose it is, in the log and beside a reply.
#include <gtest/gtest.h>

#include <sstream>
#include <vector>

#include "domain/printed.h"
#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

struct Line {
  std::string text;
  domain::Stream stream;
  std::uint64_t id;
};

// The program's own, as the node reads them.
std::vector<Line> lines_of(const std::string& log) {
  std::vector<Line> lines;
  std::istringstream all(log);
  for (std::string line; std::getline(all, line);)
    if (const domain::Printed printed = domain::read_printed(line); printed.stream != domain::Stream::platform) {
      EXPECT_GT(printed.pid, 0);
      EXPECT_GT(printed.time.since_epoch.count(), 0);
      lines.push_back({std::string(printed.text), printed.stream, printed.request_low});
    }
  return lines;
}

std::string text_of(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) text += std::string(domain::name(line.stream)) + " " + std::to_string(line.id) + " " + line.text + "\n";
  return text;
}

TEST(CodeLog, EachLineIsItsCallsOnItsStream) {
  SKIP_WITHOUT_PYTHON();
  Host host("import sys\n"
            "print('at import')\n"
            "def handler(event, context):\n"
            "    print('call', event)\n"
            "    print('trouble', event, file=sys.stderr)\n"
            "    sys.stdout.write('no end')\n"
            "    return event\n");
  ASSERT_TRUE(host.becomes_ready());
  for (std::uint8_t n = 1; n <= 20; ++n)
    EXPECT_EQ(host.call({.ticket = n, .body = std::to_string(n), .id = n}).body, std::to_string(n));
  EXPECT_EQ(host.stop(), End::stopped);
  const auto lines = lines_of(host.log());
  ASSERT_EQ(lines.size(), 61U) << text_of(lines);
  EXPECT_EQ(lines[0].text, "at import");
  EXPECT_EQ(lines[0].id, 0U) << "of no call";
  for (std::uint64_t n = 1; n <= 20; ++n) {
    std::string own;
    for (const Line& line : lines)
      if (line.id == n) own += std::string(domain::name(line.stream)) + " " + line.text + "\n";
    EXPECT_NE(own.find("stdout call " + std::to_string(n) + "\n"), std::string::npos) << text_of(lines);
    EXPECT_NE(own.find("stderr trouble " + std::to_string(n) + "\n"), std::string::npos) << text_of(lines);
    EXPECT_NE(own.find("stdout no end\n"), std::string::npos) << text_of(lines);
  }
}

TEST(CodeLog, WhoWantsItGetsTheCallsLinesAndNobodyElse) {
  SKIP_WITHOUT_PYTHON();
  Host host("print('at import')\n"
            "def handler(event, context):\n"
            "    print('call', event)\n"
            "    return event if event != 9 else 'x' * 200000\n");
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).log, "");
  EXPECT_EQ(host.call({.ticket = 2, .body = "2", .wants_log = true}).log, "call 2\n");
  EXPECT_EQ(host.call({.ticket = 3, .body = "3", .wants_log = true}).log, "call 3\n") << "and not of the one before";
  const TestReply large = host.call({.ticket = 9, .body = "9", .wants_log = true});
  EXPECT_EQ(large.head.in_memfd, 1);
  EXPECT_EQ(large.body.size(), 200'002U);
  EXPECT_EQ(large.log, "call 9\n");
}

TEST(CodeLog, OfMuchItHasTheLastFourKibibytesInWholeLines) {
  SKIP_WITHOUT_PYTHON();
  Host host("def handler(event, context):\n"
            "    for n in range(event): print('line', n)\n"
            "    return 1\n");
  ASSERT_TRUE(host.becomes_ready());
  const TestReply reply = host.call({.ticket = 1, .body = "100000", .wants_log = true});
  EXPECT_LE(reply.log.size(), domain::kLastLinesMax);
  EXPECT_GT(reply.log.size(), domain::kLastLinesMax - 20);
  EXPECT_TRUE(reply.log.starts_with("line ")) << reply.log.substr(0, 40);
  EXPECT_TRUE(reply.log.ends_with("\nline 99999\n")) << reply.log.substr(reply.log.size() - 40);
}

TEST(CodeLog, AProgramThatEndsLeavesItsLastLines) {
  SKIP_WITHOUT_PYTHON();
  Host host("import os, sys\n"
            "def handler(event, context):\n"
            "    print('about to end')\n"
            "    sys.stderr.write('last word')\n"
            "    sys.stderr.flush()\n"
            "    os._exit(3)\n");
  ASSERT_TRUE(host.becomes_ready());
  const TestReply reply = host.call({.ticket = 1, .body = "1"});
  EXPECT_EQ(reply.body, "Runtime.ExitError: exit status 3");
  EXPECT_EQ(reply.head.last, 1);
  EXPECT_NE(reply.log.find("about to end\n"), std::string::npos) << reply.log;
}

TEST(CodeLog, AStartThatFailsLeavesThem) {
  SKIP_WITHOUT_PYTHON();
  Host host("print('so far so good')\nimport nowhere\n");
  const auto start = host.told_of_start();
  ASSERT_TRUE(start && !start->ready);
  EXPECT_TRUE(start->failure.starts_with("Runtime.ImportModuleError")) << start->failure;
  EXPECT_NE(start->log.find("so far so good\n"), std::string::npos) << start->log;
  EXPECT_NE(start->log.find("No module named 'nowhere'"), std::string::npos) << start->log;
}

TEST(CodeLog, ACallThatTakesTooLongLeavesThem) {
  SKIP_WITHOUT_PYTHON();
  Host host("import time\n"
            "def handler(event, context):\n"
            "    print('waiting')\n"
            "    time.sleep(1000)\n");
  ASSERT_TRUE(host.becomes_ready());
  const TestReply reply = host.call(
      {.ticket = 1, .body = "1", .deadline_ns = static_cast<std::uint64_t>((os::monotonic_now() + 2s).since_boot.count())});
  EXPECT_EQ(static_cast<Code>(reply.head.code), Code::deadline_exceeded);
  EXPECT_TRUE(reply.body.starts_with("Task timed out after 2.")) << reply.body;
  EXPECT_EQ(reply.log, "waiting\n");
}

}  // namespace
}  // namespace mayfly::worker
