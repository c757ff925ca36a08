#include "domain/recording.h"

#include <gtest/gtest.h>

namespace mayfly::domain {
namespace {

TEST(RecordingTest, APolicyReadsBackAndWhatIsWrongIsNamed) {
  const RecordingPolicy policy{.calls = 7, .share = 0.25, .size_max = {1000}};
  EXPECT_EQ(parse_recording(to_document(policy)).value(), policy);
  EXPECT_EQ(parse_recording(R"({"calls": 5})").value(), (RecordingPolicy{.calls = 5}));
  for (const auto& [text, holds] :
       {std::pair(R"({})", "'calls' is missing"), std::pair(R"([])", "JSON object"), std::pair("", "JSON object"),
        std::pair(R"({"calls": 1.5})", "1 to 100000"), std::pair(R"({"calls": -1})", "1 to 100000"),
        std::pair(R"({"calls": 1, "share": 0})", "above 0"), std::pair(R"({"calls": 1, "share": 1.01})", "up to 1"),
        std::pair(R"({"calls": 1, "size_max": 99999999999})", "at most"), std::pair(R"({"count": 1})", "'count'")}) {
    const auto parsed = parse_recording(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find(holds), std::string::npos) << text << ": " << parsed.error().message;
  }
}

TEST(RecordingTest, OfAFunctionItIsWhatIsSet) {
  Function function;
  EXPECT_FALSE(recording_of(function));
  function.settings.push_back({.kind = std::string(kRecording), .document = to_document({.calls = 3})});
  EXPECT_EQ(recording_of(function), (RecordingPolicy{.calls = 3}));
  function.settings[0].document = "what";
  EXPECT_FALSE(recording_of(function)) << "what can't be read is not recorded";
}

TEST(RecordingTest, CallsReadBackAndAnythingShorterIsRefused) {
  const RecordedCall first{.seen = 9, .version = 2, .format = WireFormat::v2_binary, .json_size = 3, .body = "{} 1234"};
  const RecordedCall second{.seen = 1, .version = 1, .format = WireFormat::plain_json, .body = ""};
  ASSERT_EQ(head_of(first).size(), kRecordedHead);
  const std::string bytes = head_of(first) + std::string(first.body) + head_of(second);
  const auto calls = read_calls(bytes);
  ASSERT_TRUE(calls) << calls.error().message;
  EXPECT_EQ(*calls, (std::vector<RecordedCall>{first, second}));
  EXPECT_TRUE(read_calls("").value().empty());
  const std::size_t whole = kRecordedHead + first.body.size();
  for (std::size_t size = 1; size < bytes.size(); ++size)
    EXPECT_EQ(read_calls(std::string_view(bytes).substr(0, size)).has_value(), size == whole);
  std::string other = bytes;
  other[36] = 9;
  EXPECT_FALSE(read_calls(other)) << "a form that there is not";
  other = bytes;
  other[24] = 100;
  EXPECT_FALSE(read_calls(other)) << "more JSON than body";
}

}  // namespace
}  // namespace mayfly::domain
