// The load generator against a real server on the same loop, whose handler answers by script.
#include "app/load.h"

#include <gtest/gtest.h>

#include "gateway/http_server.h"

namespace mayfly::app {
namespace {

using gateway::HttpRequest;
using gateway::Method;
using gateway::Responder;
using std::chrono::milliseconds;

class LoadTest : public testing::Test {
 protected:
  void serve(gateway::Handler handler) {
    router.add(Method::post, "/f", std::move(handler), 1000);
    const auto listening = server.listen("127.0.0.1:0");
    if (!listening) throw std::runtime_error(listening.error().message);
    plan.address = *parse_url("http://" + server.address());
    plan.request = "POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
  }
  LoadReport run() {
    Load load(loop, plan, [this](const LoadReport&, Duration) { ++seconds; });
    auto report = load.run();
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(LoadReport{});
  }

  os::Loop loop = *os::Loop::create();
  gateway::Router router;
  gateway::HttpServer server{loop, router};
  LoadPlan plan{.connections = 4, .duration = milliseconds(300), .timeout = milliseconds(400)};
  int seconds = 0;
};

TEST_F(LoadTest, ClosedLoopStopsAtItsCount) {
  int served = 0;
  serve([&](HttpRequest&, Responder to) {
    ++served;
    to.send({.body = "{}", .headers = {{"X-Mayfly-Cold", served == 1 ? "artifact" : "warm"}}});
  });
  plan.requests_max = 100;
  plan.duration = std::chrono::seconds(10);
  const LoadReport report = run();
  EXPECT_EQ(served, 100);
  EXPECT_EQ(report.sent, 100u);
  EXPECT_EQ(report.latency.count(), 100u);
  EXPECT_EQ(report.errors_count(), 0u);
  EXPECT_EQ(report.cold, (std::map<std::string, std::uint64_t>{{"artifact", 1}}));
}

TEST_F(LoadTest, TheWarmUpIsNotCounted) {
  serve([&](HttpRequest&, Responder to) { loop.after(milliseconds(10), [to] { to.send({.body = "{}"}); }); });
  plan.warmup = milliseconds(200);
  const LoadReport report = run();
  EXPECT_GT(report.answered, report.latency.count());
  EXPECT_GT(report.latency.count(), 0u);
  EXPECT_GE(report.latency.min(), milliseconds(10));
  EXPECT_LE(report.measured, milliseconds(400));
}

TEST_F(LoadTest, ErrorsAreCountedByStatusAndTheFirstIsKept) {
  int served = 0;
  serve([&](HttpRequest&, Responder to) {
    if (++served % 2 == 0) return to.fail({Code::exhausted, "the queue is full"});
    to.send({.body = "{}"});
  });
  plan.requests_max = 50;
  const LoadReport report = run();
  EXPECT_EQ(report.errors, (std::map<std::string, std::uint64_t>{{"status 429", 25}}));
  EXPECT_NE(report.first_error.find("the queue is full"), std::string::npos);
  EXPECT_EQ(report.latency.count(), 25u);
}

TEST_F(LoadTest, ARequestWithoutAnAnswerTimesOutAndTheLoadGoesOn) {
  int served = 0;
  std::vector<Responder> forgotten;
  serve([&](HttpRequest&, Responder to) {
    if (++served == 1) return forgotten.push_back(to);
    loop.after(milliseconds(5), [to] { to.send({.body = "{}"}); });
  });
  plan.connections = 2;
  plan.duration = milliseconds(800);
  plan.timeout = milliseconds(200);
  const LoadReport report = run();
  EXPECT_EQ(report.errors, (std::map<std::string, std::uint64_t>{{"timeout", 1}}));
  EXPECT_GT(report.latency.count(), 10u);
}

TEST_F(LoadTest, OpenLoopKeepsItsRateAndBlamesTheStall) {
  int served = 0;
  serve([&](HttpRequest&, Responder to) {
    // The 20th answer stalls everything for 150 ms: those that were due meanwhile are late, though each is answered quickly.
    if (++served == 20) loop.after(milliseconds(150), [to] { to.send({.body = "{}"}); });
    else to.send({.body = "{}"});
  });
  plan.connections = 1;
  plan.rate = 200;
  plan.duration = milliseconds(500);
  const LoadReport report = run();
  EXPECT_GE(report.sent, 95u);
  EXPECT_LE(report.sent, 100u);
  EXPECT_EQ(report.sent + report.unsent, 100u);
  EXPECT_GT(report.latency.quantile(0.85), milliseconds(50)) << "about 30 of 100 were due during the stall";
  EXPECT_LT(report.latency.quantile(0.3), milliseconds(50));
}

TEST_F(LoadTest, OpenLoopSaysWhatItCouldNotSend) {
  serve([&](HttpRequest&, Responder to) { loop.after(milliseconds(100), [to] { to.send({.body = "{}"}); }); });
  plan.connections = 1;
  plan.rate = 100;
  const LoadReport report = run();
  EXPECT_EQ(report.sent + report.unsent, 30u);
  EXPECT_GE(report.unsent, 20u);
}

TEST_F(LoadTest, NobodyListens) {
  plan.address = *parse_url("http://127.0.0.1:1");
  Load load(loop, plan, [](const LoadReport&, Duration) {});
  const auto report = load.run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::unavailable);
}

}  // namespace
}  // namespace mayfly::app
