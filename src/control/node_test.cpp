#include <gtest/gtest.h>

#include "control/test_node.h"
#include "domain/settings.h"
#include "store/test_folder.h"

namespace mayfly::control {
namespace {

using namespace std::chrono_literals;

class NodeTest : public testing::Test {
 protected:
  void SetUp() override { restart(); }
  // Without a farewell: what an earlier node had under way is gone.
  void restart() {
    node.reset();
    node = std::make_unique<TestNode>(turn, options);
  }
  DeployOrder order(const std::string& name, const std::string& bytes = "a model") {
    return {.name = name, .manifest = "", .files = {node->upload("model.onnx", bytes)}};
  }
  Stage stage_in_view(const std::string& name) { return (*node)->describe(name)->stages.back(); }

  store::TestFolder folder;
  Turn turn{{1h}, {std::chrono::hours(480'000)}};
  TestNodeOptions options{.folder = folder};
  std::unique_ptr<TestNode> node;
};

TEST_F(NodeTest, ADeployServesAtOnceAndIsReadyOnceCompiledAndMeasured) {
  const auto deployed = node->deploy(order("fraud"));
  ASSERT_TRUE(deployed) << deployed.error().message;
  EXPECT_EQ(deployed->version.number, 1);
  EXPECT_EQ(deployed->stage, Stage::compiling);
  EXPECT_TRUE((*node)->resolve("fraud", ""));
  node->play(10s);
  const auto view = (*node)->describe("fraud");
  EXPECT_EQ(view->stages, std::vector{Stage::ready});
  EXPECT_EQ(view->function.versions[0].compiled->tuning.cold_first_ns, 20'000'000u);
}

TEST_F(NodeTest, AnUnchangedDeploySaysTheStageThatTheViewSays) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  const auto soon = node->deploy(order("fraud"));
  EXPECT_TRUE(soon->unchanged);
  EXPECT_EQ(soon->stage, stage_in_view("fraud"));
  node->play(10s);
  EXPECT_EQ(node->deploy(order("fraud"))->stage, Stage::ready);

  options.node.compile_key = "engine/another-machine";
  restart();
  EXPECT_EQ(stage_in_view("fraud"), Stage::serving);
  const auto elsewhere = node->deploy(order("fraud"));
  EXPECT_TRUE(elsewhere->unchanged);
  EXPECT_EQ(elsewhere->stage, Stage::compiling);  // a deploy that waits for `ready` must not wait for a first call
  node->play(10s);
  EXPECT_EQ(stage_in_view("fraud"), Stage::ready);
}

TEST_F(NodeTest, TheSameModelIsCheckedCompiledAndMeasuredOnce) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  ASSERT_EQ(node->deploy(order("joins"))->stage, Stage::compiling);
  node->play(10s);
  EXPECT_EQ(stage_in_view("fraud"), Stage::ready);
  EXPECT_EQ(stage_in_view("joins"), Stage::ready);
  EXPECT_EQ(node->deploy(order("later"))->stage, Stage::ready);
  const auto started = [&](domain::Role role) { return node->launcher().started[role]; };
  EXPECT_EQ(started(domain::Role::check), 1);
  EXPECT_EQ(started(domain::Role::compile), 1);
  EXPECT_EQ(started(domain::Role::tune), 1);
  const auto later = (*node)->describe("later")->function.versions[0];
  EXPECT_EQ(later.compiled, (*node)->describe("fraud")->function.versions[0].compiled);
  EXPECT_EQ(later.signature, (*node)->describe("fraud")->function.versions[0].signature);

  DeployOrder larger = order("larger");
  larger.manifest = "resources: {cpu: 2}";
  EXPECT_EQ(node->deploy(std::move(larger))->stage, Stage::tuning) << "how it runs depends on what it may use";
  node->play(10s);
  EXPECT_EQ(stage_in_view("larger"), Stage::ready);
  EXPECT_EQ(started(domain::Role::compile), 1);
  EXPECT_EQ(started(domain::Role::tune), 2);

  ASSERT_TRUE(node->deploy(order("other", "another model")));
  node->play(10s);
  EXPECT_EQ(started(domain::Role::check), 2);
  EXPECT_EQ(started(domain::Role::compile), 2);

  options.node.compile_key = "engine/another-machine";
  restart();
  for (const char* name : {"fraud", "joins", "later"}) ASSERT_TRUE(node->call(name).ok);
  node->play(10s);
  EXPECT_EQ(stage_in_view("later"), Stage::ready);
  EXPECT_EQ(started(domain::Role::compile), 1);
}

TEST_F(NodeTest, WhoCompilesMayBeDeletedMeanwhile) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  ASSERT_TRUE(node->deploy(order("joins")));
  ASSERT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->remove("fraud", std::move(done)); }));
  ASSERT_EQ(stage_in_view("joins"), Stage::compiling);
  node->play(10s);
  EXPECT_EQ(stage_in_view("joins"), Stage::ready);
  ASSERT_TRUE(node->call("joins").ok);
}

