// Each form of smuggling by name, and that the verdict doesn't depend on how the bytes came.
#include "base/http_parser.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>

namespace mayfly {
namespace {

struct Parsed {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  HeadVerdict verdict;
};

void parse(std::string_view bytes, Parsed& into) { into.verdict = parse_head(bytes, into.storage, into.head); }

TEST(ParseHead, ReadsAnOrdinaryRequest) {
  Parsed p;
  const std::string bytes = "POST /v2/models/a/infer?x=1&y HTTP/1.1\r\nHost: localhost:8080\r\n"
                            "Content-Type:application/json\r\nContent-Length: 12\r\nX: \t v w \r\n\r\nrest";
  parse(bytes, p);
  ASSERT_EQ(p.verdict.kind, HeadVerdict::complete);
  EXPECT_EQ(bytes.substr(p.verdict.used), "rest");
  EXPECT_EQ(p.head.method, Method::post);
  EXPECT_EQ(p.head.path, "/v2/models/a/infer");
  EXPECT_EQ(p.head.query, "x=1&y");
  EXPECT_EQ(p.head.length, 12);
  EXPECT_TRUE(p.head.keep_alive);
  ASSERT_EQ(p.head.headers.size(), 4);
  EXPECT_EQ(p.head.headers[1].value, "application/json");
  EXPECT_EQ(p.head.headers[3].value, "v w");
}

struct Case {
  const char* what;
  std::string bytes;
  int status;  // 0: complete
};

const std::string kHost = "Host: a\r\n";

std::vector<Case> cases() {
  const auto with = [](const std::string& headers, const char* line = "POST / HTTP/1.1\r\n") { return line + kHost + headers + "\r\n"; };
  return {
      {"both lengths", with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"both lengths, the other way round", with("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400},
      {"two lengths", with("Content-Length: 4\r\nContent-Length: 5\r\n"), 400},
      {"two equal lengths", with("Content-Length: 4\r\nContent-Length: 4\r\n"), 400},
      {"a list of lengths", with("Content-Length: 4, 4\r\n"), 400},
      {"a signed length", with("Content-Length: +5\r\n"), 400},
      {"a negative length", with("Content-Length: -5\r\n"), 400},
      {"a hexadecimal length", with("Content-Length: 0x5\r\n"), 400},
      {"a length with a fraction", with("Content-Length: 5.0\r\n"), 400},
      {"a length with a space inside", with("Content-Length: 5 5\r\n"), 400},
      {"an empty length", with("Content-Length: \r\n"), 400},
      {"a length that overflows", with("Content-Length: 18446744073709551617\r\n"), 400},
      {"a length of zero", with("Content-Length: 0\r\n"), 0},
      {"an unknown encoding", with("Transfer-Encoding: gzip\r\n"), 501},
      {"chunked not alone", with("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"chunked misspelt", with("Transfer-Encoding: xchunked\r\n"), 501},
      {"chunked with a vertical tab", with("Transfer-Encoding: \vchunked\r\n"), 400},
      {"chunked in HTTP/1.0", with("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0\r\n"), 400},
      {"a folded header", with("X: a\r\n b\r\n"), 400},
      {"a folded first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"space before the colon", with("Content-Length : 4\r\n"), 400},
      {"tab before the colon", with("Content-Length\t: 4\r\n"), 400},
      {"no colon", with("Content-Length\r\n"), 400},
      {"an empty name", with(": x\r\n"), 400},
      {"a name with a character that none has", with("X(: x\r\n"), 400},
      {"a NUL in a value", with(std::string("X: a\0b\r\n", 8)), 400},
      {"a NUL in a name", with(std::string("X\0: a\r\n", 7)), 400},
      {"DEL in a value", with("X: a\x7f\r\n"), 400},
      {"UTF-8 in a value", with("X: \xc3\xa4\r\n"), 0},
      {"a bare LF behind a header", with("X: a\nY: b\r\n"), 400},
      {"a bare CR in a value", with("X: a\rY: b\r\n"), 400},
      {"a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"a bare CR behind the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
      {"a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400},
      {"http/1.1 in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"a star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute form", "GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute form with a user", "GET http://u@b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute form of another scheme", "GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"no Host in 1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"two Hosts", with(kHost), 400},
      {"a Host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"an unknown expectation", with("Expect: 200-maybe\r\n"), 417},
      {"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a long request line", "GET /" + std::string(kHeadMax, 'a') + " HTTP/1.1\r\n", 414},
      {"a long header", with("X: " + std::string(kHeadMax, 'a') + "\r\n"), 431},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00", 7), 400},
  };
}

TEST(ParseHead, Table) {
  for (const Case& each : cases()) {
    Parsed p;
    parse(each.bytes, p);
    EXPECT_EQ(p.verdict.kind, each.status == 0 ? HeadVerdict::complete : HeadVerdict::refused) << each.what << ": " << p.verdict.reason;
    EXPECT_EQ(p.verdict.status, each.status) << each.what << ": " << p.verdict.reason;
  }
}

TEST(ParseHead, TheVerdictDoesNotDependOnHowTheBytesCame) {
  for (const Case& each : cases()) {
    Parsed whole;
    parse(each.bytes, whole);
    std::size_t scanned = 0;
    HeadVerdict verdict;
    for (std::size_t size = 1; size <= each.bytes.size() && verdict.kind == HeadVerdict::incomplete; ++size) {
      const std::string_view part = std::string_view(each.bytes).substr(0, size);
      Parsed p;
      if (size < 400 || size % 97 == 0 || size == each.bytes.size()) {
        parse(part, p);
        if (p.verdict.kind == HeadVerdict::complete) { EXPECT_EQ(size, whole.verdict.used) << each.what; }
      }
      if (!head_is_decided(part, scanned)) continue;
      parse(part, p);
      verdict = p.verdict;
    }
    EXPECT_EQ(verdict.kind == HeadVerdict::complete, whole.verdict.kind == HeadVerdict::complete) << each.what;
  }
}

TEST(ParseHead, ConnectionsAndHeaderCounts) {
  Parsed p;
  parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n", p);
  EXPECT_FALSE(p.head.keep_alive);
  parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", p);
  EXPECT_TRUE(p.head.keep_alive);
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 1; i < 100; ++i) many += "a: b\r\n";
  parse(many + "\r\n", p);
  EXPECT_EQ(p.verdict.kind, HeadVerdict::complete);
  parse(many + "a: b\r\n\r\n", p);
  EXPECT_EQ(p.verdict.status, 431);
  parse("GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n", p);
  EXPECT_EQ(p.head.path, "/");
  EXPECT_EQ(p.head.query, "x");
}

std::string decode(std::string_view bytes, std::size_t step, ChunkDecoder::Step& last, std::size_t& used) {
  ChunkDecoder decoder;
  std::string body;
  used = 0;
  last = ChunkDecoder::Step::more;
  for (std::size_t given = std::min(step, bytes.size());;) {
    const ChunkDecoder::Out out = decoder.next(bytes.substr(used, given - used));
    used += out.used;
    body += out.data;
    last = out.step;
    if (last == ChunkDecoder::Step::end || last == ChunkDecoder::Step::refused) return body;
    if (last == ChunkDecoder::Step::more) {
      if (given == bytes.size()) return body;
      given = std::min(given + step, bytes.size());
    }
  }
}

TEST(ChunkDecoder, Table) {
  using Step = ChunkDecoder::Step;
  const struct { std::string bytes; Step end; std::string body; } rows[] = {
      {"5\r\nhello\r\n0\r\n\r\nnext", Step::end, "hello"},
      {"5;a=b;c=\"d\"\r\nhello\r\n00\r\nTrailer: x\r\n\r\n", Step::end, "hello"},
      {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", Step::end, "01234567890123456789"},
      {"5\r\nhel", Step::more, "hel"},
      {"\r\n", Step::refused, ""},
      {"0x5\r\nhello\r\n", Step::refused, ""},
      {"-5\r\n", Step::refused, ""},
      {"+5\r\n", Step::refused, ""},
      {"5 \r\nhello", Step::refused, ""},
      {" 5\r\nhello", Step::refused, ""},
      {"5\nhello", Step::refused, ""},
      {"5\rhello", Step::refused, ""},
      {"5;a\nb\r\nhello", Step::refused, ""},
      {"5\r\nhello!\r\n", Step::refused, "hello"},
      {"5\r\nhello\n0\r\n\r\n", Step::refused, "hello"},
      {"5\r\nhello\r0", Step::refused, "hello"},
      {"1000000000000000\r\n", Step::refused, ""},
      {"ffffffffffffffff\r\n", Step::refused, ""},
      {"0000000000000005\r\n", Step::refused, ""},
      {"5;" + std::string(9000, 'x') + "\r\nhello", Step::refused, ""},
      {"0\r\n" + std::string(9000, 'x'), Step::refused, ""},
      {"0\r\n folded: x\r\n\r\n", Step::refused, ""},
      {"0\r\n\n", Step::refused, ""},
      {"0\r\na: b\n\r\n", Step::refused, ""},
      {"0\r\n\rx", Step::refused, ""},
  };
  for (const auto& row : rows) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{3}, row.bytes.size()}) {
      Step last{};
      std::size_t used = 0;
      const std::string body = decode(row.bytes, step, last, used);
      EXPECT_EQ(last, row.end) << row.bytes.substr(0, 60) << " by " << step;
      EXPECT_EQ(body, row.body) << row.bytes.substr(0, 60) << " by " << step;
      if (row.bytes.ends_with("next")) { EXPECT_EQ(row.bytes.substr(used), "next"); }
    }
  }
}

}  // namespace
}  // namespace mayfly
