#include "gate/pictures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "gate/npy.h"
#include "gate/npy_write.h"

namespace mayfly::gate {
namespace {

using domain::Datatype;

domain::Signature takes(std::vector<std::int64_t> shape, Datatype type = Datatype::fp32) {
  return {.inputs = {{"x", type, std::move(shape)}}};
}

PicturePlan plan(std::vector<std::int64_t> shape, const char* how = "", Datatype type = Datatype::fp32) {
  const auto made = plan_pictures(takes(std::move(shape), type), how);
  EXPECT_TRUE(made) << made.error().message;
  return made.value_or(PicturePlan{});
}

std::vector<float> floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

Picture two_pixels() { return {.width = 2, .height = 1, .channels = 3, .pixels = {255, 0, 51, 102, 204, 153}}; }

TEST(PicturesTest, DefaultsAreTorchvisions) {
  EXPECT_EQ(text_of(plan({-1, 3, 224, 224})),
            "shorter side to 256, middle 224x224, RGB, 0..1, mean 0.485,0.456,0.406, std 0.229,0.224,0.225, [N,C,H,W]");
  EXPECT_EQ(text_of(plan({-1, 28, 28})), "shorter side to 28, middle 28x28, grey, 0..1, [N,H,W]");
  EXPECT_EQ(text_of(plan({-1, 96, 64, 3}, "", Datatype::uint8)), "to cover 96x64, middle 96x64, RGB, 0..255, [N,H,W,C]");
  EXPECT_EQ(text_of(plan({-1, 3, -1, -1}, "range=-1..1 order=bgr filter=bicubic crop=320 resize=320x320")),
            "whole to 320x320 (bicubic), BGR, -1..1, [N,C,H,W]");
  EXPECT_NE(plan({-1, 3, -1, -1}).guessed.find("224"), std::string::npos);
  EXPECT_EQ(plan({-1, 3, 64, 64}).guessed, "");
  EXPECT_EQ(plan({-1, 3, 64, 64}, " count=7  ").count_max, 7U);
}

TEST(PicturesTest, WhatIsNoPictureOrNotUnderstoodIsSaid) {
  const auto message = [](const domain::Signature& signature, const char* how) {
    const auto made = plan_pictures(signature, how);
    return made ? std::string("taken") : made.error().message;
  };
  for (const auto& [shape, how, holds] : std::initializer_list<std::tuple<std::vector<std::int64_t>, const char*, const char*>>{
           {{-1, 64}, "", "is no picture"},
           {{-1, 7, 8, 8}, "", "is no picture"},
           {{-1, 3, 9000, 8}, "", "8192"},
           {{-1, 3, 8, 8}, "crop", "crop=''"},
           {{-1, 3, 8, 8}, "crop=16", "the model takes [?,3,8,8]"},
           {{-1, 3, 8, 8}, "resize=8x", "HEIGHTxWIDTH"},
           {{-1, 3, 8, 8}, "resize=7", "less than"},
           {{-1, 3, 8, 8}, "resize=9x7", "less than"},
           {{-1, 3, 8, 8}, "mean=1,2", "3 channels"},
           {{-1, 3, 8, 8}, "mean=1,2,3,4", "with commas"},
           {{-1, 3, 8, 8}, "mean=inf", "a number"},
           {{-1, 3, 8, 8}, "std=1,-1,1", "above 0"},
           {{-1, 3, 8, 8}, "range=1..0", "two numbers"},
           {{-1, 3, 8, 8}, "range=..", "two numbers"},
           {{-1, 3, 8, 8}, "order=rbg", "rgb or bgr"},
           {{-1, 3, 8, 8}, "filter=box", "bicubic"},
           {{-1, 3, 8, 8}, "count=-1", "1000000"},
           {{-1, 3, 8, 8}, "size=8", "is not known"}})
    EXPECT_NE(message(takes(shape), how).find(holds), std::string::npos) << how << ": " << message(takes(shape), how);
  EXPECT_NE(message(takes({-1, 3, 8, 8}, Datatype::uint8), "mean=1").find("bytes as they are"), std::string::npos);
  EXPECT_NE(message(takes({-1, 3, 8, 8}, Datatype::int64), "").find("neither"), std::string::npos);
  EXPECT_NE(message({.inputs = {{"a", Datatype::fp32, {-1}}, {"b", Datatype::fp32, {-1}}}}, "").find("one input"), std::string::npos);
}

TEST(PicturesTest, NumbersStandWhereTheModelWantsThem) {
  const auto first = prepared(two_pixels(), plan({-1, 3, 1, 2}, "range=0..255"));
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(floats(*first), (std::vector<float>{255, 102, 0, 204, 51, 153}));
  EXPECT_EQ(floats(*prepared(two_pixels(), plan({-1, -1, 2, 3}, "crop=1x2 range=0..255 order=bgr"))),
            (std::vector<float>{51, 0, 255, 153, 204, 102}));
  EXPECT_EQ(floats(*prepared(two_pixels(), plan({-1, 3, 1, 2}, "mean=0.2,0,1 std=2,1,1"))),
            (std::vector<float>{0.4F, static_cast<float>((102 / 255.0 - 0.2) / 2), 0, 0.8F, static_cast<float>(51 / 255.0 - 1),
                                static_cast<float>(153 / 255.0 - 1)}));
  EXPECT_EQ(*prepared(two_pixels(), plan({-1, 3, 1, 2}, "", Datatype::uint8)), std::string("\xff\x66\x00\xcc\x33\x99", 6));
  EXPECT_EQ(prepared(two_pixels(), plan({-1, 3, 8, 8}, "", Datatype::fp16))->size(), sample_size(plan({-1, 3, 8, 8}, "", Datatype::fp16)));
}

TEST(PicturesTest, ItIsResizedToCoverOrToBecomeTheBox) {
  Picture black{.width = 40, .height = 20, .channels = 3, .pixels = std::vector<std::uint8_t>(2400)};
  black.pixels[0] = 255;  // a corner, of which nothing is left where the middle is cut out
  const auto brightest = [&](const char* how) {
    const auto values = prepared(black, plan({-1, 10, 10, 3}, how, Datatype::uint8));
    EXPECT_TRUE(values) << values.error().message;
    return values ? std::ranges::max(*values, {}, [](char c) { return static_cast<unsigned char>(c); }) : 0;
  };
  EXPECT_EQ(brightest(""), 0);
  EXPECT_NE(brightest("resize=10x10"), 0) << "the whole of it is there";
  EXPECT_EQ(brightest("resize=20x20"), 0);
  EXPECT_EQ(prepared(black, plan({-1, 10, 20, 3}, "", Datatype::uint8))->size(), 600U) << "of the same proportions nothing is cut off";
}

TEST(PicturesTest, APictureThatDoesNotFitIsSaid) {
  const auto small = prepared(two_pixels(), plan({-1, 3, 8, 64}, "resize=8"));
  ASSERT_FALSE(small);
  EXPECT_NE(small.error().message.find("it becomes 8x16, and 8x64"), std::string::npos) << small.error().message;
  const Picture narrow{.width = 60000, .height = 1, .channels = 3, .pixels = std::vector<std::uint8_t>(180000)};
  const auto resized = prepared(narrow, plan({-1, 3, 224, 224}));
  ASSERT_FALSE(resized);
  EXPECT_NE(resized.error().message.find("too narrow"), std::string::npos);
}

TEST(NpyWriteTest, WhatIsWrittenReadsBack) {
  for (const Datatype type : {Datatype::boolean, Datatype::uint8, Datatype::uint16, Datatype::uint32, Datatype::uint64, Datatype::int8,
                              Datatype::int16, Datatype::int32, Datatype::int64, Datatype::fp16, Datatype::fp32, Datatype::fp64}) {
    Array array{.name = "x", .datatype = type, .shape = {2, 1}, .data = std::vector<std::byte>(2 * domain::element_size(type))};
    put_number(array, 1, 1);
    const auto bytes = to_npy(array);
    ASSERT_TRUE(bytes);
    EXPECT_EQ((bytes->size() - array.data.size()) % 64, 0U) << "numpy aligns the elements";
    EXPECT_EQ(parse_npy(*bytes, "x").value(), array) << domain::name(type);
  }
  Array wide{.name = "x", .datatype = Datatype::bf16, .shape = {1}, .data = std::vector<std::byte>(2)};
  put_number(wide, 0, -2.5);
  EXPECT_EQ(number_at(parse_npy(*to_npy(wide), "x").value(), 0), -2.5);
  const Array texts{.name = "x", .datatype = Datatype::bytes, .shape = {3}, .strings = {"cat", "", "a longer one"}};
  EXPECT_EQ(parse_npy(*to_npy(texts), "x").value(), texts);
  const Array empty{.name = "x", .shape = {0, 4}};
  EXPECT_EQ(parse_npy(*to_npy(empty), "x").value().shape, empty.shape);
}

}  // namespace
}  // namespace mayfly::gate