TEST_F(NodeTest, InstancesOfTheModelAsUploadedGiveWayToTheCompiledOne) {
  DeployOrder kept = order("fraud");
  kept.manifest = "scaling: {min: 2}";
  ASSERT_TRUE(node->deploy(std::move(kept)));
  ASSERT_TRUE(node->call("fraud").ok);
  EXPECT_EQ((*node)->instances()[0].origin, "upload");
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(node->call("fraud").ok);  // nobody notices
    node->play(10ms);
    EXPECT_LE(node->launcher().fake.alive(), 2u + 1 + 1 + 1) << "two, a successor, one that drains, and a job or a template";
  }
  int instances = 0;
  for (const InstanceView& view : (*node)->instances()) {
    instances += view.role == "instance";
    EXPECT_NE(view.origin, "upload");
  }
  EXPECT_EQ(instances, 2);
}

TEST_F(NodeTest, CodeServesAsItIs) {
  DeployOrder code{.name = "hello", .manifest = "{runtime: python3.11, handler: app.main, scaling: {min: 1}}",
                   .files = {node->upload("app.py", "def main(event, context): return event")}};
  const auto deployed = node->deploy(code);
  ASSERT_TRUE(deployed) << deployed.error().message;
  EXPECT_EQ(deployed->stage, Stage::ready);
  ASSERT_TRUE(node->call("hello").ok);
  node->play(10s);
  EXPECT_EQ(node->launcher().started, (std::map<domain::Role, int>{{domain::Role::code, 1}, {domain::Role::code_template, 1}}))
      << "nothing is checked, compiled or measured; what has answered gets a template";
  EXPECT_EQ((*node)->describe("hello")->templates, 1);

  code.manifest = "{runtime: python3.11, handler: other.main}";
  EXPECT_EQ(node->deploy(code).error().message,
            "the handler other.main wants 'other.py', which is not in the package: add it, or name another handler");
  code.manifest = "runtime: provided";
  EXPECT_EQ(node->deploy(code).error().message, "runtime provided runs the file 'bootstrap', which is not there: add it");
  code.name.clear();
  code.manifest = "{runtime: python3.11, handler: app.main}";
  EXPECT_NE(node->deploy(code).error().message.find("--name"), std::string::npos);
}

TEST_F(NodeTest, AnArchiveIsForCodeAndStandsAlone) {
  domain::FileRef archive = node->upload("app.zip", "not looked at here");
  archive.archive = true;
  DeployOrder code{.name = "zipped", .manifest = "task: raw", .files = {archive}};
  EXPECT_NE(node->deploy(code).error().message.find("an archive is for code"), std::string::npos);
  code.manifest = "{runtime: python3.11, handler: app.main}";
  code.files.push_back(node->upload("app.py", "def main(event, context): return event"));
  EXPECT_NE(node->deploy(code).error().message.find("an archive stands alone"), std::string::npos);
  // What the fake sandbox unpacks is an empty folder: once, whoever asks for it.
  for (int i = 0; i < 2; ++i) {
    code.files = i == 0 ? std::vector{archive} : std::vector<domain::FileRef>{};
    if (i == 1) code.archive = archive;
    EXPECT_NE(node->deploy(code).error().message.find("wants 'app.py', which is not in the package"), std::string::npos);
  }
  EXPECT_EQ(node->launcher().started, (std::map<domain::Role, int>{{domain::Role::unpack, 1}}));
}

