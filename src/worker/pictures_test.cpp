#include "worker/pictures.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <png.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <turbojpeg.h>
#include <unistd.h>

#include "worker/picture.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

std::string as_png(std::uint32_t width, std::uint32_t height, const std::vector<std::uint8_t>& rgb) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  EXPECT_TRUE(::png_image_write_to_memory(&image, bytes.data(), &size, 0, rgb.data(), 0, nullptr)) << image.message;
  bytes.resize(size);
  return bytes;
}

std::string as_jpeg(int width, int height, const std::vector<std::uint8_t>& rgb) {
  void* handle = ::tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(::tjCompress2(handle, rgb.data(), width, 0, height, TJPF_RGB, &out, &size, TJSAMP_444, 100, 0), 0);
  std::string bytes(reinterpret_cast<char*>(out), size);
  ::tjFree(out);
  ::tjDestroy(handle);
  return bytes;
}

gate::PicturePlan plan_of(std::int64_t height, std::int64_t width) {
  return gate::plan_pictures({.inputs = {{"x", domain::Datatype::uint8, {-1, 3, height, width}}}}, "").value();
}

TEST(PictureTest, PixelsComeAsTheyWereSaved) {
  const std::vector<std::uint8_t> rgb = {255, 0, 51, 102, 204, 153};
  const auto png = decode_picture(as_png(2, 1, rgb));
  ASSERT_TRUE(png) << png.error().message;
  EXPECT_EQ(png->pixels, rgb);
  EXPECT_EQ(png->width, 2U);
  const auto jpeg = decode_picture(as_jpeg(8, 8, std::vector<std::uint8_t>(192, 200)));
  ASSERT_TRUE(jpeg) << jpeg.error().message;
  EXPECT_EQ(jpeg->pixels, std::vector<std::uint8_t>(192, 200));
}

TEST(PictureTest, WhatIsCutShortIsAnError) {
  for (const std::string& whole :
       {as_png(8, 8, std::vector<std::uint8_t>(192, 7)), as_jpeg(64, 64, std::vector<std::uint8_t>(64 * 64 * 3, 7))})
    for (std::size_t size = 0; size + 20 < whole.size(); ++size)
      EXPECT_FALSE(decode_picture(std::string_view(whole).substr(0, size))) << size;
}

TEST(PicturesTest, TheBadAreNamedAndTheOthersAreTaken) {
  const std::vector<std::string> files = {as_png(2, 1, {255, 0, 51, 102, 204, 153}), "hello", as_png(2, 1, {1, 2, 3, 4, 5, 6})};
  const auto all = prepare_pictures(files, plan_of(1, 2), {});
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->size(), 3U);
  EXPECT_EQ((*all)[0].sample, std::string("\xff\x66\x00\xcc\x33\x99", 6));
  EXPECT_EQ((*all)[1].sample, "");
  EXPECT_NE((*all)[1].why.find("neither"), std::string::npos);
  EXPECT_EQ((*all)[2].sample, std::string("\1\4\2\5\3\6", 6));
}

TEST(PicturesTest, WhatADecoderDiesOfCostsOnePicture) {
  // A process ends of its result where that is larger than a file may be: first that of all together, then also that of each.
  const std::string one = as_png(32, 32, std::vector<std::uint8_t>(3072, 7));
  const std::vector<std::string> files = {one, "hello", one, one};
  const auto told = in_a_process([&]() -> Result<std::string> {
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    std::string seen;
    for (const rlim_t most : {4096, 3000}) {
      const rlimit limit{most, before.rlim_max};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      const auto all = prepare_pictures(files, plan_of(32, 32), {});
      ::setrlimit(RLIMIT_FSIZE, &before);
      if (!all) return fail(all.error());
      for (const PreparedPicture& picture : *all)
        seen += picture.sample.empty() ? picture.why.substr(0, 22) + "|" : std::to_string(picture.sample.size()) + "|";
    }
    return seen;
  }, {});
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(
      *told,
      "3072|it is neither a JPEG n|3072|3072|its decoder failed: it|it is neither a JPEG n|its decoder failed: it|its decoder failed: it|");
}

TEST(PicturesTest, ItEndsWhereItIsToldTo) {
  const std::vector<std::string> files = {as_png(6000, 6000, std::vector<std::uint8_t>(108'000'000))};
  const auto stopped = prepare_pictures(files, plan_of(64, 64), {.stops = [] { return true; }});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::cancelled);
}

TEST(PicturesTest, ADecoderCanOnlyCompute) {
  const auto told = in_a_process([]() -> Result<std::string> {
    TRY_VOID(apply_decoder_filter());
    std::string denied;
    const auto note = [&](const char* what, long returned) {
      denied += returned < 0 && errno == EPERM ? std::string(what) + " " : "NOT " + std::string(what);
    };
    note("open", ::open("/etc/passwd", O_RDONLY));
    note("socket", ::socket(AF_INET, SOCK_STREAM, 0));
    note("kill", ::kill(::getppid(), 0));
    note("fork", ::fork());
    note("exec", ::execl("/bin/true", "true", nullptr));
    note("unlink", ::unlink("/tmp/no such file"));
    return denied;
  }, {});
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(*told, "open socket kill fork exec unlink ");
}

}  // namespace
}  // namespace mayfly::worker
