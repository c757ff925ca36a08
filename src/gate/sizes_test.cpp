#include "gate/sizes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "gate/split.h"

namespace mayfly::gate {
namespace {

using domain::Datatype;
using domain::Signature;

const Signature kWords{.inputs = {{"ids", Datatype::int64, {-1, -1}}, {"t", Datatype::bytes, {-1}}}};

// `count` rows of `width` that all hold 100 * width and the row's number, and a text that says both.
std::vector<Array> words(const std::string& suffix, std::int64_t count, std::int64_t width, bool labelled = false) {
  Array ids{.name = "ids" + suffix, .datatype = Datatype::int32, .shape = {count, width}};
  ids.data.resize(static_cast<std::size_t>(count * width * 4));
  Array texts{.name = "t" + suffix, .datatype = Datatype::bytes, .shape = {count}};
  Array label{.name = "label" + suffix, .datatype = Datatype::bytes, .shape = {count}};
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t c = 0; c < width; ++c)
      put_number(ids, static_cast<std::uint64_t>(i * width + c), static_cast<double>(100 * width + i));
    texts.strings.push_back(std::to_string(100 * width + i));
  }
  label.strings = texts.strings;
  std::vector<Array> arrays = {ids, texts};
  if (labelled) arrays.push_back(label);
  return arrays;
}

std::vector<Array> both(std::vector<Array> a, const std::vector<Array>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// What sample `i` says of itself, which all its parts must agree on.
std::string said_by(const Samples& samples, std::uint64_t i) {
  const std::vector<Slice> slices = slices_of(samples, i, static_cast<std::uint64_t>(samples.rows));
  EXPECT_EQ(slices.size(), 2U);
  std::int64_t number = 0;
  std::memcpy(&number, slices[0].data.data(), sizeof number);
  EXPECT_EQ(slices[0].shape[1], number / 100);
  EXPECT_EQ(slices[0].data.size(), static_cast<std::size_t>(number / 100) * 8);
  EXPECT_EQ(slices[1].strings, (std::vector<std::string>{std::to_string(number)}));
  if (!samples.labels.empty()) {
    EXPECT_EQ(samples.labels[i], std::to_string(number));
  }
  return std::to_string(number);
}

TEST(Sizes, NumberedArraysAreOneSetInWhichEachSampleKeepsItsSize) {
  const auto samples = fit_sizes(both(words(".2", 6, 5, true), words("", 3, 7, true)), kWords);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(samples->count, 9U);
  EXPECT_EQ(sizes_of(*samples), 2U);
  EXPECT_EQ(samples->inputs[0].shape, (std::vector<std::int64_t>{6, 5}));  // of which there are most
  std::vector<std::string> said;
  for (std::uint64_t i = 0; i < 9; ++i) said.push_back(said_by(*samples, i));
  // Two of the one to one of the other.
  EXPECT_EQ(said, (std::vector<std::string>{"500", "700", "501", "502", "701", "503", "504", "702", "505"}));
}

TEST(Sizes, MoreRowsThanASampleHasAreOfItsSize) {
  const auto samples = fit_sizes(both(words("", 3, 5), words(".2", 2, 7)), kWords);
  ASSERT_TRUE(samples) << samples.error().message;
  const auto slices = slices_of(*samples, 1, 4);
  EXPECT_EQ(slices[0].shape, (std::vector<std::int64_t>{4, 7}));
  EXPECT_EQ(slices[1].strings, (std::vector<std::string>{"700", "701", "700", "701"}));
}

TEST(Sizes, OneSizeIsAsItWasBefore) {
  const auto plain = fit_sizes(words("", 3, 5), kWords);
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(sizes_of(*plain), 1U);
  EXPECT_TRUE(plain->places.empty());
  EXPECT_EQ(said_by(*plain, 2), "502");
  // The single array of a single input may have any name, also one that looks numbered.
  Array any{.name = "rows.2", .datatype = Datatype::int64, .shape = {2, 3}, .data = std::vector<std::byte>(48)};
  EXPECT_EQ(fit_sizes({any}, {.inputs = {{"x", Datatype::int64, {-1, -1}}}})->count, 2U);
}

TEST(Sizes, ItComesApartAsItWas) {
  const auto samples = fit_sizes(both(words("", 2, 7, true), both(words(".2", 6, 5, true), words(".3", 2, 4, true))), kWords);
  ASSERT_TRUE(samples) << samples.error().message;
  std::vector<Array> again;
  for (std::size_t size = 0; const Samples& set : by_size(*samples)) {
    EXPECT_EQ(set.labels, set.inputs[1].strings);
    for (Array array : set.inputs) array.name = numbered(array.name, size), again.push_back(array);
    ++size;
  }
  EXPECT_EQ(again[2].name, "ids.2");
  const auto back = fit_sizes(again, kWords);
  ASSERT_TRUE(back) << back.error().message;
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(said_by(*back, i), said_by(*samples, i));
}

TEST(Sizes, ASplitTakesOfEachSize) {
  const auto samples = fit_sizes(both(words("", 90, 5, true), words(".2", 30, 7, true)), kWords);
  const Parts parts = split(*samples, 20, 50);
  EXPECT_TRUE(parts.apart);
  ASSERT_EQ(parts.calibration.count, 20U);
  ASSERT_EQ(parts.rest.count, 100U);
  std::set<std::string> all;
  std::uint64_t long_ones = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string said = said_by(parts.calibration, i);
    long_ones += said[0] == '7';
    all.insert(said);
  }
  EXPECT_GE(long_ones, 3U);
  EXPECT_LE(long_ones, 7U);
  for (std::uint64_t i = 0; i < 100; ++i) all.insert(said_by(parts.rest, i));
  EXPECT_EQ(all.size(), 120U);
}

