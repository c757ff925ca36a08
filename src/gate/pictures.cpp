#include "gate/pictures.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "gate/array.h"

namespace mayfly::gate {
namespace {

using domain::Datatype;

constexpr std::size_t kSideMax = 8192;                // of what a model takes
constexpr std::uint64_t kPixelsMax = 64ULL << 20;     // of a picture that was resized
constexpr std::size_t kFreeSide = 224;                // where the model takes any
constexpr std::size_t kLargeSide = 160;               // from here on the middle is cut out of a larger picture
constexpr std::uint64_t kCount = 2000, kCountMax = 1'000'000;
constexpr double kImagenetMean[] = {0.485, 0.456, 0.406}, kImagenetDeviation[] = {0.229, 0.224, 0.225};

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

bool is_float(Datatype type) {
  return type == Datatype::fp32 || type == Datatype::fp64 || type == Datatype::fp16 || type == Datatype::bf16;
}

std::string number_text(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string list_text(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : ",") + number_text(value);
  return text;
}

std::string size_text(std::size_t height, std::size_t width) { return std::to_string(height) + "x" + std::to_string(width); }

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> whole_of(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > most) return std::nullopt;
  return value;
}

std::unexpected<Error> not_understood(std::string_view key, std::string_view value, const std::string& takes) {
  return wrong("--pictures: " + std::string(key) + "='" + std::string(value.substr(0, 60)) + "' is not understood: " + takes);
}

// Two sides "224x320", high by wide, or one for both.
struct Sides {
  std::size_t height = 0, width = 0;
  bool one = true;
};
std::optional<Sides> sides_of(std::string_view text) {
  const std::size_t by = text.find('x');
  const auto height = whole_of(text.substr(0, by), kSideMax);
  const auto width = by == text.npos ? height : whole_of(text.substr(by + 1), kSideMax);
  if (!height || !width) return std::nullopt;
  return Sides{*height, *width, by == text.npos};
}

Result<std::vector<double>> numbers_of(std::string_view key, std::string_view text, std::size_t channels) {
  std::vector<double> values;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const auto value = number_of(text.substr(at, end - at));
    if (!value || values.size() == channels || (key == "std" && *value <= 0))
      return not_understood(key, text,
                            std::string("a number") + (channels > 1 ? ", or " + std::to_string(channels) + " with commas" : "") +
                                (key == "std" ? ", above 0" : ""));
    values.push_back(*value);
    at = end + 1;
  }
  if (values.size() != 1 && values.size() != channels)
    return not_understood(key, text, "one number, or one for each of the " + std::to_string(channels) + " channels");
  return values;
}

// What the words said, before the model's own sizes are taken.
struct Said {
  std::optional<Sides> crop, resize;
  bool numbers = false;  // of range, mean and std at least one
};

Result<void> take_word(std::string_view word, PicturePlan& plan, Said& said) {
  const std::size_t is = word.find('=');
  const std::string_view key = word.substr(0, is), value = is == word.npos ? "" : word.substr(is + 1);
  if (key == "resize" || key == "crop") {
    const auto sides = sides_of(value);
    if (!sides) return not_understood(key, value, "a number of pixels from 1 to 8192, or HEIGHTxWIDTH");
    (key == "crop" ? said.crop : said.resize) = sides;
  } else if (key == "mean" || key == "std") {
    TRY(auto numbers, numbers_of(key, value, plan.channels));
    (key == "mean" ? plan.mean : plan.deviation) = std::move(numbers);
    said.numbers = true;
  } else if (key == "range") {
    const std::size_t dots = value.find("..");
    const auto low = number_of(value.substr(0, dots)), high = number_of(dots == value.npos ? value : value.substr(dots + 2));
    if (dots == value.npos || !low || !high || *low >= *high)
      return not_understood(key, value, "two numbers, as in 0..1, 0..255 or -1..1");
    plan.low = *low;
    plan.high = *high;
    said.numbers = true;
  } else if (key == "order") {
    if ((value != "rgb" && value != "bgr") || plan.channels == 1)
      return not_understood(key, value, plan.channels == 1 ? "the model takes grey, which has one channel" : "rgb or bgr");
    plan.blue_first = value == "bgr";
  } else if (key == "filter") {
    if (value != "bilinear" && value != "bicubic") return not_understood(key, value, "bilinear or bicubic");
    plan.filter = value == "bicubic" ? PictureFilter::bicubic : PictureFilter::bilinear;
  } else if (key == "count") {
    const auto count = whole_of(value, kCountMax);
    if (!count) return not_understood(key, value, "a number of pictures from 1 to 1000000");
    plan.count_max = *count;
  } else {
    return wrong("--pictures: '" + std::string(word.substr(0, 60)) +
                 "' is not known; words with blanks between: resize=256 crop=224 mean=0.5,0.5,0.5 std=0.5 range=0..1 order=rgb "
                 "filter=bilinear count=2000");
  }
  return {};
}

