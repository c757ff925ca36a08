#include "domain/working_set.h"

#include <gtest/gtest.h>

namespace mayfly::domain {
namespace {

constexpr std::uint64_t kUnit = kWorkingSetUnit;

TEST(WorkingSet, takes_whole_units_and_joins_what_meets) {
  const WorkingSet set = working_set_of(10 * kUnit + 5, {{7 * kUnit + 1, 1}, {0, 1}, {kUnit - 1, 2}, {10 * kUnit, 100}});
  EXPECT_EQ(set.ranges, (std::vector<PageRange>{{0, 2 * kUnit}, {7 * kUnit, kUnit}, {10 * kUnit, 5}}));
  EXPECT_EQ(total_size(set), 3 * kUnit + 5);
  EXPECT_EQ(working_set_of(5, {{5, 1}, {0, 0}}).ranges.size(), 0U) << "what lies outside, or is nothing, is left out";
  EXPECT_EQ(working_set_of(kUnit, {{0, UINT64_MAX}}).ranges, (std::vector<PageRange>{{0, kUnit}}));
  EXPECT_EQ(working_set_of(0, {{0, 1}}), WorkingSet{});
  EXPECT_EQ(working_set_of(kWorkingSetFileMax + 1, {{0, 1}}), WorkingSet{});
}

TEST(WorkingSet, joins_the_nearest_where_there_are_too_many) {
  std::vector<PageRange> touched;
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < 2 * kWorkingSetRangesMax; ++i) {
    touched.push_back({at, 1});
    at += (i % 2 == 0 ? 2 : 9) * kUnit;  // pairs, far from one another
  }
  const WorkingSet set = working_set_of(at, touched);
  ASSERT_EQ(set.ranges.size(), kWorkingSetRangesMax);
  for (const PageRange& range : set.ranges) EXPECT_EQ(range.size, 3 * kUnit);
}

TEST(WorkingSet, is_read_as_it_was_written) {
  for (const WorkingSet& set : {working_set_of(3 * kUnit + 7, {{0, 1}, {3 * kUnit, 7}}), working_set_of(1, {}),
                                working_set_of(kWorkingSetFileMax, {{kWorkingSetFileMax - 1, 1}})}) {
    const auto read = parse_working_set(to_text(set));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, set);
  }
  std::vector<PageRange> most;
  for (std::uint64_t i = 0; i < kWorkingSetRangesMax; ++i) most.push_back({i * (kWorkingSetFileMax / kWorkingSetRangesMax), 1});
  const std::string text = to_text(working_set_of(kWorkingSetFileMax, most));
  EXPECT_LE(text.size(), kWorkingSetTextMax);
  EXPECT_EQ(parse_working_set(text).value().ranges.size(), kWorkingSetRangesMax);
}

TEST(WorkingSet, what_is_not_whole_is_an_error) {
  const std::string text = to_text(working_set_of(9 * kUnit, {{0, 1}, {4 * kUnit, kUnit}}));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string broken = text;
    broken[i] = broken[i] == '0' ? '1' : '0';
    EXPECT_FALSE(parse_working_set(broken)) << i;
    EXPECT_FALSE(parse_working_set(text.substr(0, i))) << i;
  }
  EXPECT_FALSE(parse_working_set(text + "00"));
  EXPECT_FALSE(parse_working_set("zz" + text.substr(2)));
  EXPECT_FALSE(parse_working_set(std::string(kWorkingSetTextMax + 2, '0')));
  EXPECT_FALSE(parse_working_set(to_text({.file_size = kUnit, .ranges = {{kUnit, kUnit}}}))) << "a range outside of its file";
  EXPECT_FALSE(parse_working_set(to_text({.file_size = 9 * kUnit, .ranges = {{0, kUnit}, {kUnit, kUnit}}}))) << "ranges that meet";
  EXPECT_FALSE(parse_working_set(to_text({.file_size = 0, .ranges = {}})));
}

}  // namespace
}  // namespace mayfly::domain
