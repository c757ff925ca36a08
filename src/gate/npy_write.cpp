#include "gate/npy_write.h"

#include <algorithm>
#include <string_view>

namespace mayfly::gate {
namespace {

using domain::Datatype;

constexpr std::uint64_t kTextsMax = 1ULL << 30;
constexpr std::size_t kAligned = 64;  // the elements begin at a multiple of it

std::string_view descr_of(Datatype type) {
  switch (type) {
    case Datatype::boolean: return "|b1";
    case Datatype::uint8: return "|u1";
    case Datatype::uint16: return "<u2";
    case Datatype::uint32: return "<u4";
    case Datatype::uint64: return "<u8";
    case Datatype::int8: return "|i1";
    case Datatype::int16: return "<i2";
    case Datatype::int32: return "<i4";
    case Datatype::int64: return "<i8";
    case Datatype::fp16: return "<f2";
    case Datatype::fp64: return "<f8";
    case Datatype::fp32:
    case Datatype::bf16:
    case Datatype::bytes: break;
  }
  return "<f4";
}

std::string head(const std::string& descr, const std::vector<std::int64_t>& shape) {
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t size : shape) text += std::to_string(size) + ", ";
  text += "), }";
  constexpr std::size_t kFixed = 10;
  text.append(kAligned - (kFixed + text.size() + 1) % kAligned, ' ');
  text += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(text.size() & 0xff);
  bytes += static_cast<char>(text.size() >> 8);
  return bytes + text;
}

}  // namespace

Result<std::string> to_npy(const Array& array) {
  if (array.datatype == Datatype::bf16) {
    TRY(const Array wider, as_type(array, Datatype::fp32));
    return to_npy(wider);
  }
  if (array.datatype != Datatype::bytes)
    return head(std::string(descr_of(array.datatype)), array.shape) +
           std::string(reinterpret_cast<const char*>(array.data.data()), array.data.size());
  std::size_t longest = 1;
  for (const std::string& text : array.strings) longest = std::max(longest, text.size());
  if (longest > kTextsMax / std::max<std::size_t>(1, array.strings.size()))
    return fail(Code::exhausted, "the texts of '" + array.name +
                                     "' take more than 1 GiB, as numpy's form gives each the room of the longest (" +
                                     std::to_string(longest) + " bytes)");
  std::string bytes = head("|S" + std::to_string(longest), array.shape);
  for (const std::string& text : array.strings) {
    bytes += text;
    bytes.append(longest - text.size(), '\0');
  }
  return bytes;
}

}  // namespace mayfly::gate
