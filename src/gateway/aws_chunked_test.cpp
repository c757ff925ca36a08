#include "gateway/aws_chunked.h"

#include <gtest/gtest.h>

#include "gateway/xml.h"

namespace mayfly::gateway {
namespace {

std::string decoded(std::string_view bytes, std::size_t piece, AwsChunked& chunks) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    if (const auto taken = chunks.take(bytes.substr(at, piece), out); !taken) return taken.error().message;
  return out;
}

TEST(AwsChunked, IsTheSameInAnyPieces) {
  const std::string_view body = "5;chunk-signature=ab\r\n1\r\n34\r\n4\r\n6789\r\n0\r\nX-Amz-Checksum-Crc32:  y/Q5Jg==\r\n\r\n";
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    AwsChunked chunks;
    ASSERT_EQ(decoded(body, piece, chunks), "1\r\n346789");
    ASSERT_TRUE(chunks.complete());
    ASSERT_EQ(chunks.trailers().at("x-amz-checksum-crc32"), "y/Q5Jg==");
  }
}

TEST(AwsChunked, WhatIsBrokenIsRefused) {
  for (const char* body :
       {"z\r\n", "-1\r\n", "\r\n", "5\n12345", "3\r\n12345\r\n", "ffffffffffffffff\r\n", "0\r\nno header\r\n", "0\r\n\r\nmore"}) {
    AwsChunked chunks;
    EXPECT_NE(decoded(body, 1, chunks).find("aws-chunked"), std::string::npos) << body;
  }
  AwsChunked endless, trailers;
  EXPECT_NE(decoded(std::string(600, '1'), 7, endless).find("too long"), std::string::npos);
  std::string many = "0\r\n";
  for (int i = 0; i < 200; ++i) many += "x-name-" + std::to_string(i) + ": 0123456789012345678901234567890\r\n";
  EXPECT_NE(decoded(many, 100, trailers).find("trailer"), std::string::npos);
  AwsChunked cut;
  EXPECT_EQ(decoded("5\r\n123", 1, cut), "123");
  EXPECT_FALSE(cut.complete());
}

TEST(Crc32, IsThatOfTheStandard) {
  Crc32 crc;
  for (const char* part : {"1", "2345", "678", "9"}) crc.add(part);
  EXPECT_EQ(crc.value(), 0xcbf43926U);
}

TEST(Xml, TextsAreEscapedAndReadBack) {
  const std::string text = "<a href=\"x\">&amp;'\x01\xff\r";
  const std::string made =
      xml::element("Name", {{"Key", text}, {"List", {"a", "b"}}, {"Flat*", {"c"}}, {"Gone", nullptr}, {"Empty", xml::Json::array()}});
  EXPECT_EQ(made, "<Name><Key>&lt;a href=&quot;x&quot;&gt;&amp;amp;&apos;\xef\xbf\xbd\xef\xbf\xbd&#13;</Key>"
                  "<List><member>a</member><member>b</member></List><Flat>c</Flat><Empty></Empty></Name>");
  EXPECT_EQ(xml::texts("<A><Key>a&lt;b&amp;&#38;&bad;</Key><Key><x/></Key><Key>c</Key><Key>d", "Key"),
            (std::vector<std::string>{"a<b&&#38;&bad;", "c"}));
}

}  // namespace
}  // namespace mayfly::gateway
