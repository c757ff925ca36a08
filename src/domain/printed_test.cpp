#include "domain/printed.h"

#include <gtest/gtest.h>

namespace mayfly::domain {
namespace {

std::string line_of(const Printed& printed) {
  std::string out;
  append_printed(out, printed);
  EXPECT_TRUE(out.ends_with('\n'));
  EXPECT_EQ(out.find('\n'), out.size() - 1) << "one line";
  EXPECT_LE(out.size(), kPrintedMax);
  out.pop_back();
  return out;
}

TEST(Printed, IsReadAsItWasWritten) {
  const std::string line = line_of({.text = "hello\t\x1e world", .stream = Stream::err, .level = Level::warn,
                                    .request_high = 0x0123456789abcdef, .request_low = ~std::uint64_t{0},
                                    .time = {std::chrono::microseconds(1'764'031'234'567'890)}, .pid = 71});
  const Printed read = read_printed(line);
  EXPECT_EQ(read.text, "hello\t\x1e world");
  EXPECT_EQ(read.stream, Stream::err);
  EXPECT_EQ(read.level, Level::warn);
  EXPECT_EQ(read.request_high, 0x0123456789abcdefU);
  EXPECT_EQ(read.request_low, ~std::uint64_t{0});
  EXPECT_EQ(read.time.since_epoch.count(), 1'764'031'234'567'890);
  EXPECT_EQ(read.pid, 71);
}

TEST(Printed, OfAnyTextIsOneLineThatAPipeTakesWhole) {
  EXPECT_EQ(read_printed(line_of({.text = "a\nb\nc"})).text, "a b c");
  EXPECT_EQ(read_printed(line_of({.text = std::string(100'000, 'x')})).text.size(), kPrintedMax - kPrintedHead - 1);
  EXPECT_EQ(read_printed(line_of({.text = ""})).text, "");
}

TEST(Printed, WhatIsNoRecordIsText) {
  const std::string good = line_of({.text = "x", .stream = Stream::out});
  for (std::string line : {std::string("plain words"), std::string(), std::string("\x1e"), good.substr(0, kPrintedHead - 1)})
    EXPECT_EQ(read_printed(line).text, line);
  for (std::size_t i = 1; i < kPrintedHead; ++i) {  // a stranger in any field
    std::string bad = good;
    bad[i] = '~';
    EXPECT_EQ(read_printed(bad).text, bad) << i;
    EXPECT_EQ(read_printed(bad).stream, Stream::platform) << i;
  }
}

TEST(Printed, LevelsOfAllClouds) {
  EXPECT_EQ(read_level("WARNING"), Level::warn);
  EXPECT_EQ(read_level("Information"), Level::info);
  EXPECT_EQ(read_level("CRITICAL"), Level::fatal);
  EXPECT_EQ(read_level("trace"), Level::trace);
  EXPECT_EQ(read_level("loud"), Level::none);
  EXPECT_EQ(read_level(""), Level::none);
  EXPECT_EQ(name(Level::none), "info");
}

TEST(Printed, LastLinesAreWhole) {
  EXPECT_EQ(last_lines("one\ntwo\nthree\n", 100), "one\ntwo\nthree\n");
  EXPECT_EQ(last_lines("one\ntwo\nthree\n", 10), "two\nthree\n");
  EXPECT_EQ(last_lines("one\ntwo\nthree\n", 9), "three\n");
  EXPECT_EQ(last_lines("0123456789\n", 4), "789\n") << "of one that is too long its end";
  EXPECT_EQ(last_lines("", 4), "");
}

}  // namespace
}  // namespace mayfly::domain
