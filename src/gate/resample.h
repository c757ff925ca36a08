// Pictures of 8 bits a channel, and their resizing as Pillow does it (src/libImaging/Resample.c, MIT-CMU): a filter that is widened where
// the picture becomes smaller, first along the lines and then along the columns, with weights of 22 bits and a rounding to 8 bits
// between. So a model sees here what it saw in Python, to the byte, but where Pillow takes the columns first, as 13.0 does with some tall
// pictures: there the rounding between leaves a step of 255 with bilinear, some with bicubic. Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mayfly::gate {

struct Picture {
  std::size_t width = 0, height = 0, channels = 3;
  std::vector<std::uint8_t> pixels;  // line after line, the channels of a pixel beside one another
  friend bool operator==(const Picture&, const Picture&) = default;
};

enum class PictureFilter { bilinear, bicubic };
[[nodiscard]] std::string_view name(PictureFilter filter);

// Neither side may be 0, of what is given and of what is wanted.
[[nodiscard]] Picture resized(const Picture& picture, std::size_t width, std::size_t height, PictureFilter filter);

// As Pillow's convert("L"): ITU-R BT.601's luma. Of three channels.
[[nodiscard]] Picture grey(const Picture& picture);

// The middle of it, as torchvision's CenterCrop takes it. It must be at least as large.
[[nodiscard]] Picture middle_of(const Picture& picture, std::size_t width, std::size_t height);

}  // namespace mayfly::gate
