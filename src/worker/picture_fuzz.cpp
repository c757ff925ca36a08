// A JPEG and a PNG into which any bytes were put at any places ('J' or 'P' in front, then three bytes each: two of the place, one for it),
// or any bytes alone: pixels of the size that was said, or an error that says why; and what is prepared of them is as large as the model
// wants.
#include <png.h>
#include <turbojpeg.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.h"
#include "gate/pictures.h"
#include "worker/picture.h"

namespace {

using namespace mayfly;

constexpr int kSide = 40;

std::vector<std::uint8_t> pixels() {
  std::vector<std::uint8_t> all(kSide * kSide * 3);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i * i / 7);
  return all;
}

std::string png() {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = kSide;
  image.format = PNG_FORMAT_RGB;
  std::string bytes(1 << 16, '\0');
  png_alloc_size_t size = bytes.size();
  ASSERT(::png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels().data(), 0, nullptr) != 0, "a PNG is made");
  bytes.resize(size);
  return bytes;
}

std::string jpeg() {
  void* handle = ::tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long size = 0;
  ASSERT(::tjCompress2(handle, pixels().data(), kSide, 0, kSide, TJPF_RGB, &out, &size, TJSAMP_420, 80, TJFLAG_PROGRESSIVE) == 0,
         "a JPEG is made");
  std::string bytes(reinterpret_cast<char*>(out), size);
  ::tjFree(out);
  ::tjDestroy(handle);
  return bytes;
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "J", "P", "J\x01\x02\x03\x02\x20\x20", "P\x01\x21\x21", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string kPng = png(), kJpeg = jpeg();
  static const gate::PicturePlan kPlan = gate::plan_pictures({.inputs = {{"x", domain::Datatype::fp32, {-1, 3, 16, 16}}}}, "").value();
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size > 0 && (data[0] == 'J' || data[0] == 'P')) {
    bytes = data[0] == 'J' ? kJpeg : kPng;
    for (std::size_t i = 1; i + 3 <= size; i += 3) bytes[(data[i] * 256U + data[i + 1]) % bytes.size()] = static_cast<char>(data[i + 2]);
  }
  const auto picture = worker::decode_picture(bytes);
  if (!picture) {
    ASSERT(!picture.error().message.empty(), "an error says what");
    return 0;
  }
  ASSERT(picture->pixels.size() == picture->width * picture->height * 3, "each pixel is there");
  if (picture->width * picture->height > 1 << 18) return 0;  // time
  const auto sample = gate::prepared(*picture, kPlan);
  ASSERT(!sample || sample->size() == gate::sample_size(kPlan), "a sample is whole");
  return 0;
}
