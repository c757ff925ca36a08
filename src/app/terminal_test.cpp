#include "app/terminal.h"

#include <gtest/gtest.h>

namespace mayfly::app {
namespace {

TEST(Table, AlignsWordsLeftAndNumbersRight) {
  Table table({"FUNCTION", "COUNT", "STAGE"});
  table.add({"fraud", "7", "ready"});
  table.add({"näme", "1,234", "failed"});
  table.add({"x", "-", ""});
  EXPECT_EQ(table.text({}),
            "FUNCTION  COUNT  STAGE\n"
            "fraud         7  ready\n"
            "näme      1,234  failed\n"
            "x             -\n");
}

TEST(Table, TimesAndSentencesAreWordsAndUnitsBelongToNumbers) {
  Table table({"AT", "TOTAL", "COST", "BECAUSE"});
  table.add({"2026-11-24 07:50:17", "46.7 ms", "$0.0002", "1 request waits"});
  table.add({"2026-11-24 07:50:18", "822 µs", "-", "2 requests wait"});
  EXPECT_EQ(table.text({}), "AT                     TOTAL     COST  BECAUSE\n"
                            "2026-11-24 07:50:17  46.7 ms  $0.0002  1 request waits\n"
                            "2026-11-24 07:50:18   822 µs        -  2 requests wait\n");
}

TEST(Table, ColoursTakeNoColumns) {
  const Terminal colored{.colors = true};
  Table table({"A", "B"});
  table.add({colored.paint(Tone::good, "ok"), "x"});
  table.add({"word", "y"});
  EXPECT_EQ(table.text({}), "A     B\n\x1b[32mok\x1b[0m    x\nword  y\n");
}

TEST(Terminal, PaintsOnlyWhereThereAreColours) {
  EXPECT_EQ(Terminal{}.paint(Tone::bad, "text"), "text");
  EXPECT_EQ((Terminal{.colors = true}.paint(Tone::bad, "text")), "\x1b[31mtext\x1b[0m");
  EXPECT_EQ((Terminal{.colors = true}.paint(Tone::plain, "text")), "text");
}

TEST(Text, Numbers) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(percent(0.9), "90%");
  EXPECT_EQ(percent(1), "100%");
  EXPECT_EQ(percent(0.125), "12.5%");
  EXPECT_EQ(percent(0), "0%");
  EXPECT_EQ(plural(1, "row"), "1 row");
  EXPECT_EQ(plural(1200, "row"), "1,200 rows");
}

TEST(Text, WhatOthersWroteCannotDriveTheTerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\x7f"), "a\\x1b[2Jb\\x0a\\x7f");
  EXPECT_EQ(printable("wört → 日本 😀"), "wört → 日本 😀");
  EXPECT_EQ(printable("\xc2\x9b" "2J"), "\\xc2\\x9b2J") << "CSI in one character";
  EXPECT_EQ(printable("\x9b" "2J"), "\\x9b2J") << "and in one byte";
  EXPECT_EQ(printable("\xc3(\xe2\x82"), "\\xc3(\\xe2\\x82") << "not UTF-8";
  EXPECT_EQ(clock_of("2026-11-24T05:46:03.123456Z"), "2026-11-24 05:46:03");
  EXPECT_EQ(clock_of(""), "");
}

}  // namespace
}  // namespace mayfly::app