TEST(Sizes, WhatIsWrongIsSaid) {
  const auto says = [](std::vector<Array> arrays, const std::string& what) {
    const auto samples = fit_sizes(std::move(arrays), kWords);
    ASSERT_FALSE(samples) << what;
    EXPECT_NE(samples.error().message.find(what), std::string::npos) << samples.error().message;
  };
  says(both(words("", 2, 5), words(".3", 2, 7)), "nothing of size 2");
  says(words(".2", 2, 7), "nothing of size 1");
  says(both(words("", 2, 5, true), words(".2", 2, 7)), "labels of size 1 of the sample set and none of size 2");
  says(both(words("", 2, 5), words(".2", 2, 7, true)), "labels of size 2 of the sample set and none of size 1");
  says(both(words("", 2, 5), {words(".2", 2, 7)[0]}), "of size 2 of the sample set: the sample set has no array for input 't'");
  says(both(words("", 2, 5), words(".257", 2, 7)), "at most 256");
  says({}, "no array for input 'ids'");
}

TEST(Sizes, NamesThatLookNumberedAreNames) {
  const Signature both_names{.inputs = {{"ids", Datatype::int64, {-1, -1}}, {"ids.2", Datatype::int64, {-1, -1}}}};
  EXPECT_EQ(sizes_max(both_names), 1U);
  EXPECT_EQ(sizes_max(kWords), kSizesMax);
  auto arrays = words("", 2, 5);
  arrays[1] = words(".2", 2, 3)[0];
  const auto samples = fit_sizes(arrays, both_names);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(sizes_of(*samples), 1U);
  EXPECT_EQ(samples->inputs[1].shape, (std::vector<std::int64_t>{2, 3}));
  // As PyTorch numbers them: "input.1" is no second size of anything.
  EXPECT_EQ(sizes_max({.inputs = {{"input.1", Datatype::fp32, {-1, -1}}}}), kSizesMax);
}

}  // namespace
}  // namespace mayfly::gate
