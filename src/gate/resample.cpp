#include "gate/resample.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace mayfly::gate {
namespace {

constexpr int kBits = 32 - 8 - 2;  // of a weight: eight are a pixel's, two are left for sums beyond 255

double weight(PictureFilter filter, double x) {
  x = std::fabs(x);
  if (filter == PictureFilter::bilinear) return x < 1 ? 1 - x : 0;
  constexpr double kA = -0.5;
  if (x < 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * kA : 0;
}

// Of one pixel of the result: which pixels it is made of, and how much of each.
struct Window {
  std::size_t first = 0;
  std::vector<int> weights;
};

std::vector<Window> windows(std::size_t from, std::size_t to, PictureFilter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), widened = std::max(scale, 1.0);
  const double inverse = 1.0 / widened, support = (filter == PictureFilter::bilinear ? 1.0 : 2.0) * widened;
  std::vector<Window> made(to);
  for (std::size_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = static_cast<std::size_t>(std::max(center - support + 0.5, 0.0));
    const std::size_t end = std::min(static_cast<std::size_t>(center + support + 0.5), from);
    std::vector<double> exact;
    double sum = 0;
    for (std::size_t x = first; x < end; ++x) {
      exact.push_back(weight(filter, (static_cast<double>(x) - center + 0.5) * inverse));
      sum += exact.back();
    }
    made[i].first = first;
    for (const double w : exact) {
      const double scaled = (sum != 0 ? w / sum : w) * (1 << kBits);
      made[i].weights.push_back(static_cast<int>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return made;
}

std::uint8_t rounded(int sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

Picture along_lines(const Picture& from, std::size_t width, PictureFilter filter) {
  Picture to{width, from.height, from.channels, std::vector<std::uint8_t>(width * from.height * from.channels)};
  const auto all = windows(from.width, width, filter);
  std::uint8_t* out = to.pixels.data();
  for (std::size_t y = 0; y < from.height; ++y) {
    const std::uint8_t* line = from.pixels.data() + y * from.width * from.channels;
    for (const Window& window : all)
      for (std::size_t c = 0; c < from.channels; ++c) {
        int sum = 1 << (kBits - 1);
        const std::uint8_t* pixel = line + window.first * from.channels + c;
        for (const int w : window.weights) {
          sum += *pixel * w;
          pixel += from.channels;
        }
        *out++ = rounded(sum);
      }
  }
  return to;
}

Picture along_columns(const Picture& from, std::size_t height, PictureFilter filter) {
  const std::size_t stride = from.width * from.channels;
  Picture to{from.width, height, from.channels, std::vector<std::uint8_t>(stride * height)};
  const auto all = windows(from.height, height, filter);
  std::vector<int> sums(stride);
  for (std::size_t y = 0; y < height; ++y) {
    std::ranges::fill(sums, 1 << (kBits - 1));
    for (std::size_t i = 0; i < all[y].weights.size(); ++i) {
      const std::uint8_t* line = from.pixels.data() + (all[y].first + i) * stride;
      for (std::size_t x = 0; x < stride; ++x) sums[x] += line[x] * all[y].weights[i];
    }
    std::ranges::transform(sums, to.pixels.data() + y * stride, rounded);
  }
  return to;
}

}  // namespace

std::string_view name(PictureFilter filter) { return filter == PictureFilter::bilinear ? "bilinear" : "bicubic"; }

Picture resized(const Picture& picture, std::size_t width, std::size_t height, PictureFilter filter) {
  ASSERT(picture.width > 0 && picture.height > 0 && width > 0 && height > 0, "a picture has a size");
  ASSERT(picture.pixels.size() == picture.width * picture.height * picture.channels, "each pixel is there");
  Picture made = width == picture.width ? picture : along_lines(picture, width, filter);
  return height == picture.height ? made : along_columns(made, height, filter);
}

Picture grey(const Picture& picture) {
  ASSERT(picture.channels == 3, "what becomes grey has three channels");
  Picture made{picture.width, picture.height, 1, std::vector<std::uint8_t>(picture.width * picture.height)};
  for (std::size_t i = 0; i < made.pixels.size(); ++i) {
    const std::uint8_t* p = picture.pixels.data() + 3 * i;
    made.pixels[i] = static_cast<std::uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16);
  }
  return made;
}

Picture middle_of(const Picture& picture, std::size_t width, std::size_t height) {
  ASSERT(width <= picture.width && height <= picture.height, "the middle is no larger than the whole");
  // Python's round(), which torchvision takes: a half goes to the even number.
  const auto half = [](std::size_t n) { return static_cast<std::size_t>(std::nearbyint(static_cast<double>(n) / 2)); };
  const std::size_t left = half(picture.width - width), top = half(picture.height - height), line = width * picture.channels;
  Picture made{width, height, picture.channels, std::vector<std::uint8_t>(line * height)};
  for (std::size_t y = 0; y < height; ++y)
    std::copy_n(picture.pixels.data() + ((top + y) * picture.width + left) * picture.channels, line, made.pixels.data() + y * line);
  return made;
}

}  // namespace mayfly::gate
