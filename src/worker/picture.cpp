#include "worker/picture.h"

#include <png.h>
#include <turbojpeg.h>

#include <memory>
#include <string>

namespace mayfly::worker {
namespace {

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

Result<gate::Picture> room_for(std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0) return wrong("it has no pixels");
  if (width > kPictureSideMax || height > kPictureSideMax || width * height > kPicturePixelsMax)
    return wrong("it has " + std::to_string(width) + "x" + std::to_string(height) + " pixels: at most 65,500 a side and 67,108,864 in all");
  return gate::Picture{.width = width, .height = height};
}

struct EndJpeg {
  void operator()(void* handle) const { ::tjDestroy(handle); }
};

Result<gate::Picture> decode_jpeg(std::string_view bytes) {
  const std::unique_ptr<void, EndJpeg> handle(::tjInitDecompress());
  if (!handle) return fail(Code::exhausted, "no memory for a decoder");
  const auto reason = [&] { return std::string(::tjGetErrorStr2(handle.get())); };
  const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());
  int width = 0, height = 0, sampling = 0, colors = 0;
  if (::tjDecompressHeader3(handle.get(), from, size, &width, &height, &sampling, &colors) != 0)
    return wrong("a JPEG that is damaged: " + reason());
  if (colors == TJCS_CMYK || colors == TJCS_YCCK) return wrong("a JPEG for printing (CMYK): save it as RGB");
  TRY(gate::Picture picture, room_for(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height)));
  picture.pixels.resize(picture.width * picture.height * 3);
  // A file of thousands of scans, each over all its pixels, would take minutes. Of the warnings only those tell of pixels that are not
  // there which say that the file or a part of it ends too early; cameras write files with the others.
  if (::tjDecompress2(handle.get(), from, size, picture.pixels.data(), width, 0, height, TJPF_RGB, TJFLAG_LIMITSCANS) != 0 &&
      (::tjGetErrorCode(handle.get()) != TJERR_WARNING || reason().find("remature end") != std::string::npos))
    return wrong("a JPEG that is damaged: " + reason());
  return picture;
}

struct EndPng {
  void operator()(png_image* image) const { ::png_image_free(image); }
};

Result<gate::Picture> decode_png(std::string_view bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, EndPng> end(&image);
  const auto reason = [&] { return "a PNG that is damaged: " + std::string(image.message); };
  if (!::png_image_begin_read_from_memory(&image, bytes.data(), bytes.size())) return wrong(reason());
  TRY(gate::Picture picture, room_for(image.width, image.height));
  // With alpha, so that the colours come as they are and not in front of a background.
  image.format = PNG_FORMAT_RGBA;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  std::vector<std::uint8_t> pixels(picture.width * picture.height * 4);
  if (!::png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr)) return wrong(reason());
  picture.pixels.resize(picture.width * picture.height * 3);
  for (std::size_t i = 0; i < picture.width * picture.height; ++i)
    for (std::size_t c = 0; c < 3; ++c) picture.pixels[3 * i + c] = pixels[4 * i + c];
  return picture;
}

}  // namespace

Result<gate::Picture> decode_picture(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return decode_png(bytes);
  return wrong(bytes.empty() ? "it is empty" : "it is neither a JPEG nor a PNG by its first bytes");
}

}  // namespace mayfly::worker
