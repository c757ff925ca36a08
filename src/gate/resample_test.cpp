#include "gate/resample.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mayfly::gate {
namespace {

Picture line(std::vector<std::uint8_t> pixels) { return {.width = pixels.size(), .height = 1, .channels = 1, .pixels = std::move(pixels)}; }

// What Pillow 12 makes of the same bytes: Image.frombytes("L", …).resize(…, BILINEAR or BICUBIC).
TEST(ResampleTest, AsPillowMakesIt) {
  EXPECT_EQ(resized(line({0, 255}), 4, 1, PictureFilter::bilinear).pixels, (std::vector<std::uint8_t>{0, 64, 191, 255}));
  EXPECT_EQ(resized(line({0, 50, 100, 150, 200, 250}), 3, 1, PictureFilter::bilinear).pixels, (std::vector<std::uint8_t>{36, 125, 214}));
  EXPECT_EQ(resized(line({0, 255, 0, 255}), 8, 1, PictureFilter::bicubic).pixels,
            (std::vector<std::uint8_t>{0, 54, 216, 215, 40, 39, 201, 255}));
}

TEST(ResampleTest, ColumnsAreResizedAsLines) {
  Picture upright = line({0, 50, 100, 150, 200, 250});
  std::swap(upright.width, upright.height);
  EXPECT_EQ(resized(upright, 1, 3, PictureFilter::bilinear).pixels, (std::vector<std::uint8_t>{36, 125, 214}));
  EXPECT_EQ(resized(upright, 1, 6, PictureFilter::bicubic), upright) << "of its size it stays as it is";
}

TEST(ResampleTest, ChannelsDoNotMix) {
  const Picture from{.width = 2, .height = 2, .channels = 3, .pixels = {255, 0, 9, 255, 0, 9, 255, 0, 9, 255, 0, 9}};
  const Picture to = resized(from, 5, 7, PictureFilter::bicubic);
  ASSERT_EQ(to.pixels.size(), 105U);
  for (std::size_t i = 0; i < to.pixels.size(); ++i) EXPECT_EQ(to.pixels[i], (i % 3 == 0 ? 255 : i % 3 == 1 ? 0 : 9)) << i;
}

TEST(ResampleTest, GreyIsLuma) {
  const Picture from{.width = 4, .height = 1, .channels = 3, .pixels = {255, 0, 0, 0, 255, 0, 0, 0, 255, 77, 77, 77}};
  EXPECT_EQ(grey(from).pixels, (std::vector<std::uint8_t>{76, 150, 29, 77}));
}

TEST(ResampleTest, TheMiddleRoundsAsPythonDoes) {
  EXPECT_EQ(middle_of(line({0, 1, 2, 3, 4}), 2, 1).pixels, (std::vector<std::uint8_t>{2, 3})) << "1.5 becomes 2";
  EXPECT_EQ(middle_of(line({0, 1, 2, 3, 4}), 4, 1).pixels, (std::vector<std::uint8_t>{0, 1, 2, 3})) << "0.5 becomes 0";
  EXPECT_EQ(middle_of(line({0, 1, 2, 3, 4}), 3, 1).pixels, (std::vector<std::uint8_t>{1, 2, 3}));
}

}  // namespace
}  // namespace mayfly::gate
