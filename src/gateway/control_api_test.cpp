// The control API over a real server and sockets, on one loop, with a Control that answers by script.
#include "gateway/control_api.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>

#include "domain/json.h"
#include "gateway/control_json.h"
#include "gateway/http_server.h"
#include "gateway/test_control.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using std::chrono::milliseconds;
const std::string kSha(64, 'b');

struct ScriptedControl final : ControlWithoutLayers {
  std::vector<std::string> calls;                    // what was asked, in order
  std::map<std::uint64_t, std::string> uploads;
  std::vector<control::LogLine> lines;
  control::LogQuery asked;
  std::vector<control::Done<void>> held;             // appends that wait, where hold is set
  bool hold = false, full = false, deleted = false;
  control::DeployOrder order;
  std::vector<domain::Weight> weights;
  WallTime since, until;

  static std::unexpected<Error> unknown(std::string_view function) {
    return fail(Code::not_found, "no function '" + std::string(function) + "'");
  }
  control::FunctionView view() const {
    domain::Version version{.number = 1, .manifest = {.name = "fraud"}};
    return {.function = {.name = "fraud", .versions = {version}, .aliases = {{"live", {{1, 1}}, {}}}}, .stages = {control::Stage::ready}};
  }

  bool has_artifact(std::string_view sha256) override { return sha256 == kSha; }
  Result<std::uint64_t> begin_upload() override {
    if (full) return fail(Code::exhausted, "the disk is full: delete versions");
    calls.push_back("begin");
    return uploads.size() + 1;
  }
  void append_upload(std::uint64_t upload, std::string bytes, control::Done<void> done) override {
    uploads[upload] += bytes;
    if (hold) return held.push_back(std::move(done));
    if (uploads[upload].starts_with("bad")) return done(fail(Code::exhausted, "the disk is full"));
    done({});
  }
  void append_made(std::uint64_t, std::function<Result<std::string>()>, control::Done<void>) override {}
  void fetch_object(control::ObjectName, control::Done<domain::FileRef>) override {}
  void publish_layer(control::LayerOrder, control::Done<domain::LayerVersion>) override {}
  std::vector<domain::LayerVersion> layers(std::string_view) override { return {}; }
  void remove_layer(std::string_view, int, control::Done<void>) override {}
  void set_layer_statement(std::string_view, int, domain::LayerStatement, control::Done<void>) override {}
  void finish_upload(std::uint64_t upload, control::Done<domain::FileRef> done) override {
    calls.push_back("finish");
    done(domain::FileRef{"", kSha, {uploads[upload].size()}});
  }
  void abort_upload(std::uint64_t) override { calls.push_back("abort"); }
  void deploy(control::DeployOrder o, control::Done<control::VersionView> done) override {
    order = std::move(o);
    done(control::VersionView{view().function.versions[0], control::Stage::serving, order.name == "same"});
  }
  std::vector<control::FunctionView> list() override { return {view()}; }
  Result<control::FunctionView> describe(std::string_view function) override {
    if (function != "fraud") return unknown(function);
    return view();
  }
  void remove(std::string_view function, control::Done<void> done) override {
    if (function != "fraud") return done(unknown(function));
    calls.push_back("remove");
    done({});
  }
  void remove_version(std::string_view, int version, control::Done<void> done) override {
    calls.push_back("remove version " + std::to_string(version));
    done(fail(Code::conflict, "alias 'live' names it"));
  }
  void set_alias(std::string_view, std::string_view alias, std::vector<domain::Weight> w, control::Done<domain::Alias> done) override {
    weights = std::move(w);
    done(domain::Alias{std::string(alias), weights, {}});
  }
  void remove_alias(std::string_view, std::string_view alias, control::Done<void> done) override {
    calls.push_back("remove alias " + std::string(alias));
    done({});
  }
  void rollback(std::string_view, std::string_view alias, control::Done<domain::Alias> done) override {
    done(domain::Alias{std::string(alias), {{1, 1}}, {{2, 1}}});
  }
  void set_settings(std::string_view, std::vector<domain::Setting>, control::Done<void> done) override { done({}); }
  void record(std::string_view, std::optional<domain::RecordingPolicy>, control::Done<void> done) override { done({}); }
  void recorded(std::string_view, control::Done<std::string> done) override { done(std::string()); }
  void optimize(std::string_view, int version, domain::OptimizationOrder, control::Done<int> done) override { done(version); }
  void stop_optimization(std::string_view, int, control::Done<void> done) override { done({}); }
  std::vector<control::OptimizationView> optimizations() override { return {}; }
  Result<void> scale(std::string_view function, int instances, bool evict) override {
    if (function != "fraud") return unknown(function);
    calls.push_back("scale " + std::to_string(instances) + (evict ? " evict" : ""));
    return {};
  }
  std::vector<control::BuildView> builds() override { return {}; }
  std::vector<control::InstanceView> instances() override {
    return {{.process = 7, .function = "fraud", .version = 1, .role = "instance"}};
  }
  control::NodeView node() override { return {.version = "0.1.0", .functions = 1}; }
  void usage(std::string_view function, WallTime s, WallTime u, control::Done<control::UsageReport> done) override {
    since = s, until = u;
    done(control::UsageReport{s, u, "USD", {{.function = std::string(function), .invocations = 3}}});
  }
  Result<std::vector<control::LogLine>> logs(std::string_view function, const control::LogQuery& query) override {
    asked = query;
    if (deleted || (!function.empty() && function != "fraud")) return unknown(function);
    std::vector<control::LogLine> found;
    for (const auto& line : lines)
      if (line.sequence > query.after) found.push_back(line);
    if (found.size() > query.count) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(query.count));
    return found;
  }
  Result<domain::Version> resolve(std::string_view function, std::string_view) override { return unknown(function); }
  Result<std::vector<control::VersionStats>> stats(std::string_view) override { return {}; }
  std::string metrics() override { return "mayfly_up 1\n"; }
};

