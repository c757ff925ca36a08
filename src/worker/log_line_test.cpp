#include "worker/log_line.h"

#include <gtest/gtest.h>

#include <string>

namespace mayfly::worker {
namespace {

using domain::Level;

TEST(LogLine, LevelsOfObjectsAndPlainLines) {
  struct Row {
    const char* line;
    Level level;
  };
  for (const Row& row : {
           Row{R"({"timestamp":"2026-11-24T05:46:03.120Z","level":"WARN","message":"m","requestId":"x"})", Level::warn},
           Row{R"({"severity":"CRITICAL","message":"m"})", Level::fatal},
           Row{R"({"level":50,"time":1795499163120,"msg":"m"})", Level::error},
           Row{R"({"level":"loud","severity":"DEBUG"})", Level::debug},
           Row{R"({"msg":"says nothing"})", Level::none},
           Row{R"({"level":7})", Level::none},
           Row{R"({"level":"error")", Level::none},
           Row{R"([{"level":"error"}])", Level::none},
           Row{"[ERROR]\t2026-11-24T05:46:03.120Z\tid\twords", Level::error},
           Row{"[ERROR] ValueError: no", Level::error},
           Row{"[1, 2, 3]", Level::none},
           Row{"[", Level::none},
           Row{"WARNING:root:words", Level::warn},
           Row{"Error: words", Level::none},
           Row{"2026-11-24T05:46:03.120Z\t00112233-4455-6677-8899-aabbccddeeff\tERROR\twords\twith tabs", Level::error},
           Row{"a\tb\tERROR\td", Level::none},
           Row{"plain words", Level::none},
           Row{"", Level::none},
       })
    EXPECT_EQ(read_line(row.line).level, row.level) << row.line;
}

TEST(LogLine, TimesAndCalls) {
  const std::string id = "00112233-4455-6677-8899-aabbccddeeff";
  for (const std::string& line : {R"({"timestamp":"2026-11-24T05:46:03.12Z","level":"INFO","requestId":")" + id + "\"}",
                                  R"({"time":1795499163120,"level":30,"awsRequestId":")" + id + "\"}",
                                  R"({"ts":1795499163.12,"level":"info","request_id":")" + id + "\"}",
                                  "2026-11-24T05:46:03.120Z\t" + id + "\tINFO\twords"}) {
    const LineFacts facts = read_line(line);
    EXPECT_EQ(facts.time.since_epoch.count() / 1000, 1'795'499'163'120) << line;
    EXPECT_EQ(facts.request_high, 0x0011223344556677U) << line;
    EXPECT_EQ(facts.request_low, 0x8899aabbccddeeffU) << line;
  }
  EXPECT_EQ(read_line(R"({"level":"info","time":"noon","requestId":"me"})").time, WallTime{});
  EXPECT_EQ(read_line(R"({"time":1e300})").time, WallTime{});
  EXPECT_EQ(read_line(R"({"time":-1})").time, WallTime{});
}

TEST(LogLine, WhatIsTooDeepOrTooLongIsLeft) {
  std::string deep;
  for (int i = 0; i < 7000; ++i) deep += "{\"a\":";
  EXPECT_EQ(read_line(deep + "1" + std::string(7000, '}')).level, Level::none);
  EXPECT_EQ(read_line(R"({"level":"error","x":")" + std::string(kLineMax, 'x') + "\"}").level, Level::none);
}

}  // namespace
}  // namespace mayfly::worker
