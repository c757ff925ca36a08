// How a picture becomes the numbers of a model's input: resized, its middle cut out, channels in the model's order and layout, values
// between two bounds, less a mean and divided by a deviation. The steps and their defaults are those of torchvision's ImageFolder and
// its reference transforms; `--pictures` of `mayfly optimize` changes them. Pure: decoding is worker/picture.h's.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "gate/resample.h"

namespace mayfly::gate {

struct PicturePlan {
  domain::TensorSpec input;
  std::size_t channels = 3, width = 0, height = 0;  // that the model takes
  std::size_t box_width = 0, box_height = 0;        // it is resized so that it just covers this, and keeps its proportions …
  bool squeezed = false;                            // … or so that it becomes this
  PictureFilter filter = PictureFilter::bilinear;
  bool channels_last = false, blue_first = false;
  double low = 0, high = 1;                         // what 0 and 255 become
  std::vector<double> mean, deviation;              // one each, or one a channel; in units of low to high
  std::uint64_t count_max = 0;                      // pictures of a folder
  std::string guessed;                              // what neither the model nor the user said: for a message; may be empty
};

// `how` is blank, or words like "resize=256 crop=224 mean=0.5 std=0.25 order=bgr range=-1..1 filter=bicubic count=500"; a list has commas.
// Error invalid_argument: a word that is not known, or an input that is no picture: [N,C,H,W], [N,H,W,C] or [N,H,W] of floats or UINT8.
[[nodiscard]] Result<PicturePlan> plan_pictures(const domain::Signature& signature, std::string_view how);

// "shorter side to 256, middle 224x224, RGB, 0..1, mean 0.485,0.456,0.406, std 0.229,0.224,0.225, [N,C,H,W]"
[[nodiscard]] std::string text_of(const PicturePlan& plan);

// Bytes of one sample.
[[nodiscard]] std::uint64_t sample_size(const PicturePlan& plan);

// One sample of a picture of three channels. Error invalid_argument: it is smaller than what is cut out of it, or too narrow to be resized.
[[nodiscard]] Result<std::string> prepared(const Picture& picture, const PicturePlan& plan);

}  // namespace mayfly::gate
