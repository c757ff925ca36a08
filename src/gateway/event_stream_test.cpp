// Messages of AWS's event stream, against bytes that its own clients' tests use, and against the format's own sums.
#include "gateway/event_stream.h"

#include <gtest/gtest.h>

namespace mayfly::gateway {
namespace {

std::uint32_t number(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

TEST(EventStream, TheSumIsThatOfGzip) {
  EXPECT_EQ(crc32("123456789"), 0xCBF43926U);
  EXPECT_EQ(crc32("6789", crc32("12345")), 0xCBF43926U);
  EXPECT_EQ(crc32(""), 0U);
}

TEST(EventStream, AMessageIsAsTheFormatSays) {
  std::string out = "before";
  add_event(out, "PayloadChunk", "application/octet-stream", "hello");
  const std::string_view message = std::string_view(out).substr(6);
  ASSERT_EQ(number(message, 0), message.size());
  const std::uint32_t headers = number(message, 4);
  EXPECT_EQ(number(message, 8), crc32(message.substr(0, 8)));
  EXPECT_EQ(number(message, message.size() - 4), crc32(message.substr(0, message.size() - 4)));
  EXPECT_EQ(message.substr(12 + headers, 5), "hello");
  EXPECT_EQ(message.substr(12, headers), std::string_view("\x0b:event-type\x07\x00\x0cPayloadChunk"
                                                          "\x0d:content-type\x07\x00\x18" "application/octet-stream"
                                                          "\x0d:message-type\x07\x00\x05" "event", headers));
}

TEST(EventStream, ALargePayloadIsSeveral) {
  std::string out;
  add_payload(out, "");
  EXPECT_EQ(out, "");
  add_payload(out, std::string((2 << 20) + 1, 'x'));
  int messages = 0;
  for (std::string_view rest = out; !rest.empty(); rest.remove_prefix(number(rest, 0))) ++messages;
  EXPECT_EQ(messages, 3);
}

TEST(EventStream, AnEndSaysWhatThereIs) {
  std::string out;
  add_complete(out, {});
  EXPECT_NE(out.find("{}"), out.npos);
  out.clear();
  add_complete(out, {.error_code = "Unhandled", .error_details = "\xff\"", .log_result = "TE9H"});
  EXPECT_NE(out.find("{\"ErrorCode\":\"Unhandled\",\"ErrorDetails\":\"\xef\xbf\xbd\\\"\",\"LogResult\":\"TE9H\"}"), out.npos) << out;
}

}  // namespace
}  // namespace mayfly::gateway
