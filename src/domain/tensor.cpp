#include "domain/tensor.h"

#include <array>

namespace mayfly::domain {
namespace {

struct Row {
  std::string_view name;
  std::size_t size;
};
// In the order of the enum.
constexpr std::array<Row, 14> kRows = {{{"BOOL", 1}, {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8},
                                        {"INT8", 1}, {"INT16", 2}, {"INT32", 4}, {"INT64", 8}, {"FP16", 2},
                                        {"FP32", 4}, {"FP64", 8}, {"BYTES", 0}, {"BF16", 2}}};

}  // namespace

std::string_view name(Datatype type) { return kRows.at(static_cast<std::size_t>(type)).name; }

std::optional<Datatype> datatype_named(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].name == name) return static_cast<Datatype>(i);
  return std::nullopt;
}

std::size_t element_size(Datatype type) { return kRows.at(static_cast<std::size_t>(type)).size; }

}  // namespace mayfly::domain
