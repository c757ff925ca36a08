#include "worker/made_up.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <ranges>

#include "base/units.h"
#include "os/clock.h"
#include "worker/detail/half.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;

constexpr std::uint64_t kBytesMax = 256 << 20;
// What image, text, sound and table models take where they leave it open.
constexpr std::array<std::int64_t, 5> kSizes = {8, 32, 224, 320, 1};

// 0 or 1, mixed so that rows differ from one another: indices into the smallest table, masks, booleans, numbers.
unsigned digit(std::uint64_t row, std::uint64_t column) {
  return static_cast<unsigned>((row * 0x9e3779b97f4a7c15 + column * 0xbf58476d1ce4e5b9) >> 62) == 0 ? 0 : 1;
}

template <class T>
void put(std::vector<std::byte>& into, std::size_t index, T value) {
  std::memcpy(into.data() + index * sizeof(T), &value, sizeof value);
}

void put(std::vector<std::byte>& into, std::size_t index, Datatype type, unsigned value) {
  switch (type) {
    case Datatype::fp32: return put(into, index, static_cast<float>(value));
    case Datatype::fp64: return put(into, index, static_cast<double>(value));
    case Datatype::fp16: return put(into, index, static_cast<std::uint16_t>(value ? 0x3c00 : 0));   // 1.0
    case Datatype::bf16: return put(into, index, static_cast<std::uint16_t>(value ? 0x3f80 : 0));
    default: into[index * domain::element_size(type)] = static_cast<std::byte>(value);              // little-endian integers
  }
}

double number(Datatype type, const std::byte* at) {
  const auto read = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return static_cast<double>(value);
  };
  switch (type) {
    case Datatype::fp32: return read(float());
    case Datatype::fp64: return read(double());
    case Datatype::int64: return read(std::int64_t());
    case Datatype::uint64: return read(std::uint64_t());
    case Datatype::int32: return read(std::int32_t());
    case Datatype::uint32: return read(std::uint32_t());
    case Datatype::int16: return read(std::int16_t());
    case Datatype::int8: return read(std::int8_t());
    case Datatype::boolean:
    case Datatype::uint8: return read(std::uint8_t());
    case Datatype::uint16: return read(std::uint16_t());
    case Datatype::fp16: return half_to_float(static_cast<std::uint16_t>(read(std::uint16_t())));
    case Datatype::bf16: return std::bit_cast<float>(static_cast<std::uint32_t>(read(std::uint16_t())) << 16);
    case Datatype::bytes: break;
  }
  return 0;
}

bool close(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) == std::isnan(b);
  if (a == b) return true;
  return std::abs(a - b) <= 1e-3 * std::max({std::abs(a), std::abs(b), 1e-3});
}

// Row `row` of `many` against the only row of `one`.
bool same_row(const TensorView& many, std::size_t rows, std::size_t row, const TensorView& one, Datatype type) {
  if (!std::ranges::equal(many.shape | std::views::drop(1), one.shape | std::views::drop(1))) return false;
  if (type == Datatype::bytes) {
    const std::size_t width = many.strings.size() / rows;
    return std::ranges::equal(many.strings.subspan(row * width, width), one.strings);
  }
  const std::size_t element = domain::element_size(type), width = many.data.size() / rows;
  if (one.data.size() != width) return false;
  for (std::size_t at = 0; at < width; at += element)
    if (!close(number(type, many.data.data() + row * width + at), number(type, one.data.data() + at))) return false;
  return true;
}

// The outputs with memory of their own: the next run overwrites the model's.
struct Kept {
  explicit Kept(std::span<const TensorView> outputs)
      : views(outputs.begin(), outputs.end()), data(views.size()), text(views.size()), strings(views.size()) {
    for (std::size_t i = 0; i < views.size(); ++i) {
      data[i].assign(views[i].data.begin(), views[i].data.end());
      views[i].data = data[i];
      for (const std::string_view part : views[i].strings) text[i].emplace_back(part);
      strings[i].assign(text[i].begin(), text[i].end());
      views[i].strings = strings[i];
    }
  }
  std::vector<TensorView> views;
  std::vector<std::vector<std::byte>> data;
  std::vector<std::vector<std::string>> text;
  std::vector<std::vector<std::string_view>> strings;
};

