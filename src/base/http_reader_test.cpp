#include "base/http_reader.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

struct Read {
  HttpReader reader;
  std::string body;
  std::size_t taken = 0;
  bool failed = false;
};

Read read(std::string_view bytes, std::size_t piece, bool no_body = false) {
  Read out;
  out.reader.begin(no_body);
  while (out.taken < bytes.size() && !out.reader.done()) {
    const auto fed = out.reader.feed(bytes.substr(out.taken, piece), [&](std::string_view part) { out.body += part; });
    if (!fed) {
      out.failed = true;
      break;
    }
    out.taken += *fed;
  }
  return out;
}

struct Case {
  const char* name;
  std::string bytes;
  int status;
  std::string body;
  bool keep_alive;
};

TEST(HttpReader, ReadsAnswersWholeAndInPiecesOfAnySize) {
  const Case cases[] = {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
      {"empty", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
      {"close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", false},
      {"old", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false},
      {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n", 200,
       "abc0123456789", true},
      {"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", 404, "x", true},
  };
  for (const Case& c : cases)
    for (std::size_t piece = 1; piece <= c.bytes.size(); ++piece) {
      const Read got = read(c.bytes + "HTTP/1.1 next", piece);
      EXPECT_TRUE(got.reader.done()) << c.name << " by " << piece;
      EXPECT_EQ(got.reader.status(), c.status) << c.name;
      EXPECT_EQ(got.body, c.body) << c.name;
      EXPECT_EQ(got.reader.keep_alive(), c.keep_alive) << c.name;
      EXPECT_EQ(got.taken, c.bytes.size()) << c.name << ": it took bytes of the next answer";
    }
}

TEST(HttpReader, HeadersInAnyCase) {
  const Read got = read("HTTP/1.1 200 OK\r\nX-Mayfly-Cold:  fork \r\nContent-Length: 0\r\n\r\n", 1000);
  EXPECT_EQ(got.reader.header("x-mayfly-cold"), "fork");
  EXPECT_EQ(got.reader.header("X-Mayfly"), "");
  EXPECT_EQ(got.reader.header("absent"), "");
}

TEST(HttpReader, AHeadAnswerHasNoBody) {
  const Read got = read("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 1000, true);
  EXPECT_TRUE(got.reader.done());
}

TEST(HttpReader, WithoutALengthTheCloseEndsIt) {
  Read got = read("HTTP/1.1 200 OK\r\n\r\nall of it", 4);
  EXPECT_FALSE(got.reader.done());
  EXPECT_TRUE(got.reader.closed());
  EXPECT_EQ(got.body, "all of it");
  Read cut = read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 100);
  EXPECT_FALSE(cut.reader.closed());
}

TEST(HttpReader, RefusesWhatIsNotHttp) {
  for (const std::string& bytes :
       {std::string("SSH-2.0-OpenSSH_9\r\n\r\n"), std::string("HTTP/1.1 2x0 OK\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), std::string("HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
        "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x')})
    EXPECT_TRUE(read(bytes, 1000).failed) << bytes.substr(0, 60);
}

}  // namespace
}  // namespace mayfly