// Which of the input's dimensions are what. Error: it is no picture.
Result<PicturePlan> plan_of_input(const domain::Signature& signature) {
  if (signature.inputs.size() != 1)
    return wrong("pictures are for a model of one input, and this one has " + std::to_string(signature.inputs.size()) +
                 ": prepare the arrays of all and save them as an .npz");
  PicturePlan plan{.input = signature.inputs[0], .count_max = kCount};
  const auto& shape = plan.input.shape;
  const std::string seen = "'" + plan.input.name + "' " + std::string(domain::name(plan.input.datatype)) + shape_text(shape);
  const auto channels = [&](std::size_t i) { return shape[i] == 1 || shape[i] == 3; };
  const bool first = shape.size() == 4 && channels(1), last = shape.size() == 4 && channels(3);
  if (!first && !last && shape.size() != 3)
    return wrong("input " + seen + " is no picture: that is [N,C,H,W], [N,H,W,C] or [N,H,W] with 1 or 3 channels; prepare the arrays "
                                   "yourself and save them as an .npz");
  if (!is_float(plan.input.datatype) && plan.input.datatype != Datatype::uint8)
    return wrong("input " + seen +
                 " takes neither floats nor UINT8, as pictures are; prepare the arrays yourself and save them as an .npz");
  plan.channels_last = !first;
  plan.channels = static_cast<std::size_t>(shape.size() == 3 ? 1 : shape[first ? 1 : 3]);
  const std::int64_t height = shape[first ? 2 : 1], width = shape[first ? 3 : 2];
  if (height > static_cast<std::int64_t>(kSideMax) || width > static_cast<std::int64_t>(kSideMax))
    return wrong("input " + seen + " is larger than 8192 pixels, which no picture here becomes");
  plan.height = height > 0 ? static_cast<std::size_t>(height) : 0;
  plan.width = width > 0 ? static_cast<std::size_t>(width) : 0;
  return plan;
}

Result<void> take_sizes(PicturePlan& plan, const Said& said) {
  if (said.crop) {
    if ((plan.height && plan.height != said.crop->height) || (plan.width && plan.width != said.crop->width))
      return wrong("--pictures: crop is " + std::to_string(said.crop->height) + "x" + std::to_string(said.crop->width) +
                   ", and the model takes " + shape_text(plan.input.shape));
    plan.height = said.crop->height;
    plan.width = said.crop->width;
  } else if (!plan.height || !plan.width) {
    plan.guessed = "the model takes pictures of any size: " + std::to_string(kFreeSide) + " was taken for a side that is free; "
                   "--pictures 'crop=N' says another";
    if (!plan.height) plan.height = kFreeSide;
    if (!plan.width) plan.width = kFreeSide;
  }
  if (!said.resize) {
    // torchvision's references cut 224 out of 256; small pictures, like digits, are taken whole.
    const auto around = [&](std::size_t n) { return std::max(plan.height, plan.width) >= kLargeSide ? (n * 8 + 3) / 7 : n; };
    plan.box_height = around(plan.height);
    plan.box_width = around(plan.width);
    return {};
  }
  plan.box_height = said.resize->height;
  plan.box_width = said.resize->width;
  plan.squeezed = !said.resize->one;
  const bool fits = plan.squeezed ? plan.box_height >= plan.height && plan.box_width >= plan.width
                                  : plan.box_height >= std::min(plan.height, plan.width);
  if (fits) return {};
  return wrong("--pictures: resize=" + std::to_string(plan.box_height) + (plan.squeezed ? "x" + std::to_string(plan.box_width) : "") +
               " is less than what is cut out of it, " + size_text(plan.height, plan.width) + ": take at least as much");
}

Result<void> take_numbers(PicturePlan& plan, const Said& said) {
  if (plan.input.datatype == Datatype::uint8) {
    if (said.numbers)
      return wrong("--pictures: input '" + plan.input.name +
                   "' is UINT8, which takes a picture's bytes as they are: leave out range, mean and std");
    plan.high = 255;
  }
  // Whoever says one of them, says all.
  if (!said.numbers && plan.channels == 3 && plan.input.datatype != Datatype::uint8) {
    plan.mean.assign(std::begin(kImagenetMean), std::end(kImagenetMean));
    plan.deviation.assign(std::begin(kImagenetDeviation), std::end(kImagenetDeviation));
  }
  return {};
}