TEST_F(NodeTest, WhatCanNotBeCompiledServesAndSaysWhy) {
  node->launcher().compiles = false;
  ASSERT_TRUE(node->deploy(order("fraud")));
  node->play(10s);
  const auto again = node->deploy(order("fraud"));
  EXPECT_EQ(again->stage, Stage::serving);
  EXPECT_EQ(again->stage, stage_in_view("fraud"));
  EXPECT_NE(again->version.compile_error.find("was not kept"), std::string::npos) << again->version.compile_error;
}

TEST_F(NodeTest, AMeasurementThatACrashCutShortIsMadeUpFor) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  for (int i = 0; i < 10'000 && stage_in_view("fraud") != Stage::tuning; ++i) node->play(1ms);
  ASSERT_EQ(stage_in_view("fraud"), Stage::tuning);
  restart();
  EXPECT_EQ((*node)->describe("fraud")->function.versions[0].compiled->tuning.cold_first_ns, 0u);
  ASSERT_TRUE((*node)->scale("fraud", 1, false));  // the first use
  node->poke();
  node->play(10s);
  EXPECT_EQ((*node)->describe("fraud")->function.versions[0].compiled->tuning.cold_first_ns, 20'000'000u);
}

TEST_F(NodeTest, ADeployThatCanNotBeMeantIsRefusedBeforeAnythingRuns) {
  const auto refusal = [&](const std::function<void(DeployOrder&)>& change) {
    DeployOrder wrong = order("fraud");
    change(wrong);
    const auto deployed = node->deploy(std::move(wrong));
    return deployed ? "accepted" : deployed.error().message;
  };
  EXPECT_NE(refusal([](DeployOrder& o) { o.files[0].path = "../model.onnx"; }).find("leads out of the folder"), std::string::npos);
  EXPECT_NE(refusal([](DeployOrder& o) { o.files.push_back(o.files[0]); }).find("is named twice"), std::string::npos);
  EXPECT_NE(refusal([](DeployOrder& o) { o.files.clear(); }).find("0 files"), std::string::npos);
  EXPECT_NE(refusal([](DeployOrder& o) { o.files[0].sha256 = std::string(64, 'a'); }).find("upload it first"), std::string::npos);
  EXPECT_NE(refusal([](DeployOrder& o) { o.alias = "12"; }).find("not a number alone"), std::string::npos);
  EXPECT_NE(refusal([](DeployOrder& o) { o.name = "Fraud!"; }).find("not a function name"), std::string::npos);
  EXPECT_TRUE((*node)->list().empty());
}

TEST_F(NodeTest, WhatTheCheckSaysIsToldAndKept) {
  node->launcher().fake.set({.job_result = test_job_result(false, R"(["it draws random numbers"])")});
  const auto deployed = node->deploy(order("dice"));
  EXPECT_EQ(deployed->version.notes, std::vector<std::string>{"it draws random numbers"});
  node->launcher().fake.set({.job_result = test_job_result(true)});  // the measurement has nothing against a template
  node->play(10s);
  restart();
  EXPECT_EQ((*node)->describe("dice")->function.versions[0].notes, deployed->version.notes);
  EXPECT_TRUE((*node)->describe("dice")->function.versions[0].compiled->tuning.template_allowed);
  ASSERT_TRUE(node->call("dice").ok);
  node->play(10s);
  EXPECT_EQ((*node)->describe("dice")->templates, 0);

  ASSERT_TRUE(node->deploy(order("fraud", "another model")));
  node->play(10s);
  ASSERT_TRUE(node->call("fraud").ok);
  node->play(10s);
  EXPECT_EQ((*node)->describe("fraud")->templates, 1);
}