struct Answer {
  int status = 0;
  std::string text;
  Json json() const { return domain::parse_json<Json>(text); }
};

class ControlApiTest : public testing::Test {
 protected:
  ControlApiTest() {
    api.add_routes(router);
    const auto listening = server.listen("127.0.0.1:0");
    if (!listening) throw std::runtime_error(listening.error().message);
  }

  os::Fd open() {
    os::Fd fd = *os::connect_to(server.address());
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    return fd;
  }
  void send(const os::Fd& fd, std::string_view bytes) {
    for (int turns = 0; !bytes.empty() && turns < 2000; ++turns) {
      const os::Moved moved = os::send(fd.get(), bytes);
      if (moved == os::kPeerGone) return;
      if (moved > 0) bytes.remove_prefix(static_cast<std::size_t>(moved));
      loop.turn(milliseconds(1));
    }
  }
  // Until the mark is there ("": the server closed) or two seconds are over.
  std::string read(const os::Fd& fd, std::string_view mark = "") {
    std::string all;
    const Instant end = loop.refresh_now() + std::chrono::seconds(2);
    while (loop.now() < end && (mark.empty() || all.find(mark) == std::string::npos)) {
      loop.turn(milliseconds(1));
      char buffer[65536];
      const os::Moved got = os::receive(fd.get(), buffer);
      if (got == 0 || got == os::kPeerGone) break;
      if (got > 0) all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  Answer ask(const std::string& method, const std::string& path, const std::string& body = "") {
    const os::Fd fd = open();
    send(fd, method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body);
    const std::string all = read(fd);
    const auto head = all.find("\r\n\r\n");
    if (head == std::string::npos) return {0, all};
    return {std::stoi(all.substr(9, 3)), all.substr(head + 4)};
  }

  os::Loop loop = *os::Loop::create();
  Turn turn{.now = {}, .wall = {std::chrono::hours(1000)}};
  ScriptedControl control;
  Router router;
  ControlApi api{control, loop, turn};
  HttpServer server{loop, router};
};

TEST_F(ControlApiTest, UploadsAreStreamedAndNamed) {
  const Answer answer = ask("PUT", "/api/artifacts", std::string(3'000'000, 'm'));
  EXPECT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.json(), Json({{"sha256", kSha}, {"size", 3'000'000}}));
  EXPECT_EQ(control.calls, (std::vector<std::string>{"begin", "finish"}));
  EXPECT_EQ(control.uploads[1].size(), 3'000'000u);
  EXPECT_EQ(ask("HEAD", "/api/artifacts/" + kSha).status, 200);
  EXPECT_EQ(ask("HEAD", "/api/artifacts/" + std::string(64, 'c')).status, 404);
  EXPECT_EQ(ask("HEAD", "/api/artifacts/short").status, 404);
}

TEST_F(ControlApiTest, AnUploadWaitsForTheDisk) {
  control.hold = true;
  const os::Fd fd = open();
  send(fd, "PUT /api/artifacts HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n");
  const std::string piece(1 << 20, 'm');
  std::uint64_t sent = 0;
  for (int i = 0; i < 2000 && sent < 60'000'000; ++i) {
    const os::Moved moved = os::send(fd.get(), std::string_view(piece).substr(0, std::min<std::uint64_t>(piece.size(), 60'000'000 - sent)));
    if (moved > 0) sent += static_cast<std::uint64_t>(moved);
    loop.turn(Duration{});
  }
  EXPECT_LE(control.uploads[1].size(), 5u << 20) << "the server reads ahead of the disk by at most 4 MiB and a piece";
  EXPECT_GT(control.uploads[1].size(), 1u << 20);
  EXPECT_LT(sent, 60'000'000u);
}

TEST_F(ControlApiTest, AnUploadThatFailsOrLeavesIsUndone) {
  EXPECT_EQ(ask("PUT", "/api/artifacts", "bad bytes").status, 429);
  EXPECT_EQ(control.calls.back(), "abort");
  {
    const os::Fd fd = open();
    send(fd, "PUT /api/artifacts HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    for (int i = 0; i < 20; ++i) loop.turn(milliseconds(1));
    EXPECT_EQ(control.calls.back(), "begin");
  }
  for (int i = 0; i < 100 && control.calls.back() != "abort"; ++i) loop.turn(milliseconds(1));
  EXPECT_EQ(control.calls.back(), "abort");
  control.full = true;
  const Answer refused = ask("PUT", "/api/artifacts", "bytes");
  EXPECT_EQ(refused.json()["error"]["message"], "the disk is full: delete versions");
}

TEST_F(ControlApiTest, Deploys) {
  const std::string files = R"("files": [{"path": "m.onnx", "sha256": ")" + kSha + R"(", "size": 7}])";
  const Answer made = ask("POST", "/api/functions", R"({"name": "fraud", )" + files + "}");
  EXPECT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(made.json()["function"], "fraud");
  EXPECT_EQ(made.json()["stage"], "serving");
  EXPECT_EQ(made.json()["unchanged"], false);
  EXPECT_EQ(control.order.alias, "live");
  EXPECT_EQ(ask("POST", "/api/functions", R"({"name": "same", )" + files + "}").status, 200);
  const Answer wrong = ask("POST", "/api/functions", "{}");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.json()["error"]["code"], "invalid_argument");
  EXPECT_EQ(ask("POST", "/api/functions", std::string(kBodyMax + 1, ' ')).status, 413);
}

TEST_F(ControlApiTest, ShowsFunctionsAndVersions) {
  EXPECT_EQ(ask("GET", "/api/functions").json()["functions"][0]["name"], "fraud");
  EXPECT_EQ(ask("GET", "/api/functions/fraud").json()["versions"][0]["stage"], "ready");
  EXPECT_EQ(ask("GET", "/api/functions/fraud/versions").json()["versions"].size(), 1u);
  EXPECT_EQ(ask("GET", "/api/functions/fraud/versions/1").json()["version"], 1);
  const Answer absent = ask("GET", "/api/functions/fraud/versions/3");
  EXPECT_EQ(absent.status, 404);
  EXPECT_EQ(absent.json()["error"]["message"], "function 'fraud' has no version 3: it has 1");
  EXPECT_EQ(ask("GET", "/api/functions/fraud/versions/x").status, 400);
  EXPECT_EQ(ask("GET", "/api/functions/freud").status, 404);
  EXPECT_EQ(ask("GET", "/api/instances").json()["instances"][0]["process"], 7);
  EXPECT_EQ(ask("GET", "/api/node").json()["version"], "0.1.0");
}

TEST_F(ControlApiTest, Changes) {
  const Answer alias =
      ask("PUT", "/api/functions/fraud/aliases/live", R"({"weights": [{"version": 1, "share": 0.9}, {"version": 2, "share": 0.1}]})");
  EXPECT_EQ(alias.status, 200);
  EXPECT_EQ(alias.json()["alias"], "live");
  EXPECT_EQ(control.weights, (std::vector<domain::Weight>{{1, 0.9}, {2, 0.1}}));
  EXPECT_EQ(ask("PUT", "/api/functions/fraud/aliases/live", R"({"weights": [{"version": 1, "share": 0.9}]})").status, 400);
  EXPECT_EQ(ask("DELETE", "/api/functions/fraud/aliases/canary").status, 204);
  EXPECT_EQ(ask("POST", "/api/functions/fraud/rollback").json()["before"][0]["version"], 2);
  EXPECT_EQ(ask("POST", "/api/functions/fraud/rollback", R"({"alias": "canary"})").json()["alias"], "canary");
  EXPECT_EQ(ask("POST", "/api/functions/fraud/scale", R"({"instances": 0, "evict": true})").status, 200);
  EXPECT_EQ(ask("POST", "/api/functions/freud/scale", R"({"instances": 0})").status, 404);
  EXPECT_EQ(ask("DELETE", "/api/functions/fraud/versions/1").status, 409);
  EXPECT_EQ(ask("DELETE", "/api/functions/fraud").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/functions/freud").status, 404);
  EXPECT_EQ(control.calls, (std::vector<std::string>{"remove alias canary", "scale 0 evict", "remove version 1", "remove"}));
}

TEST_F(ControlApiTest, UsageTakesADurationOrATime) {
  EXPECT_EQ(ask("GET", "/api/usage?function=fraud&since=1h").json()["sums"][0]["function"], "fraud");
  EXPECT_EQ(control.until, turn.wall);
  EXPECT_EQ(control.since.since_epoch, turn.wall.since_epoch - std::chrono::hours(1));
  EXPECT_EQ(ask("GET", "/api/usage?since=1970-01-02T00%3A00%3A00%2B00:00&until=1970-01-03T00:00:00Z").status, 200);
  EXPECT_EQ(control.since.since_epoch, std::chrono::hours(24));
  EXPECT_EQ(ask("GET", "/api/usage").status, 200);
  EXPECT_EQ(ask("GET", "/api/usage?since=yesterday").status, 400);
  EXPECT_EQ(ask("GET", "/api/usage?since=1h&until=2h").status, 400);
}

TEST_F(ControlApiTest, LogsAreLinesAndFollowGoesOn) {
  control.lines = {{1, R"({"a":1})"}, {2, R"({"a":2})"}, {3, R"({"a":3})"}};
  EXPECT_EQ(ask("GET", "/api/functions/fraud/logs?after=1&count=1").text, "{\"sequence\":3,\"a\":3}\n");
  EXPECT_EQ(ask("GET", "/api/logs").text, "{\"sequence\":1,\"a\":1}\n{\"sequence\":2,\"a\":2}\n{\"sequence\":3,\"a\":3}\n");
  EXPECT_EQ(ask("GET", "/api/functions/freud/logs").status, 404);
  EXPECT_EQ(ask("GET", "/api/logs?count=x").status, 400);
  EXPECT_EQ(ask("GET", "/api/logs?follow=2").status, 400);

  const os::Fd fd = open();
  send(fd, "GET /api/functions/fraud/logs?follow=1&count=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(read(fd, "\"a\":3}").find("{\"sequence\":3"), std::string::npos);
  control.lines.push_back({9, R"({"a":9})"});
  const std::string more = read(fd, "\"a\":9}");
  EXPECT_NE(more.find("{\"sequence\":9,\"a\":9}"), std::string::npos);
  EXPECT_EQ(more.find("\"a\":3}"), std::string::npos) << "no line comes twice";
  control.deleted = true;
  EXPECT_NE(read(fd, "0\r\n\r\n").find("0\r\n\r\n"), std::string::npos) << "it ends with the function";
}

TEST_F(ControlApiTest, AnAnswerHasTenThousandLinesAtMost) {
  for (std::uint64_t i = 1; i <= 10'001; ++i) control.lines.push_back({i, R"({"a":1})"});
  const Answer all = ask("GET", "/api/logs?count=10000");
  EXPECT_EQ(all.status, 200);
  EXPECT_EQ(std::ranges::count(all.text, '\n'), 10'000);
  EXPECT_TRUE(all.text.starts_with("{\"sequence\":2,"));
  const Answer refused = ask("GET", "/api/logs?count=10001");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json()["error"]["message"], "'count' is '10001': write a whole number from 0 to 10000");
}

TEST_F(ControlApiTest, AnswersThatFollowHaveALimit) {
  control.lines = {{1, R"({"a":1})"}};
  std::vector<os::Fd> followers;
  for (std::size_t i = 0; i < kFollowersMax; ++i) {
    followers.push_back(open());
    send(followers.back(), "GET /api/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_NE(read(followers.back(), "\"a\":1}").find("\"a\":1}"), std::string::npos) << i;
  }
  const Answer refused = ask("GET", "/api/logs?follow=1");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.json()["error"]["message"], "256 answers with follow=1 are open already: close one, or ask without follow");
  EXPECT_EQ(ask("GET", "/api/logs").status, 200);
  control.lines.push_back({2, R"({"a":2})"});
  for (const os::Fd& follower : followers) ASSERT_NE(read(follower, "\"a\":2}").find("\"a\":2}"), std::string::npos);
  followers.pop_back();
  Answer again = refused;
  const Instant end = loop.refresh_now() + std::chrono::seconds(5);
  while (again.status == 429 && loop.now() < end) {  // that one left is noticed when the others are next looked at
    const os::Fd fd = open();
    send(fd, "GET /api/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    again.status = std::stoi(read(fd, "\r\n\r\n").substr(9, 3));
  }
  EXPECT_EQ(again.status, 200);
}

TEST_F(ControlApiTest, AnArtifactHas64GiBAtMost) {
  const os::Fd fd = open();
  send(fd, "PUT /api/artifacts HTTP/1.1\r\nHost: x\r\nContent-Length: 68719476737\r\n\r\n");
  const std::string refused = read(fd);
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 413 ")) << refused;
  EXPECT_NE(refused.find("a body of 68.7 GB; at most 68.7 GB are taken here: send less at a time"), std::string::npos) << refused;
  EXPECT_EQ(control.calls, std::vector<std::string>()) << "nothing of it was begun";
  const os::Fd fits = open();
  send(fits, "PUT /api/artifacts HTTP/1.1\r\nHost: x\r\nContent-Length: 68719476736\r\n\r\nthe first bytes");
  for (int i = 0; i < 1000 && control.uploads.empty(); ++i) loop.turn(milliseconds(1));
  EXPECT_EQ(control.uploads[1], "the first bytes");
  EXPECT_EQ(ask("PUT", "/api/artifacts", "small").status, 200);
}

TEST_F(ControlApiTest, DrainEndsWhatIsFollowed) {
  const os::Fd fd = open();
  send(fd, "GET /api/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(read(fd, "\r\n\r\n"), "");
  api.drain();
  EXPECT_NE(read(fd, "0\r\n\r\n").find("0\r\n\r\n"), std::string::npos);
  EXPECT_EQ(ask("GET", "/api/logs?follow=1").status, 503);
  EXPECT_EQ(ask("GET", "/api/logs").status, 200);
}

}  // namespace
}  // namespace mayfly::gateway
