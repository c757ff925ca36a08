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
  EXPECT_EQ(made->calls, 3U);
  EXPECT_EQ(made->other_shapes, 0U);
  EXPECT_EQ(made->refused, 2U);
  EXPECT_FALSE(made->why.empty());
  ASSERT_EQ(made->samples.count, 4U);
  EXPECT_EQ(made->samples.inputs[0].shape, (std::vector<std::int64_t>{3, 2}));
  for (std::uint64_t i = 0; i < 6; ++i) EXPECT_EQ(gate::number_at(made->samples.inputs[0], i), static_cast<double>(i + 1));
  EXPECT_EQ(made->samples.inputs[1].strings, (std::vector<std::string>{"a", "b", "c"}));
  ASSERT_EQ(made->samples.other_sizes.size(), 1U);  // as it was sent, and not filled up
  EXPECT_EQ(made->samples.other_sizes[0][0].shape, (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(made->samples.other_sizes[0][1].strings, (std::vector<std::string>{"other size"}));
  EXPECT_EQ(made->samples.places.size(), 4U);
}

TEST(RecordedTest, OfMoreSizesThanASetHoldsTheRareAreLeftOut) {
  std::string bytes, row = "1";
  for (std::uint64_t i = 1; i <= 300; ++i, row += ", 1") {
    const std::string body = R"({"x": [[)" + row + R"(]], "t": ["a"]})";
    bytes += recorded(2 * i, body);
    if (i > 44) bytes += recorded(2 * i + 1, body);  // of the first 44 sizes there is one call each
  }
  const auto made = samples_of_calls(bytes, kSignature, {});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->samples.other_sizes.size(), 255U);
  EXPECT_EQ(made->calls, 512U);
  EXPECT_EQ(made->other_shapes, 44U);
  EXPECT_EQ(made->samples.count, 512U);
  // Of a model of which inputs are named as sizes are, those of one size.
  const domain::Signature numbered{.inputs = {{"x", Datatype::fp32, {-1, -1}}, {"x.2", Datatype::bytes, {-1}}},
                                   .outputs = kSignature.outputs};
  const auto one = samples_of_calls(recorded(1, R"({"x": [[1]], "x.2": ["a"]})") + recorded(2, R"({"x": [[1, 2]], "x.2": ["a"]})") +
                                        recorded(3, R"({"x": [[3, 4]], "x.2": ["a"]})"), numbered, {});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_TRUE(one->samples.other_sizes.empty());
  EXPECT_EQ(one->samples.count, 2U);
  EXPECT_EQ(one->other_shapes, 1U);
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
