#include "gate/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace mayfly::gate {
namespace {

std::string npy(const std::string& descr, const std::string& order, const std::string& shape, const std::string& data) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  header += std::string(118 - header.size() - 1, ' ') + "\n";
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + data;
}

template <class T>
std::string bytes(std::initializer_list<T> values) {
  std::string out;
  for (const T value : values) out.append(reinterpret_cast<const char*>(&value), sizeof value);
  return out;
}

TEST(Npy, NumbersOfEveryType) {
  struct Case {
    std::string descr, data;
    domain::Datatype type;
  };
  using domain::Datatype;
  for (const Case& c :
       {Case{"<f4", bytes<float>({1, 2}), Datatype::fp32}, Case{"<f8", bytes<double>({1, 2}), Datatype::fp64},
        Case{"<f2", bytes<std::uint16_t>({0x3c00, 0x4000}), Datatype::fp16}, Case{"<i8", bytes<std::int64_t>({1, 2}), Datatype::int64},
        Case{"<i4", bytes<std::int32_t>({1, 2}), Datatype::int32}, Case{"|u1", bytes<std::uint8_t>({1, 2}), Datatype::uint8},
        Case{"<u8", bytes<std::uint64_t>({1, 2}), Datatype::uint64}}) {
    const auto array = parse_npy(npy(c.descr, "False", "(2,)", c.data), "x");
    ASSERT_TRUE(array) << c.descr << ": " << array.error().message;
    EXPECT_EQ(array->datatype, c.type) << c.descr;
    EXPECT_EQ(array->shape, std::vector<std::int64_t>{2}) << c.descr;
    EXPECT_EQ(number_at(*array, 0), 1) << c.descr;
    EXPECT_EQ(number_at(*array, 1), 2) << c.descr;
  }
  const auto one = parse_npy(npy("<f4", "False", "()", bytes<float>({7})), "x");
  ASSERT_TRUE(one);
  EXPECT_TRUE(one->shape.empty());
}

TEST(Npy, FortransOrderIsPutInCs) {
  // [[1, 2, 3], [4, 5, 6]] by columns.
  const auto array = parse_npy(npy("<i4", "True", "(2, 3)", bytes<std::int32_t>({1, 4, 2, 5, 3, 6})), "x");
  ASSERT_TRUE(array) << array.error().message;
  for (int i = 0; i < 6; ++i) EXPECT_EQ(number_at(*array, static_cast<std::uint64_t>(i)), i + 1);
}

TEST(Npy, TextsAreUtf8) {
  const auto narrow = parse_npy(npy("|S3", "False", "(2,)", std::string("ab\0cde", 6)), "x");
  ASSERT_TRUE(narrow) << narrow.error().message;
  EXPECT_EQ(narrow->strings, (std::vector<std::string>{"ab", "cde"}));
  const auto wide = parse_npy(npy("<U2", "False", "(2,)", bytes<std::uint32_t>({'a', 0, 0xfc, 0x1f600})), "x");
  ASSERT_TRUE(wide) << wide.error().message;
  EXPECT_EQ(wide->strings, (std::vector<std::string>{"a", "\xc3\xbc\xf0\x9f\x98\x80"}));
}

TEST(Npy, WhatIsWrongIsSaid) {
  struct Case {
    std::string bytes, says;
  };
  for (const Case& c :
       {Case{"", "first bytes"}, Case{"PK..", "first bytes"}, Case{npy("<f4", "False", "(3,)", bytes<float>({1, 2})), "cut short"},
        Case{npy("<f4", "False", "(99999999999,99999999999)", "x"), "cut short"}, Case{npy(">f4", "False", "(1,)", "0000"), "big-endian"},
        Case{npy("|O", "False", "(1,)", "0000"), "astype"}, Case{npy("<c8", "False", "(1,)", "00000000"), "astype"},
        Case{npy("<f4", "False", "(a,)", "0000"), "shape"}, Case{npy("<f4", "False", "(-1,)", "0000"), "shape"},
        Case{std::string("\x93NUMPY\x09\x00\x00\x00", 10), "version"}}) {
    const auto array = parse_npy(c.bytes, "x");
    ASSERT_FALSE(array) << c.says;
    EXPECT_NE(array.error().message.find(c.says), std::string::npos) << array.error().message;
    EXPECT_EQ(array.error().code, Code::invalid_argument);
  }
}

TEST(ArrayTest, HalvesThereAndBack) {
  Array half{.datatype = domain::Datatype::fp16, .data = std::vector<std::byte>(2)};
  // Largest, smallest normal, smallest, ties to even, carries, infinite.
  for (const double value : {0.0, 1.0, -2.5, 65504.0, 0x1p-14, 0x1p-24, 1023 * 0x1p-24, 1.0009765625, 0.333251953125}) {
    put_number(half, 0, value);
    EXPECT_EQ(number_at(half, 0), value);
  }
  put_number(half, 0, 2047.5 / 2048);
  EXPECT_EQ(number_at(half, 0), 1);
  put_number(half, 0, 1e6);
  EXPECT_GT(number_at(half, 0), 1e6);
  Array brain{.datatype = domain::Datatype::bf16, .data = std::vector<std::byte>(2)};
  put_number(brain, 0, -1.5);
  EXPECT_EQ(number_at(brain, 0), -1.5);
}

TEST(ArrayTest, TypesChangeWhereNothingIsLost) {
  Array numbers{.name = "x", .datatype = domain::Datatype::fp64, .shape = {2}, .data = std::vector<std::byte>(16)};
  put_number(numbers, 0, 3);
  put_number(numbers, 1, 255);
  const auto small = as_type(numbers, domain::Datatype::uint8);
  ASSERT_TRUE(small);
  EXPECT_EQ(number_at(*small, 1), 255);
  for (const double bad : {256.0, -1.0, 0.5, std::numeric_limits<double>::quiet_NaN()}) {
    put_number(numbers, 1, bad);
    const auto refused = as_type(numbers, domain::Datatype::uint8);
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(refused.error().message.find("element 1 of 'x'"), std::string::npos) << refused.error().message;
  }
  put_number(numbers, 1, 1e19);
  EXPECT_FALSE(as_type(numbers, domain::Datatype::int64));
  EXPECT_TRUE(as_type(numbers, domain::Datatype::fp16));
  EXPECT_FALSE(as_type(numbers, domain::Datatype::bytes));
}

}  // namespace
}  // namespace mayfly::gate
