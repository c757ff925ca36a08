#include "gate/samples.h"

#include <gtest/gtest.h>

#include "gate/csv.h"

namespace mayfly::gate {
namespace {

using domain::Datatype;
using domain::Signature;

Array numbers(std::string name, std::vector<std::int64_t> shape, Datatype type = Datatype::fp32) {
  Array array{.name = std::move(name), .datatype = type, .shape = std::move(shape)};
  array.data.resize(count_of(array.shape) * domain::element_size(type));
  for (std::uint64_t i = 0; i < count_of(array.shape); ++i) put_number(array, i, static_cast<double>(i % 3));
  return array;
}

const Signature kImages{.inputs = {{"image", Datatype::fp32, {-1, 1, 2, 2}}}};
const Signature kTwo{.inputs = {{"ids", Datatype::int64, {-1, -1}}, {"mask", Datatype::int64, {-1, -1}}}};
const Signature kRow{.inputs = {{"x", Datatype::fp32, {-1, 3}}}};

TEST(Csv, ColumnsAndQuotes) {
  const auto columns = parse_csv("\xef\xbb\xbf" "a, b ,\"c,\"\"d\"\"\"\r\n1,-2.5e3, x\r\n\r\n+3,4,\"y\n\"\r\n", "f.csv");
  ASSERT_TRUE(columns) << columns.error().message;
  ASSERT_EQ(columns->size(), 3U);
  EXPECT_EQ((*columns)[0].name, "a");
  EXPECT_EQ((*columns)[1].name, "b");
  EXPECT_EQ((*columns)[2].name, "c,\"d\"");
  EXPECT_EQ(number_at((*columns)[1], 0), -2500);
  EXPECT_EQ(number_at((*columns)[0], 1), 3);
  EXPECT_EQ((*columns)[2].strings, (std::vector<std::string>{"x", "y\n"}));
}

TEST(Csv, WhatIsWrongIsSaidWithItsLine) {
  for (const auto& [text, says] : {std::pair("", "is empty"), std::pair("a,b\n", "no sample"), std::pair("a,b\n1\n", "line 2: 1 cells"),
                                   std::pair("a,b\n1,2\n3,4,5\n", "line 3: 3 cells"), std::pair("a\n\"1\n", "line 2: a quote"),
                                   std::pair("a\n1\"2\n", "line 2: a quote"), std::pair("a\n\"1\"2\n", "line 2: a quote")}) {
    const auto columns = parse_csv(text, "f.csv");
    ASSERT_FALSE(columns) << text;
    EXPECT_NE(columns.error().message.find(says), std::string::npos) << columns.error().message;
  }
}

TEST(Samples, ArraysByName) {
  const auto samples =
      fit_arrays({numbers("mask", {4, 5}, Datatype::int32), numbers("label", {4, 1}, Datatype::fp64), numbers("ids", {4, 5})}, kTwo);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(samples->count, 4U);
  EXPECT_EQ(samples->inputs[0].name, "ids");
  EXPECT_EQ(samples->inputs[1].datatype, Datatype::int64);
  EXPECT_EQ(samples->labels, (std::vector<std::string>{"0", "1", "2", "0"}));
}

TEST(Samples, OneArrayMayHaveAnyName) {
  const auto samples = fit_arrays({numbers("arr_0", {6, 1, 2, 2})}, kImages);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(samples->inputs[0].name, "image");
  EXPECT_TRUE(samples->labels.empty());
}

TEST(Samples, AModelThatFixesItsRowsGetsThemTogether) {
  const Signature fixed{.inputs = {{"x", Datatype::fp32, {2, 3}}}};
  const auto samples = fit_arrays({numbers("x", {6, 3})}, fixed);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(samples->count, 3U);
  EXPECT_EQ(samples->rows, 2);
  EXPECT_FALSE(fit_arrays({numbers("x", {5, 3})}, fixed));
}

TEST(Samples, WhatIsWrongIsSaid) {
  struct Case {
    std::vector<Array> arrays;
    Signature signature;
    std::string says;
  };
  Array texts{.name = "x", .datatype = Datatype::bytes, .shape = {1, 3}, .strings = {"a", "b", "c"}};
  Array halves = numbers("label", {2}, Datatype::fp64);
  put_number(halves, 1, 0.5);
  for (const Case& c :
       {Case{{numbers("image", {6, 3, 2, 2})}, kImages, "[6,3,2,2], and the model takes [?,1,2,2]"},
        Case{{numbers("image", {4})}, kImages, "[4], and the model takes"}, Case{{numbers("image", {0, 1, 2, 2})}, kImages, "is empty"},
        Case{{numbers("ids", {4, 5})}, kTwo, "no array for input 'mask'"}, Case{{}, kRow, "no array for input 'x'"},
        Case{{numbers("ids", {4, 5}), numbers("mask", {3, 5})}, kTwo, "3 samples and 'ids' 4"},
        Case{{numbers("x", {4, 3}), numbers("label", {3})}, kRow, "3 labels for 4 samples"},
        Case{{numbers("x", {4, 3}), numbers("label", {4, 10})}, kRow, "one label a sample"},
        Case{{numbers("x", {2, 3}), halves}, kRow, "label 1 is 0.5"}, Case{{texts}, kRow, "holds texts"},
        Case{{numbers("x", {1})}, {.inputs = {{"x", Datatype::fp32, {}}}}, "a single value"}}) {
    const auto samples = fit_arrays(c.arrays, c.signature);
    ASSERT_FALSE(samples) << c.says;
    EXPECT_NE(samples.error().message.find(c.says), std::string::npos) << samples.error().message;
  }
}

TEST(Samples, ColumnsAreTheInputInTheirOrder) {
  auto columns = parse_csv("b,label,a,c\n1,cat,2,3\n4,dog,5,6\n", "f.csv");
  ASSERT_TRUE(columns);
  const auto samples = fit_columns(*columns, kRow);
  ASSERT_TRUE(samples) << samples.error().message;
  EXPECT_EQ(samples->labels, (std::vector<std::string>{"cat", "dog"}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(number_at(samples->inputs[0], static_cast<std::uint64_t>(i)), i + 1);
  const auto narrow = fit_columns(parse_csv("a,b\n1,2\n", "f.csv").value(), kRow);
  ASSERT_FALSE(narrow);
  EXPECT_NE(narrow.error().message.find("2 columns"), std::string::npos) << narrow.error().message;
  const auto mixed = fit_columns(parse_csv("a,b,c\n1,x,3\n", "f.csv").value(), kRow);
  ASSERT_FALSE(mixed);
  EXPECT_NE(mixed.error().message.find("column 'b' holds texts, like 'x'"), std::string::npos) << mixed.error().message;
  const Signature named{.inputs = {{"age", Datatype::fp32, {-1, 1}}, {"town", Datatype::bytes, {-1, 1}}}};
  const auto by_name = fit_columns(parse_csv("town,age\nUlm,3\n", "f.csv").value(), named);
  ASSERT_TRUE(by_name) << by_name.error().message;
  EXPECT_EQ(by_name->inputs[1].strings[0], "Ulm");
}

TEST(Samples, MadeUpOnesAreTheSameEveryTime) {
  const Signature signature{.inputs = {{"input_ids", Datatype::int64, {-1, -1}}, {"attention_mask", Datatype::int64, {-1, -1}},
                                       {"x", Datatype::fp32, {-1, 3}}}};
  const auto one = make_samples(signature, {.count = 50, .size = 8, .whole_max = 9});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->inputs[0].shape, (std::vector<std::int64_t>{50, 8}));
  for (std::uint64_t i = 0; i < 400; ++i) {
    EXPECT_LE(number_at(one->inputs[0], i), 9);
    EXPECT_EQ(number_at(one->inputs[1], i), 1);
  }
  EXPECT_NE(slice_of(one->inputs[2], 0, 1).data, slice_of(one->inputs[2], 1, 1).data);
  EXPECT_EQ(one->inputs, make_samples(signature, {.count = 50, .size = 8, .whole_max = 9})->inputs);
  EXPECT_FALSE(make_samples(signature, {.count = 1'000'000, .size = 100'000}));
}

TEST(Samples, SlicesBeginAgainAtTheEnd) {
  const Array array = numbers("x", {3, 1});
  const Slice slice = slice_of(array, 2, 2);
  EXPECT_EQ(slice.shape, (std::vector<std::int64_t>{2, 1}));
  const Array taken{.shape = slice.shape, .data = slice.data};
  EXPECT_EQ(number_at(taken, 0), 2);
  EXPECT_EQ(number_at(taken, 1), 0);
}

}  // namespace
}  // namespace mayfly::gate
