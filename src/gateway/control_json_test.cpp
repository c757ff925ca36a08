#include "gateway/control_json.h"

#include <gtest/gtest.h>

#include "domain/working_set.h"

namespace mayfly::gateway {
namespace {

WallTime at(std::int64_t us) { return {std::chrono::microseconds(us)}; }

TEST(Rfc3339, WritesAndReads) {
  EXPECT_EQ(to_rfc3339(at(0)), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_rfc3339(at(1'795'499'163'000'042)), "2026-11-24T05:46:03.000042Z");
  for (const std::int64_t us :
       {std::int64_t{0}, std::int64_t{951'782'400'000'000}, std::int64_t{1'795'499'163'000'042}, std::int64_t{4'102'444'799'999'999}})
    EXPECT_EQ(parse_rfc3339(to_rfc3339(at(us))).value(), at(us));
  EXPECT_EQ(parse_rfc3339("2026-11-24T06:46:03+01:00").value(), at(1'795'499'163'000'000));
  EXPECT_EQ(parse_rfc3339("2026-11-24t05:46:03.5z").value(), at(1'795'499'163'500'000));
  EXPECT_EQ(parse_rfc3339("2026-11-24T00:16:03-05:30").value(), at(1'795'499'163'000'000));
}

TEST(Rfc3339, RefusesEverythingElse) {
  for (const char* text : {"", "2026", "2026-11-24", "2026-11-24T05:46:03", "2026-13-24T05:46:03Z", "2026-02-30T05:46:03Z",
                           "2026-11-24T25:46:03Z", "2026-11-24T05:46:03.Z", "2026-11-24T05:46:03+1", "2026-11-24T05:46:03Zx",
                           "9999999999999-11-24T05:46:03Z", "2026-11-24T05:-6:03Z", "2026-11-24T05:46:03+xx:00"}) {
    EXPECT_FALSE(parse_rfc3339(text)) << text;
  }
}

TEST(Time, IsADurationBackOrATime) {
  const WallTime now = at(10'000'000'000);
  EXPECT_EQ(parse_time("1h", now).value(), at(6'400'000'000));
  EXPECT_EQ(parse_time("9000d", now).value(), at(0));
  EXPECT_EQ(parse_time("1970-01-01T00:00:01Z", now).value(), at(1'000'000));
  const auto wrong = parse_time("yesterday", now);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("'yesterday'"), std::string::npos);
}

TEST(Body, IsAnObjectOfKnownKeysWithinLimits) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "not JSON"},
      {"{", "not JSON"},
      {"[]", "array"},
      {R"({"ailas": 1})", "unknown key 'ailas': known are 'alias'"},
      {std::string(20, '[') + std::string(20, ']'), "20 levels"},
      {std::string(kBodyMax + 1, ' '), "at most 1048576"},
  };
  for (const auto& [body, says] : cases) {
    const auto json = parse_body(body, {"alias"});
    ASSERT_FALSE(json) << body.substr(0, 40);
    EXPECT_EQ(json.error().code, Code::invalid_argument);
    EXPECT_NE(json.error().message.find(says), std::string::npos) << json.error().message;
  }
  EXPECT_TRUE(parse_body(R"({"alias": "[[[[[[[[[[[[[[[[[[[[[[\"[["})", {"alias"})) << "brackets in a string are no depth";
}

const std::string kSha(64, 'a');

TEST(Deploy, ReadsAnOrder) {
  const auto order = parse_deploy(R"({"name": "fraud", "manifest": "task: raw", "files": [{"path": "m.onnx", "sha256": ")" + kSha +
                                  R"(", "size": 7}], "force": true})");
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(order->name, "fraud");
  EXPECT_EQ(order->manifest, "task: raw");
  EXPECT_EQ(order->alias, "live");
  EXPECT_TRUE(order->force);
  EXPECT_EQ(order->files, (std::vector<domain::FileRef>{{"m.onnx", kSha, {7}}}));
  EXPECT_EQ(parse_deploy(R"({"files": [{"path": "m", "sha256": ")" + kSha + R"("}], "alias": null})")->alias, std::nullopt);
}

TEST(Deploy, RefusesWithWhatToWrite) {
  const std::string file = R"({"path": "m", "sha256": ")" + kSha + R"("})";
  const std::pair<std::string, const char*> cases[] = {
      {R"({})", "'files' is missing"},
      {R"({"files": []})", "'files' is missing or empty"},
      {R"({"files": [1]})", "files[0] is 1"},
      {R"({"files": [{"path": "m", "sha256": "ABC"}]})", "files[0].sha256 is 'ABC'"},
      {R"({"files": [{"path": "m", "sha256": ")" + kSha + R"(", "size": -1}]})", "files[0].size is -1"},
      {R"({"files": [)" + file + R"(], "force": 1})", "'force' is 1"},
      {R"({"files": [)" + file + R"(], "name": 1})", "'name' is 1"},
      {R"({"files": [)" + file + R"(], "alias": 1})", "'alias' is 1"},
  };
  for (const auto& [body, says] : cases) {
    const auto order = parse_deploy(body);
    ASSERT_FALSE(order) << body;
    EXPECT_NE(order.error().message.find(says), std::string::npos) << order.error().message;
  }
}

TEST(Weights, MustAddUp) {
  EXPECT_EQ(parse_weights(R"({"weights": [{"version": 1, "share": 0.9}, {"version": 2, "share": 0.1}]})").value(),
            (std::vector<domain::Weight>{{1, 0.9}, {2, 0.1}}));
  EXPECT_EQ(parse_weights(R"({"weights": [{"version": 4}]})").value(), (std::vector<domain::Weight>{{4, 1}}));
  for (const char* list : {"[]", "1", "[1]", R"([{"version": 0}])", R"([{"version": 1.5}])", R"([{"version": 99999999999}])",
                           R"([{"version": 1, "share": 0.5}])", R"([{"version": 1, "share": -1}, {"version": 2, "share": 2}])",
                           R"([{"version": 1}, {"version": 2}])", R"([{"version": 1, "share": "x"}])"})
    EXPECT_FALSE(parse_weights(std::string(R"({"weights": )") + list + "}")) << list;
}

TEST(Scale, ReadsAnOrder) {
  EXPECT_EQ(parse_scale(R"({"instances": 3})")->instances, 3);
  EXPECT_TRUE(parse_scale(R"({"instances": 0, "evict": true})")->evict);
  for (const char* body : {"{}", R"({"instances": -1})", R"({"instances": 1001})", R"({"instances": 1.5})",
                           R"({"instances": 1, "evict": true})", R"({"instances": "1"})"})
    EXPECT_FALSE(parse_scale(body)) << body;
  EXPECT_EQ(parse_rollback("").value(), "live");
  EXPECT_EQ(parse_rollback(R"({"alias": "canary"})").value(), "canary");
}

domain::Version a_version() {
  domain::Version version{.number = 2, .created = at(1'795'499'163'000'000)};
  version.files = {{"m.onnx", kSha, {100}}, {"w.bin", kSha, {20}}};
  version.signature = {
      .inputs = {{"input", domain::Datatype::fp32, {-1, 30}}}, .outputs = {{"label", domain::Datatype::int64, {-1}}}, .batches = true};
  return version;
}

TEST(Json, OfAVersion) {
  domain::Version version = a_version();
  Json json = to_json("fraud", version, control::Stage::serving);
  EXPECT_EQ(json["function"], "fraud");
  EXPECT_EQ(json["version"], 2);
  EXPECT_EQ(json["stage"], "serving");
  EXPECT_EQ(json["created"], "2026-11-24T05:46:03.000000Z");
  EXPECT_EQ(json["size"], 120);
  EXPECT_TRUE(json["compiled"].is_null());
  EXPECT_FALSE(json.contains("compile_error"));
  EXPECT_EQ(
      json["signature"],
      Json::parse(
          R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 30]}], )"
                                   R"("outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}], "batches": true})"));
  EXPECT_TRUE(json["manifest"].is_object());
  version.compiled =
      domain::Compiled{.key = "k", .sha256 = kSha, .size = {5}, .compile_ns = 41'500'000, .tuning = {.cold_first_ns = 20'000'000}};
  version.compile_error = "why";
  json = to_json("fraud", version, control::Stage::ready);
  EXPECT_EQ(json["compiled"]["compile_ms"], 41.5);
  EXPECT_EQ(json["compiled"]["tuning"]["cold_first_ms"], 20.0);
  EXPECT_EQ(json["compile_error"], "why");
  EXPECT_TRUE(json["compiled"]["tuning"]["working_set"].is_null()) << "not known";
  EXPECT_FALSE(json.contains("weights_note"));
  version.manifest.resources.memory = {4};
  version.compiled->tuning.working_set = domain::to_text(domain::working_set_of(1 << 20, {{0, 1}, {1 << 19, 1}}));
  json = to_json("fraud", version, control::Stage::ready);
  EXPECT_EQ(json["compiled"]["tuning"]["working_set"], Json::parse(R"({"size": 131072, "ranges": 2})"));
  EXPECT_NE(json["weights_note"].get<std::string>().find("larger than its memory"), std::string::npos);
}

TEST(Json, OfAFunctionWholeAndInShort) {
  control::FunctionView view{.function = {.name = "fraud", .versions = {a_version()}, .aliases = {{"live", {{2, 1}}, {}}}},
                             .stages = {control::Stage::ready},
                             .instances = 1};
  view.decisions = {{.at = at(0), .version = 2, .before = 0, .after = 1, .reason = "one waited"}};
  view.cold_starts = {{.at = at(0), .version = 2, .origin = "fork", .total = std::chrono::microseconds(2500)},
                      {.prefetched = {7}, .first_answer = std::chrono::microseconds(9500)}};
  const Json brief = summary_to_json(view);
  EXPECT_EQ(brief["latest"], 2);
  EXPECT_EQ(brief["stage"], "ready");
  EXPECT_EQ(brief["aliases"], Json::parse(R"([{"name": "live", "weights": [{"version": 2, "share": 1.0}], "before": []}])"));
  EXPECT_FALSE(brief.contains("versions"));
  const Json whole = to_json(view);
  EXPECT_EQ(whole["versions"].size(), 1u);
  EXPECT_EQ(whole["decisions"][0]["reason"], "one waited");
  EXPECT_EQ(whole["cold_starts"][0]["total_ms"], 2.5);
  EXPECT_TRUE(whole["cold_starts"][0]["first_answer_ms"].is_null()) << "none yet";
  EXPECT_EQ(whole["cold_starts"][1]["first_answer_ms"], 9.5);
  EXPECT_EQ(whole["cold_starts"][1]["prefetched"], 7);
  EXPECT_TRUE(summary_to_json({})["latest"].is_null());
}

TEST(Json, OfAnErrorAndUsage) {
  EXPECT_EQ(to_json(Error{Code::not_found, "no"}).dump(), R"({"error":{"code":"not_found","message":"no"}})");
  const Json report = to_json(
      control::UsageReport{.since = at(0),
                           .until = at(1),
                           .currency = "USD",
                           .sums = {{.function = "f", .version = 1, .invocations = 3, .queue_mean = std::chrono::microseconds(7)}}});
  EXPECT_EQ(report["currency"], "USD");
  EXPECT_EQ(report["sums"][0]["invocations"], 3);
  EXPECT_EQ(report["sums"][0]["queue_mean_us"], 7);
}

TEST(Json, OfALogLineCarriesItsSequence) {
  EXPECT_EQ(to_json_line({12, R"({"a":1})"}), R"({"sequence":12,"a":1})");
  EXPECT_EQ(to_json_line({12, "{ }"}), R"({"sequence":12})");
  EXPECT_EQ(to_json_line({12, ""}), R"({"sequence":12})");
}

}  // namespace
}  // namespace mayfly::gateway
