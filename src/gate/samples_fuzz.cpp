// Any bytes as a .npy ('N' in front, or 'S' and two names in 8 letters) or a .csv ('C'), and what is read as samples of a model: whole,
// within its bounds, or an error that says why.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "gate/csv.h"
#include "gate/npy.h"
#include "gate/samples.h"
#include "gate/sizes.h"

namespace {

using namespace mayfly::gate;
using mayfly::domain::Datatype;

void check(const mayfly::Result<Samples>& samples) {
  if (!samples) {
    ASSERT(!samples.error().message.empty(), "an error says what");
    return;
  }
  ASSERT(samples->count > 0, "a set is not empty");
  for (const Array& input : samples->inputs) {
    const std::uint64_t count = count_of(input.shape);
    if (input.datatype == Datatype::bytes) ASSERT(input.strings.size() == count, "each element is there");
    else ASSERT(input.data.size() == count * mayfly::domain::element_size(input.datatype), "each element is there");
    const Slice slice = slice_of(input, samples->count - 1, 2);
    ASSERT(slice.shape[0] == 2, "a slice has its rows");
  }
}

// The same array under two names, which the bytes before it say: of one size, of two, or of what is refused.
void check_sizes(const std::string& names, const Array& array, const mayfly::domain::Signature& signature) {
  std::vector<Array> arrays = {array, array};
  const std::size_t half = names.find(' ');
  arrays[0].name = names.substr(0, half), arrays[1].name = half == std::string::npos ? "x.2" : names.substr(half + 1);
  const auto samples = fit_sizes(std::move(arrays), signature);
  if (!samples) return check(samples);
  for (std::size_t size = 0; size < sizes_of(*samples); ++size)
    ASSERT(arrays_of(*samples, size).size() == signature.inputs.size(), "each size has all inputs");
  for (std::uint64_t i = 0; i < samples->count; ++i)
    ASSERT(slices_of(*samples, i, 1)[0].shape[0] == 1, "each sample is there");
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "N\x93NUMPY\x01\x01v\x01{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
      "                                                          \n12345678",
      "Sx x.2   \x93NUMPY\x01\x01v\x01{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
      "                                                          \n12345678",
      "Ca,b,label\n1,2,0\n3,\"4\",1\n", "Ca,b\r\nx,\"y\"\"z\"\r\n", "Cx\n1e3\n", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mayfly::domain::Signature kRow{.inputs = {{"x", Datatype::fp32, {-1, 2}}}};
  static const mayfly::domain::Signature kTexts{.inputs = {{"x", Datatype::bytes, {-1, -1}}}};
  if (size < 1) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr std::size_t kNames = 8;
  std::string names;
  if (data[0] == 'S' && text.size() > kNames) {
    names = text.substr(0, kNames);
    text.erase(0, kNames);
  }
  if (data[0] == 'N' || !names.empty()) {
    if (text.size() > 9) text[7] = text[9] = 0;  // a seed can't hold zeros
    const auto array = parse_npy(text, "x");
    if (!array) return 0;
    if (!names.empty() && array->data.size() < 4096) check_sizes(names, *array, kRow);
    check(fit_arrays({*array}, kRow));
    check(fit_arrays({*array}, kTexts));
  } else {
    const auto columns = parse_csv(text, "x");
    if (!columns) return 0;
    check(fit_columns(*columns, kRow));
    check(fit_columns(*columns, kTexts));
  }
  return 0;
}
