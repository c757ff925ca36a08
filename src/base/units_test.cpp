#include "base/units.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

TEST(Units, ParsesSizesAsPeopleWriteThem) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"0B", 0}, {"1B", 1}, {"1KB", 1000}, {"1KiB", 1024}, {"1.5MiB", 1572864}, {"512 MiB", 536870912}, {"2GB", 2'000'000'000},
      {"1TiB", 1ULL << 40}, {"1e3B", 1000},
  };
  for (const auto& [text, count] : cases) {
    const auto parsed = parse_bytes(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->count, count) << text;
  }
}

TEST(Units, ParsesDurationsAsPeopleWriteThem) {
  const std::pair<const char*, Duration> cases[] = {
      {"0s", 0s}, {"250ms", 250ms}, {"1.5s", 1500ms}, {"5m", 5min}, {"1h", 1h}, {"2d", 48h}, {"10us", 10us}, {"7ns", 7ns},
  };
  for (const auto& [text, duration] : cases) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, duration) << text;
  }
}

TEST(Units, RefusesWhatIsNoSizeAndSaysWhatWouldBe) {
  for (const char* text :
       {"", "MiB", "12", "12 mib", "1.2.3MB", "-1MB", "1MBx", "nanMB", "infB", "1e300GB", "9223372036854775808B", "1 MB ", "0x10B"}) {
    const auto parsed = parse_bytes(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::invalid_argument);
    EXPECT_NE(parsed.error().message.find("'" + std::string(text) + "'"), std::string::npos) << "names the value";
    EXPECT_NE(parsed.error().message.find("512MiB"), std::string::npos) << "names a right one";
  }
}

TEST(Units, RefusesWhatIsNoDuration) {
  for (const char* text : {"", "s", "5", "5 min", "-5s", "1e20s", "300000y", "106752d"}) EXPECT_FALSE(parse_duration(text)) << text;
  EXPECT_TRUE(parse_duration("36500d")) << "a century fits";
}

TEST(Units, PrintsTheUnitThatAPersonWouldPick) {
  EXPECT_EQ(to_text(Bytes{999}), "999 B");
  EXPECT_EQ(to_text(Bytes{90'400'000}), "90.4 MB");
  EXPECT_EQ(to_text(Bytes{1'500}), "1.50 KB");
  EXPECT_EQ(to_text(Bytes{250'000'000'000}), "250 GB");
  EXPECT_EQ(to_text(Duration(12'300us)), "12.3 ms");
  EXPECT_EQ(to_text(Duration(999ns)), "999 ns");
  EXPECT_EQ(to_text(Duration(119s)), "119 s");
  EXPECT_EQ(to_text(Duration(90min)), "90.0 min");
  EXPECT_EQ(to_text(Duration(2min)), "2.00 min");
  EXPECT_EQ(to_text(Duration(3h)), "3.00 h");
}

// Rounding must not print a number that belongs to the next unit or has a digit too many.
TEST(Units, RoundingStaysShort) {
  EXPECT_EQ(to_text(Bytes{9'996}), "10.0 KB");
  EXPECT_EQ(to_text(Bytes{99'960}), "100 KB");
  EXPECT_EQ(to_text(Bytes{999'999}), "1.00 MB");
  EXPECT_EQ(to_text(Duration(999'999ns)), "1.00 ms");
  EXPECT_EQ(to_text(Duration(999'999'999ns)), "1.00 s");
}

TEST(Units, NegativeDurationsKeepTheirSign) {
  EXPECT_EQ(to_text(Duration(-5ms)), "-5.00 ms");
}

// What is printed reads back to about the same.
TEST(Units, PrintedSizesReadBack) {
  Random random(1);
  for (int i = 0; i < 20000; ++i) {
    const Bytes bytes{random.next() >> random.between(1, 63)};
    if (bytes.count >= 9'000'000'000'000'000'000) continue;
    const auto back = parse_bytes(to_text(bytes));
    ASSERT_TRUE(back) << bytes.count << " " << to_text(bytes);
    EXPECT_NEAR(static_cast<double>(back->count), static_cast<double>(bytes.count), 0.006 * static_cast<double>(bytes.count))
        << to_text(bytes);
  }
}

TEST(Random, BetweenCoversBothEndsAndChanceIsAboutRight) {
  Random random(9);
  bool low = false, high = false;
  int hits = 0;
  for (int i = 0; i < 10000; ++i) {
    const int n = random.between(-2, 3);
    ASSERT_TRUE(n >= -2 && n <= 3);
    low |= n == -2;
    high |= n == 3;
    hits += random.chance(0.25);
  }
  EXPECT_TRUE(low && high);
  EXPECT_NEAR(hits, 2500, 200);
}

}  // namespace
}  // namespace mayfly