// Both are checked against what is in memory and are then on their way to the disk, in this order.
TEST_F(NodeTest, AnAliasNeverComesToNameAVersionThatGoes) {
  ASSERT_TRUE(node->deploy(order("fraud", "first")));
  ASSERT_TRUE(node->deploy(order("fraud", "second")));
  std::optional<Result<void>> removed;
  std::optional<Result<domain::Alias>> moved;
  (*node)->set_alias("fraud", "live", {{1, 1}}, [&](Result<domain::Alias> alias) { moved = std::move(alias); });
  (*node)->remove_version("fraud", 1, [&](Result<void> result) { removed = std::move(result); });
  node->play(1s);
  EXPECT_TRUE(moved.value());
  EXPECT_EQ(removed.value().error().code, Code::conflict);

  (*node)->remove_version("fraud", 2, [&](Result<void> result) { removed = std::move(result); });
  (*node)->rollback("fraud", "live", [&](Result<domain::Alias> alias) { moved = std::move(alias); });
  node->play(1s);
  EXPECT_TRUE(removed.value());
  EXPECT_EQ(moved.value().error().code, Code::conflict);
  EXPECT_TRUE((*node)->resolve("fraud", "live"));
}

TEST_F(NodeTest, CallsOfWhatIsNotThereAreCountedApartAndCostNothing) {
  EXPECT_EQ(node->call("fraud").error.code, Code::not_found);
  ASSERT_TRUE(node->deploy(order("fraud")));
  node->play(10s);
  EXPECT_TRUE(node->call("fraud").ok);
  EXPECT_EQ(node->call("fraud", "absent").error.code, Code::not_found);
  const UsageReport report = node->usage();
  EXPECT_EQ(report.unknown_calls, 2u);
  ASSERT_EQ(report.sums.size(), 1u);
  EXPECT_EQ(report.sums[0].function, "fraud");
  EXPECT_EQ(report.sums[0].invocations, 1u);
  EXPECT_EQ(report.sums[0].errors, 0u);
  EXPECT_EQ(node->usage("fraud").unknown_calls, 0u);

  const auto lines = (*node)->logs("", {.count = 10});
  ASSERT_EQ(lines->size(), 3u);
  EXPECT_EQ((*lines)[0].json.find("\"function\""), std::string::npos) << (*lines)[0].json;
  EXPECT_NE((*lines)[0].json.find("no function 'fraud'"), std::string::npos);
  EXPECT_NE((*lines)[1].json.find(R"("function":"fraud","version":1)"), std::string::npos);
}