Result<Kept> run_rows(Model& model, std::int64_t first, std::int64_t rows, std::int64_t size) {
  TRY(const MadeUpInput input, MadeUpInput::make(model.signature(), first, rows, size));
  TRY(const auto outputs, model.run(input.tensors()));
  return Kept(outputs);
}

}  // namespace

Result<MadeUpInput> MadeUpInput::make(const domain::Signature& signature, std::int64_t first_row, std::int64_t rows, std::int64_t size) {
  MadeUpInput made;
  std::uint64_t bytes_left = kBytesMax;
  for (const domain::TensorSpec& spec : signature.inputs) {
    TensorView tensor{.shape = spec.shape};
    std::uint64_t count = 1;
    const std::uint64_t element =
        std::max<std::uint64_t>(domain::element_size(spec.datatype), spec.datatype == Datatype::bytes ? sizeof(std::string_view) : 1);
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      if (tensor.shape[i] < 0) tensor.shape[i] = i == 0 ? rows : size;
      if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(tensor.shape[i]), &count)) count = kBytesMax;
    }
    if (count > bytes_left / element)
      return fail(Code::exhausted, "input '" + spec.name + "' is too large to make up one: its shape alone asks for more than " +
                                       to_text(Bytes{kBytesMax}));
    bytes_left -= count * element;
    std::vector<std::byte>& bytes = made.data_.emplace_back(spec.datatype == Datatype::bytes ? 0 : count * element);
    std::vector<std::string_view>& texts = made.strings_.emplace_back(spec.datatype == Datatype::bytes ? count : 0);
    const std::uint64_t width = std::max<std::uint64_t>(
        1, tensor.shape.empty() || tensor.shape[0] == 0 ? 1 : count / static_cast<std::uint64_t>(tensor.shape[0]));
    for (std::uint64_t i = 0; i < count; ++i) {
      const unsigned value = digit(static_cast<std::uint64_t>(first_row) + i / width, i % width);
      if (spec.datatype == Datatype::bytes) texts[i] = value ? "one" : "";
      else put(bytes, i, spec.datatype, value);
    }
    tensor.data = bytes;
    tensor.strings = texts;
    made.tensors_.push_back(std::move(tensor));
  }
  return made;
}

Result<std::int64_t> find_size(Model& model) {
  const bool only_rows_free = std::ranges::all_of(model.signature().inputs, [](const domain::TensorSpec& s) {
    return std::ranges::none_of(s.shape | std::views::drop(1), [](std::int64_t d) { return d < 0; });
  });
  Result<std::int64_t> last = kSizes[0];
  for (const std::int64_t size : kSizes) {
    TRY(const MadeUpInput input, MadeUpInput::make(model.signature(), 0, 1, size));
    const auto ran = model.run(input.tensors());
    if (ran) return size;
    last = fail(ran.error());
    if (only_rows_free) break;  // another size would be the same input
  }
  return last;
}

Duration least_run(Model& model, const MadeUpInput& input, Duration time) {
  Duration least{};
  Instant begun = os::monotonic_now();
  const Instant end = begun + time;
  for (int i = 0; i < 1000 && (i < 3 || begun < end); ++i) {
    const bool ran = model.run(input.tensors()).has_value();
    const Instant now = os::monotonic_now();
    if (ran && (least == Duration{} || now - begun < least)) least = now - begun;
    begun = now;
  }
  return least;
}

bool rows_are_independent(Model& model, std::int64_t size) {
  constexpr std::int64_t kRows = 3;
  const auto together = run_rows(model, 0, kRows, size);
  if (!together) return false;
  for (const TensorView& output : together->views)
    if (output.shape.empty() || output.shape[0] != kRows) return false;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto alone = run_rows(model, row, 1, size);
    if (!alone) return false;
    for (std::size_t i = 0; i < together->views.size(); ++i)
      if (!same_row(together->views[i], kRows, static_cast<std::size_t>(row), alone->views[i], model.signature().outputs[i].datatype))
        return false;
  }
  return true;
}

}  // namespace mayfly::worker
