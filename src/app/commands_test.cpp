#include "app/commands.h"

#include <gtest/gtest.h>

namespace mayfly::app {
namespace {

TEST(Weights, ReadPercentAndShares) {
  const auto weights = parse_weights({"1=90%", "2=10%"});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(*weights, (std::vector<domain::Weight>{{1, 0.9}, {2, 0.1}}));
  EXPECT_EQ(parse_weights({"3"}).value(), (std::vector<domain::Weight>{{3, 1}}));
  EXPECT_EQ(parse_weights({"1=0.5", "2=0.5"}).value(), (std::vector<domain::Weight>{{1, 0.5}, {2, 0.5}}));
  EXPECT_TRUE(parse_weights({"1=33.3%", "2=33.3%", "3=33.4%"}));
}

TEST(Weights, RefuseWhatDoesNotAddUp) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "no version"},
      {{"1=90%"}, "add up to 90%"},
      {{"1=90%", "2=20%"}, "add up to 110%"},
      {{"1=50%", "1=50%"}, "named twice"},
      {{"0=100%"}, "write 1=90%"},
      {{"live=100%"}, "write 1=90%"},
      {{"1="}, "write 1=90%"},
      {{"1=%"}, "write 1=90%"},
      {{"1=nan"}, "write 1=90%"},
      {{"1=150%"}, "at most 100%"},
      {{"1=0%", "2=100%"}, "above 0%"},
  };
  for (const auto& [words, says] : cases) {
    const auto weights = parse_weights(words);
    ASSERT_FALSE(weights) << says;
    EXPECT_EQ(weights.error().code, Code::invalid_argument);
    EXPECT_NE(weights.error().message.find(says), std::string::npos) << weights.error().message;
  }
}

TEST(Texts, OfWeightsAndTensors) {
  EXPECT_EQ(weights_text(Json::parse(R"([{"version": 2, "share": 1}])")), "version 2");
  EXPECT_EQ(weights_text(Json::parse(R"([{"version": 1, "share": 0.9}, {"version": 2, "share": 0.1}])")), "1 90%, 2 10%");
  EXPECT_EQ(tensors_text(Json::parse(
                R"([{"name": "input", "datatype": "FP32", "shape": [-1, 30]}, {"name": "n", "datatype": "INT64", "shape": []}])")),
            "input FP32[?,30], n INT64[]");
}

TEST(SampleBody, FitsTheSignature) {
  const Json signature =
      Json::parse(R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}, {"name": "s", "datatype": "BYTES", "shape": [1]}]})");
  EXPECT_EQ(sample_body(signature, "plain").value_or(""), R"({"x":[[0,0]],"s":[""]})");
  EXPECT_EQ(
      sample_body(signature, "v2").value_or(""),
      R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[0,0]]},)"
            R"({"name":"s","shape":[1],"datatype":"BYTES","data":[""]}]})");
  EXPECT_FALSE(sample_body(Json::parse(R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [100000, 100000]}]})"), "plain"));
}

TEST(LogText, OfCallsAndMessages) {
  EXPECT_EQ(
      log_text(
          {},
          R"({"sequence":3,"time":"2026-11-24T05:46:03.120000Z","level":"info","function":"fraud","version":1,"outcome":"ok",)"
                         R"("start":"warm","queue_us":20,"run_us":60,"total_us":150,"rows":1})"),
      "2026-11-24 05:46:03.120  fraud:1  ok  150 µs (queue 20.0 µs, run 60.0 µs)  1 row  warm");
  EXPECT_EQ(log_text({}, R"({"time":"2026-11-24T05:46:03.120000Z","level":"warn","function":"fraud","version":1,"message":"a\u001bb"})"),
            "2026-11-24 05:46:03.120  fraud:1  warn  a\\x1bb");
  EXPECT_EQ(log_text({}, R"({"time":"2026-11-24T05:46:03.120000Z","level":"warn","message":"no function 'x'"})"),
            "2026-11-24 05:46:03.120  -  warn  no function 'x'");
  EXPECT_EQ(log_text({}, "not JSON\x1b"), "not JSON\\x1b");
}

TEST(Data, IsTextOrAFile) {
  EXPECT_EQ(read_data("{}").value_or(""), "{}");
  const auto absent = read_data("@/absent/row.json");
  ASSERT_FALSE(absent);
  EXPECT_NE(absent.error().message.find("/absent/row.json"), std::string::npos);
}

}  // namespace
}  // namespace mayfly::app