double of_channel(const std::vector<double>& values, std::size_t channel, double otherwise) {
  return values.empty() ? otherwise : values[values.size() == 1 ? 0 : channel];
}

Result<Picture> sized(const Picture& picture, const PicturePlan& plan) {
  std::size_t width = plan.box_width, height = plan.box_height;
  if (!plan.squeezed) {
    const bool upright = picture.width * height <= picture.height * width;  // beside the box
    if (upright) height = width * picture.height / picture.width;
    else width = height * picture.width / picture.height;
  }
  if (width > kPixelsMax / height)
    return wrong("its " + size_text(picture.height, picture.width) + " pixels are too narrow: resized it would have " +
                 size_text(height, width));
  if (width < plan.width || height < plan.height)
    return wrong("it becomes " + size_text(height, width) + ", and " + size_text(plan.height, plan.width) +
                 " is to be cut out of it: a larger resize, or resize=" + size_text(plan.height, plan.width) + " for the whole of it");
  // Pillow resizes a picture with its channels; each is by itself, so grey may be made before.
  return middle_of(resized(plan.channels == 1 ? grey(picture) : picture, width, height, plan.filter), plan.width, plan.height);
}

}  // namespace

Result<PicturePlan> plan_pictures(const domain::Signature& signature, std::string_view how) {
  TRY(PicturePlan plan, plan_of_input(signature));
  Said said;
  for (std::size_t at = how.find_first_not_of(' '); at != how.npos; at = how.find_first_not_of(' ', at)) {
    const std::size_t end = std::min(how.find(' ', at), how.size());
    TRY_VOID(take_word(how.substr(at, end - at), plan, said));
    at = end;
  }
  TRY_VOID(take_sizes(plan, said));
  TRY_VOID(take_numbers(plan, said));
  return plan;
}

std::string text_of(const PicturePlan& plan) {
  std::string text = plan.squeezed                       ? "whole to " + size_text(plan.box_height, plan.box_width)
                     : plan.box_height == plan.box_width ? "shorter side to " + std::to_string(plan.box_height)
                                                         : "to cover " + size_text(plan.box_height, plan.box_width);
  if (!plan.squeezed || plan.box_height != plan.height || plan.box_width != plan.width)
    text += ", middle " + size_text(plan.height, plan.width);
  if (plan.filter != PictureFilter::bilinear) text += " (" + std::string(name(plan.filter)) + ")";
  text += plan.channels == 1 ? ", grey" : plan.blue_first ? ", BGR" : ", RGB";
  text += ", " + number_text(plan.low) + ".." + number_text(plan.high);
  if (!plan.mean.empty()) text += ", mean " + list_text(plan.mean);
  if (!plan.deviation.empty()) text += ", std " + list_text(plan.deviation);
  return text + (plan.input.shape.size() == 3 ? ", [N,H,W]" : plan.channels_last ? ", [N,H,W,C]" : ", [N,C,H,W]");
}

std::uint64_t sample_size(const PicturePlan& plan) {
  return static_cast<std::uint64_t>(plan.channels) * plan.width * plan.height * domain::element_size(plan.input.datatype);
}

Result<std::string> prepared(const Picture& picture, const PicturePlan& plan) {
  TRY(const Picture cut, sized(picture, plan));
  const std::size_t pixels = plan.width * plan.height;
  Array values{.datatype = plan.input.datatype, .data = std::vector<std::byte>(sample_size(plan))};
  for (std::size_t c = 0; c < plan.channels; ++c) {
    const double mean = of_channel(plan.mean, c, 0), deviation = of_channel(plan.deviation, c, 1);
    const std::size_t from = plan.blue_first ? plan.channels - 1 - c : c;
    double table[256];
    for (int value = 0; value < 256; ++value) table[value] = (plan.low + value * (plan.high - plan.low) / 255.0 - mean) / deviation;
    for (std::size_t i = 0; i < pixels; ++i)
      put_number(values, plan.channels_last ? i * plan.channels + c : c * pixels + i, table[cut.pixels[i * plan.channels + from]]);
  }
  return std::string(reinterpret_cast<const char*>(values.data.data()), values.data.size());
}

}  // namespace mayfly::gate
