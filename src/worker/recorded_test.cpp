#include "worker/recorded.h"

#include <gtest/gtest.h>

#include "domain/recording.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::RecordedCall;
using domain::WireFormat;

const domain::Signature kSignature{.inputs = {{"x", Datatype::fp32, {-1, -1}}, {"t", Datatype::bytes, {-1}}},
                                   .outputs = {{"y", Datatype::fp32, {-1}}}, .batches = true};

std::string recorded(std::uint64_t seen, std::string_view body, WireFormat format = WireFormat::plain_json) {
  const RecordedCall call{.seen = seen, .version = 1, .format = format, .body = body};
  return domain::head_of(call) + std::string(body);
}

TEST(RecordedTest, RowsOfCallsAreSamplesInTheOrderInWhichTheyCame) {
  const std::string bytes = recorded(3, R"({"x": [[5, 6]], "t": ["c"]})") + recorded(1, R"({"x": [[1, 2], [3, 4]], "t": ["a", "b"]})") +
                            recorded(2, R"({"x": [[1]], "t": ["other size"]})") + recorded(4, "nothing") +
                            recorded(5, R"({"x": [[1, 2]], "t": ["a", "too many"]})");
  const auto made = samples_of_calls(bytes, kSignature, {});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->calls, 2U);
  EXPECT_EQ(made->other_shapes, 1U);
  EXPECT_EQ(made->refused, 2U);
  EXPECT_FALSE(made->why.empty());
  ASSERT_EQ(made->samples.count, 3U);
  EXPECT_EQ(made->samples.inputs[0].shape, (std::vector<std::int64_t>{3, 2}));
  for (std::uint64_t i = 0; i < 6; ++i) EXPECT_EQ(gate::number_at(made->samples.inputs[0], i), static_cast<double>(i + 1));
  EXPECT_EQ(made->samples.inputs[1].strings, (std::vector<std::string>{"a", "b", "c"}));
}

TEST(RecordedTest, WhereThereIsNoneItIsSaid) {
  EXPECT_NE(samples_of_calls("", kSignature, {}).error().message.find("no call is recorded yet"), std::string::npos);
  const auto none = samples_of_calls(recorded(1, "{}"), kSignature, {});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("of 1 recorded calls the model takes none: "), std::string::npos) << none.error().message;
  EXPECT_EQ(samples_of_calls("what", kSignature, {}).error().code, Code::data_loss);
}

}  // namespace
}  // namespace mayfly::worker