TEST_F(NodeTest, StatisticsCountWhatWasAnsweredAndWhatFailedApart) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  EXPECT_EQ((*node)->stats("fraud")->at(0).success.count, 0u);
  ASSERT_TRUE(node->call("fraud").ok);
  ASSERT_TRUE(node->call("fraud").ok);
  instances::FakeBehaviour refusing = options.behaviour;
  refusing.reports_error = 1;
  node->launcher().fake.set(refusing);
  ASSERT_FALSE(node->call("fraud").ok);
  const auto stats = (*node)->stats("");
  ASSERT_EQ(stats->size(), 1u);
  const VersionStats& of = stats->front();
  EXPECT_EQ(of.function, "fraud");
  EXPECT_EQ(of.inferences, 2u);
  EXPECT_EQ(of.executions, 2u);
  EXPECT_EQ(of.success.count, 2u);
  EXPECT_EQ(of.fail.count, 1u);
  EXPECT_EQ(of.compute_infer.count, 2u);
  EXPECT_GE(of.compute_infer.time, 2 * options.behaviour.run.least);
  EXPECT_LE(of.compute_infer.time, 2 * options.behaviour.run.most);
  EXPECT_GE(of.success.time, of.compute_infer.time + of.queue.time);
  EXPECT_GE(of.fail.time, options.behaviour.run.least);
  EXPECT_GT(of.last, WallTime{std::chrono::hours(480'000)});
  EXPECT_EQ((*node)->stats("absent").error().code, Code::not_found);
}

TEST_F(NodeTest, TheLogNamesTheTraceOfACall) {
  const serve::TraceId trace{0x0af7651916cd43dd, 0x8448eb211c80319c};
  const std::string written = R"("request_id":"00112233-4455-6677-8899-aabbccddeeff","trace_id":"0af7651916cd43dd8448eb211c80319c")";
  ASSERT_FALSE(node->call("fraud", "", trace).ok);
  ASSERT_TRUE(node->deploy(order("fraud")));
  ASSERT_TRUE(node->call("fraud", "", trace).ok);
  ASSERT_TRUE(node->call("fraud").ok);
  const auto lines = (*node)->logs("", {.count = 10});
  ASSERT_EQ(lines->size(), 3u);
  EXPECT_NE((*lines)[0].json.find(written), std::string::npos) << (*lines)[0].json;
  EXPECT_NE((*lines)[1].json.find(written), std::string::npos) << (*lines)[1].json;
  EXPECT_EQ((*lines)[2].json.find("trace_id"), std::string::npos) << (*lines)[2].json;
}

// However it came to it: a limit, a lie about its ring, a signal. The reason is the launcher's.
TEST_F(NodeTest, TheLogSaysWhyAnInstanceEnded) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  instances::FakeBehaviour dying = options.behaviour;
  dying.run_dies = 1;
  node->launcher().fake.set(dying);
  const auto answer = node->call("fraud");
  ASSERT_FALSE(answer.ok);
  const auto lines = (*node)->logs("fraud", {.count = 10});
  const auto said = std::ranges::find_if(*lines, [](const LogLine& line) { return line.json.contains("the instance ended: "); });
  ASSERT_NE(said, lines->end());
  const std::size_t at = said->json.find("ended: ") + 7;
  const std::string reason = said->json.substr(at, said->json.find('"', at) - at);
  EXPECT_FALSE(reason.empty());
  EXPECT_NE(answer.error.message.find(reason), std::string::npos) << answer.error.message << "; the log: " << said->json;
}

TEST_F(NodeTest, TheLogSaysWhatAnInstanceWasKilledFor) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  instances::FakeBehaviour hanging = options.behaviour;
  hanging.run_hangs = 1;
  node->launcher().fake.set(hanging);
  ASSERT_FALSE(node->call("fraud").ok);
  node->play(3s);
  const auto lines = (*node)->logs("fraud", {.count = 10});
  EXPECT_EQ(std::ranges::count_if(*lines, [](const LogLine& line) {
    return line.json.contains("the instance ended: said nothing for 1.00 s after the deadline of a call and was killed");
  }), 1);
}

TEST_F(NodeTest, UploadsAtATimeHaveALimit) {
  std::vector<std::uint64_t> running;
  for (std::size_t i = 0; i < kUploadsMax; ++i) running.push_back((*node)->begin_upload().value());
  const auto refused = (*node)->begin_upload();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::exhausted);
  EXPECT_EQ(refused.error().message, "64 uploads run already, as many as this node takes: wait for one to end");
  for (const std::uint64_t number : {running.front(), running.back()})
    EXPECT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->append_upload(number, "bytes", std::move(done)); }));
  (*node)->abort_upload(running.front());
  EXPECT_TRUE((*node)->begin_upload());
  EXPECT_FALSE((*node)->begin_upload());
  EXPECT_TRUE(node->wait<domain::FileRef>([&](Done<domain::FileRef> done) { (*node)->finish_upload(running.back(), std::move(done)); }));
  EXPECT_TRUE((*node)->begin_upload());
}

