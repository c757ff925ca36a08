#include "domain/job_results.h"

#include <gtest/gtest.h>

#include "domain/build.h"
#include "domain/compile_key.h"
#include "domain/working_set.h"

namespace mayfly::domain {
namespace {

CheckResult example() {
  return {.signature = {.inputs = {{"x", Datatype::fp32, {-1, 3}}, {"text", Datatype::bytes, {}}},
                        .outputs = {{"y", Datatype::bf16, {-1}}},
                        .batches = true},
          .template_allowed = false,
          .notes = {"a note", "bad bytes: \xff"}};
}

std::string with(std::string json, const std::string& from, const std::string& to) {
  const std::size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

TEST(JobResults, come_back_as_they_were) {
  const auto checked = parse_check_result(to_json(example()));
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(checked->signature, example().signature);
  EXPECT_EQ(checked->template_allowed, false);
  EXPECT_EQ(checked->notes[0], "a note");
  const Tuning tuning{.pack_weights = false, .threads = 4, .cold_first_ns = 1ULL << 60, .private_bytes = 7};
  EXPECT_EQ(parse_tuning_result(to_json(tuning)).value(), tuning);
  Tuning recorded = tuning;
  recorded.working_set = to_text(working_set_of(1 << 20, {{0, 1}}));
  EXPECT_EQ(parse_tuning_result(to_json(recorded)).value(), recorded);
  recorded.working_set.back() = recorded.working_set.back() == '0' ? '1' : '0';
  EXPECT_EQ(parse_tuning_result(to_json(recorded)).value(), tuning) << "a record that is not sound is none";
}

TEST(JobResults, the_word_of_a_stranger_is_bounded) {
  const std::string check = to_json(example()), tuning = to_json(Tuning{});
  const std::string lie = "\"x\"";
  std::string many = "[";
  for (int i = 0; i < 300; ++i) many += R"({"name":"x","datatype":"FP32","shape":[1]},)";
  many.back() = ']';
  for (const std::string& bad :
       {std::string(), std::string("null"), std::string("[]"), std::string(300'000, ' '), std::string(200'000, '['),
        with(check, "[-1,3]", "[-2,3]"), with(check, "[-1,3]", "[1e300]"), with(check, "[-1,3]", "[\"3\"]"),
        with(check, "[-1,3]", "{\"a\":1}"), with(check, "[-1,3]", "[" + std::string(200, '1') + "]"), with(check, "FP32", "FP33"),
        with(check, lie, "\"" + std::string(600, 'x') + "\""), with(check, lie, "7"), with(check, "true", "1"),
        with(check, "\"signature\"", "\"other\""), to_json(CheckResult{})})
    EXPECT_FALSE(parse_check_result(bad)) << bad.substr(0, 200);
  EXPECT_EQ(parse_signature(to_json(example().signature)).value(), example().signature);
  EXPECT_FALSE(parse_signature("{\"inputs\":" + many + ",\"outputs\":" + many + ",\"batches\":true}"));
  for (const std::string& bad :
       {with(tuning, "\"threads\":1", "\"threads\":0"), with(tuning, "\"threads\":1", "\"threads\":65"),
        with(tuning, "\"threads\":1", "\"threads\":1e300"), with(tuning, "\"threads\":1", "\"threads\":-1"),
        with(tuning, "\"private_bytes\":0", "\"private_bytes\":-5"), with(tuning, "\"private_bytes\":0", "\"private_bytes\":1.5")})
    EXPECT_FALSE(parse_tuning_result(bad)) << bad;
}

TEST(Build, WhatWasInstalledIsAStrangersWord) {
  const std::vector<Dependency> installed{{"a", "1.0", "sha256:00"}, {"b", "2.0", ""}};
  EXPECT_EQ(*parse_dependencies(to_json(installed)), installed);
  EXPECT_EQ(*parse_dependencies(to_json({installed[1], installed[0]})), installed) << "by name";
  const auto odd = parse_dependencies(R"([{"name": "a\u001b[2J\n", "version": 7, "hash": ")" + std::string(9999, 'x') + "\"}]");
  ASSERT_TRUE(odd) << odd.error().message;
  EXPECT_EQ((*odd)[0].name, "a[2J");
  EXPECT_EQ((*odd)[0].version, "");
  EXPECT_EQ((*odd)[0].hash.size(), 256U);
  for (const char* bad : {"", "{}", "[1]", "nonsense"}) EXPECT_FALSE(parse_dependencies(bad)) << bad;
}

TEST(Build, AnOrderComesBackAsItWas) {
  const BuildOrder order{.kind = BuildKind::npm, .program = "/usr/bin/node", .script = "/npm.js", .environment = {"A=b"},
                         .home = {{".npmrc", "registry=x\n"}}, .alone = false, .time_ms = 7, .memory = "1 GiB"};
  const auto back = parse_build_order(to_json(order));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), to_json(order));
  EXPECT_EQ(back->home, order.home);
  EXPECT_FALSE(parse_build_order(R"({"kind": 9})"));
}

TEST(CompileKey, names_engine_and_processor_and_stays) {
  EXPECT_EQ(compile_key(), compile_key());
  EXPECT_TRUE(compile_key().starts_with("onnxruntime-"));
  EXPECT_TRUE(compile_key().ends_with("/" + cpu_features()));
  EXPECT_EQ(cpu_features().find('/'), std::string::npos);
#if defined(__x86_64__)
  EXPECT_TRUE(cpu_features().starts_with("x86-64"));
#endif
}

}  // namespace
}  // namespace mayfly::domain