TEST_F(NodeTest, TheLastTenThousandLinesAreRemembered) {
  for (int i = 1; i <= 10'050; ++i) (*node)->on_log(nullptr, {}, {.text = "line " + std::to_string(i)});
  const auto all = (*node)->logs("", {.count = 20'000});
  ASSERT_EQ(all->size(), 10'000u);
  EXPECT_NE(all->front().json.find("\"line 51\""), std::string::npos) << all->front().json;
  EXPECT_NE(all->back().json.find("\"line 10050\""), std::string::npos) << all->back().json;
  const auto some = (*node)->logs("", {.count = 3});
  ASSERT_EQ(some->size(), 3u);
  EXPECT_EQ(some->back().json, all->back().json);
}

TEST_F(NodeTest, UsageOutlivesAFunctionUnderItsName) {
  ASSERT_TRUE(node->deploy(order("fraud")));
  ASSERT_TRUE(node->call("fraud").ok);
  ASSERT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->remove("fraud", std::move(done)); }));
  ASSERT_TRUE(node->deploy(order("fraud", "another model")));
  restart();
  ASSERT_TRUE(node->call("fraud").ok);
  const UsageReport report = node->usage();
  ASSERT_EQ(report.sums.size(), 2u);
  EXPECT_EQ(report.sums[0].function, "fraud");
  EXPECT_EQ(report.sums[1].function, "fraud (deleted)");
  EXPECT_EQ(report.sums[1].invocations, 1u);
  EXPECT_GT(report.sums[1].cost, 0);
  EXPECT_EQ(report.unknown_calls, 0u);
}

// Instances of 100 and 20 MiB that cost the same to have again, one that `min` keeps, and then one that needs their room.
TEST_F(NodeTest, WhereMemoryIsShortWhatIsCheapToRebuildPerByteLeavesFirst) {
  options.behaviour.job_result = test_job_result(false);
  options.node.scale.memory_budget = 300_MiB;
  restart();
  const auto add = [&](const std::string& name, Bytes memory, int min) {
    instances::FakeBehaviour behaviour = options.behaviour;
    behaviour.memory = memory;
    behaviour.run = {2s, 2s};  // longer than it takes to see who must leave
    node->launcher().fake.set(behaviour);
    DeployOrder deploy = order(name, name);
    deploy.manifest = "scaling: {min: " + std::to_string(min) + ", keep_alive: 1h}";
    ASSERT_TRUE(node->deploy(std::move(deploy)));
    node->play(10s);
    EXPECT_TRUE(node->call(name).ok);
  };
  const auto instances_of = [&](const std::string& name) { return (*node)->describe(name)->instances; };
  add("small", 20_MiB, 0);
  node->play(100s);  // not used for longer than the others, and no reason to go
  add("kept", 100_MiB, 1);
  add("large", 100_MiB, 0);
  EXPECT_EQ(instances_of("small") + instances_of("kept") + instances_of("large"), 3);
  add("new", 150_MiB, 0);
  EXPECT_EQ(instances_of("large"), 0);
  EXPECT_EQ(instances_of("small"), 1);
  EXPECT_EQ(instances_of("kept"), 1);
  std::string reasons;
  const auto view = (*node)->describe("large");
  for (const DecisionView& decision : view->decisions) reasons += decision.reason + "\n";
  EXPECT_NE(reasons.find("over its budget"), std::string::npos) << reasons;
  const auto starts = (*node)->describe("kept")->cold_starts.size();
  node->play(60s);
  EXPECT_EQ((*node)->describe("kept")->cold_starts.size(), starts) << "what min keeps was stopped and started again";
}

TEST_F(NodeTest, WhatIsSetIsHeldAndOutlivesTheNode) {
  const auto set = [&](std::vector<domain::Setting> settings) {
    return node->wait<void>([&](Done<void> done) { (*node)->set_settings("fraud", settings, std::move(done)); });
  };
  const auto ready = [&] {
    return std::ranges::count_if((*node)->instances(), [](const InstanceView& i) { return i.role == "instance" && i.state == "ready"; });
  };
  EXPECT_EQ(set({{"calls_max", "", "0", {}}}).error().code, Code::not_found);
  ASSERT_TRUE(node->deploy(order("fraud")));
  EXPECT_TRUE(node->call("fraud").ok);
  ASSERT_TRUE(set({{"calls_max", "", "0", {}}}));
  EXPECT_EQ(node->call("fraud").error.code, Code::exhausted);
  restart();
  EXPECT_EQ(node->call("fraud").error.code, Code::exhausted);

  // Two at a time, of all its versions together; what ends makes room.
  ASSERT_TRUE(set({{"calls_max", "", "2", {}}}));
  ASSERT_TRUE(node->deploy(order("fraud", "another model")));
  serve::TestClient client;
  std::vector<Ticket> tickets;
  for (const char* qualifier : {"1", "2", "2"})
    tickets.push_back((*node)->invoker().invoke({.function = "fraud", .qualifier = qualifier, .body = "{}", .arrived = turn.now}, client));
  EXPECT_EQ(client.answers.size(), 1u);
  EXPECT_EQ(client.answers.at(tickets[2]).error.code, Code::exhausted);
  node->poke();
  node->play(5s);
  for (const Ticket ticket : tickets) (*node)->invoker().sent(ticket, turn.now, 2);
  EXPECT_TRUE(client.answers.at(tickets[0]).ok);
  EXPECT_TRUE(node->call("fraud").ok);

  // Instances that are kept for an alias, over a restart; no more than calls are taken.
  ASSERT_TRUE(set({{"calls_max", "", "", {}}, {"kept", "live", "3", {}}}));
  restart();
  node->play(1h);
  EXPECT_EQ(ready(), 3);
  ASSERT_TRUE(set({{"calls_max", "", "1", {}}}));
  node->play(1h);
  EXPECT_EQ(ready(), 1);
  ASSERT_TRUE(set({{"kept", "live", "", {}}}));
  node->play(1h);
  EXPECT_EQ(ready(), 0);
  const auto large = set({{"tag", "", std::string(domain::kSettingBytesMax + 1, 'x'), {}}});
  EXPECT_EQ(large.error().code, Code::invalid_argument);
}

TEST_F(NodeTest, UrlsAreFoundByTheirIdsWhileTheyAreConfigured) {
  const auto set = [&](std::string key, std::string id) {
    std::string text = id.empty() ? "" : R"({"AuthType":"NONE","id":")" + id + "\"}";
    return node->wait<void>([&](Done<void> done) {
      (*node)->set_settings("fraud", {{std::string(domain::kUrl), std::move(key), std::move(text), {}}}, std::move(done));
    });
  };
  const std::string a(domain::kUrlIdSize, 'a'), b(domain::kUrlIdSize, 'b'), c(domain::kUrlIdSize, 'c');
  ASSERT_TRUE(node->deploy(order("fraud")));
  ASSERT_TRUE(node->wait<domain::Alias>([&](Done<domain::Alias> done) {
    (*node)->set_alias("fraud", "other", {{1, 1}}, std::move(done));
  }));
  ASSERT_TRUE(set("", a));
  ASSERT_TRUE(set("other", b));
  restart();
  ASSERT_TRUE((*node)->url(a) && (*node)->url(b));
  EXPECT_EQ((*node)->url(a)->qualifier, "");
  EXPECT_EQ((*node)->url(b)->qualifier, "other");
  EXPECT_EQ((*node)->url(c), nullptr);
  ASSERT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->remove_alias("fraud", "other", std::move(done)); }));
  EXPECT_EQ((*node)->url(b), nullptr);
  ASSERT_TRUE(set("", ""));
  EXPECT_EQ((*node)->url(a), nullptr);
  ASSERT_TRUE(set("", c));
  EXPECT_NE((*node)->url(c), nullptr);
  ASSERT_TRUE(node->wait<void>([&](Done<void> done) { (*node)->remove("fraud", std::move(done)); }));
  EXPECT_EQ((*node)->url(c), nullptr);
}

}  // namespace
}  // namespace mayfly::control
