// Tensors to replies (worker/codec.h, encode()).
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>

#include "worker/codec.h"
#include "worker/detail/half.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::WireFormat;

constexpr std::size_t kNumberMax = 32;  // characters of the longest number

template <class T>
T load(std::span<const std::byte> data, std::size_t index) {
  T value;
  std::memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

void write_text(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (byte >= 0x20) out += c;
    else if (c == '\n') out += "\\n";
    else out += "\\u00", out += kHex[byte >> 4], out += kHex[byte & 15];
  }
  out += '"';
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t size = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    if (size == 0 || i + size > text.size()) return false;
    std::uint32_t point = size == 1 ? c : c & (0x7fU >> size);
    for (std::size_t k = 1; k < size; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 0x3f);
    }
    constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kLeast[size] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += size;
  }
  return true;
}

// Writes elements one at a time, whatever their type.
class Elements {
 public:
  Elements(std::string& out, const TensorView& tensor, Datatype type, bool null_for_nan) : out_(out), tensor_(tensor), type_(type), null_for_nan_(null_for_nan) {}

  Result<void> write(std::size_t i) {
    const auto data = tensor_.data;
    switch (type_) {
      case Datatype::boolean: out_ += load<std::uint8_t>(data, i) ? "true" : "false"; return {};
      case Datatype::uint8: return number(load<std::uint8_t>(data, i));
      case Datatype::uint16: return number(load<std::uint16_t>(data, i));
      case Datatype::uint32: return number(load<std::uint32_t>(data, i));
      case Datatype::uint64: return number(load<std::uint64_t>(data, i));
      case Datatype::int8: return number(load<std::int8_t>(data, i));
      case Datatype::int16: return number(load<std::int16_t>(data, i));
      case Datatype::int32: return number(load<std::int32_t>(data, i));
      case Datatype::int64: return number(load<std::int64_t>(data, i));
      case Datatype::fp16: return real(half_to_float(load<std::uint16_t>(data, i)));
      case Datatype::bf16: return real(bf16_to_float(load<std::uint16_t>(data, i)));
      case Datatype::fp32: return real(load<float>(data, i));
      case Datatype::fp64: return real(load<double>(data, i));
      case Datatype::bytes:
        if (!is_utf8(tensor_.strings[i])) return fail(Code::invalid_argument, "an output holds bytes that are not UTF-8, which JSON can't carry: ask for binary_data");
        write_text(out_, tensor_.strings[i]);
        return {};
    }
    return {};
  }

 private:
  template <class T>
  Result<void> number(T value) {
    char text[kNumberMax];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    out_.append(text, static_cast<std::size_t>(end - text));
    return {};
  }
  template <class T>
  Result<void> real(T value) {
    if (std::isfinite(value)) return number(value);
    if (!null_for_nan_) return fail(Code::invalid_argument, "an output holds NaN or an infinity, for which JSON has no word: ask for binary_data");
    out_ += "null";
    return {};
  }
  std::string& out_;
  const TensorView& tensor_;
  Datatype type_;
  bool null_for_nan_;
};

std::size_t count_of(const TensorView& tensor, Datatype type) {
  return type == Datatype::bytes ? tensor.strings.size() : tensor.data.size() / domain::element_size(type);
}

Result<void> write_nested(std::string& out, Elements& elements, const std::vector<std::int64_t>& shape, std::size_t depth, std::size_t& next) {
  if (depth == shape.size()) return elements.write(next++);
  out += '[';
  for (std::int64_t i = 0; i < shape[depth]; ++i) {
    if (i) out += ',';
    TRY_VOID(write_nested(out, elements, shape, depth + 1, next));
  }
  out += ']';
  return {};
}

double as_double(const TensorView& tensor, Datatype type, std::size_t i) {
  switch (type) {
    case Datatype::fp32: return static_cast<double>(load<float>(tensor.data, i));
    case Datatype::fp64: return load<double>(tensor.data, i);
    case Datatype::fp16: return static_cast<double>(half_to_float(load<std::uint16_t>(tensor.data, i)));
    case Datatype::bf16: return static_cast<double>(bf16_to_float(load<std::uint16_t>(tensor.data, i)));
    case Datatype::int64: return static_cast<double>(load<std::int64_t>(tensor.data, i));
    case Datatype::int32: return static_cast<double>(load<std::int32_t>(tensor.data, i));
    default: return 0;
  }
}

// Triton's classification extension: of each row the n best, as "value:index[:label]".
struct Classes {
  std::vector<std::string> text;
  std::vector<std::string_view> views;
  TensorView tensor;
};

Result<Classes> classify(const TensorView& tensor, Datatype type, int n, const std::vector<std::string>* labels) {
  if (tensor.shape.empty() || as_double(tensor, type, 0) != as_double(tensor, type, 0)) return fail(Code::invalid_argument, "classification needs an output with numbers, at least one dimension and no NaN");
  const auto classes = static_cast<std::size_t>(tensor.shape.back());
  const std::size_t rows = classes ? count_of(tensor, type) / classes : 0, best = std::min<std::size_t>(static_cast<std::size_t>(n), classes);
  Classes out;
  std::vector<std::size_t> order(classes);
  for (std::size_t row = 0; row < rows; ++row) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(best), std::greater<>(), [&](std::size_t c) { return as_double(tensor, type, row * classes + c); });
    for (std::size_t i = 0; i < best; ++i) {
      char value[kNumberMax * 12];
      std::snprintf(value, sizeof value, "%f:%zu", as_double(tensor, type, row * classes + order[i]), order[i]);
      out.text.emplace_back(value);
      if (labels && order[i] < labels->size()) out.text.back() += ":" + (*labels)[order[i]];
    }
  }
  out.views.assign(out.text.begin(), out.text.end());
  out.tensor.shape.assign(tensor.shape.begin(), tensor.shape.end() - 1);
  out.tensor.shape.push_back(static_cast<std::int64_t>(best));
  out.tensor.strings = out.views;
  return out;
}

std::size_t binary_size(const TensorView& tensor, Datatype type) {
  if (type != Datatype::bytes) return tensor.data.size();
  std::size_t size = 0;
  for (const auto text : tensor.strings) size += sizeof(std::uint32_t) + text.size();
  return size;
}

void write_binary(std::string& out, const TensorView& tensor, Datatype type) {
  if (type != Datatype::bytes) {
    out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    return;
  }
  for (const auto text : tensor.strings) {
    const auto size = static_cast<std::uint32_t>(text.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof size).append(text);
  }
}

Result<void> encode_plain(const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature, std::string& out) {
  out += '{';
  for (const WantedOutput& wanted : request.outputs) {
    if (out.back() != '{') out += ',';
    write_text(out, signature.outputs[wanted.index].name);
    out += ':';
    Elements elements(out, outputs[wanted.index], signature.outputs[wanted.index].datatype, true);
    std::size_t next = 0;
    TRY_VOID(write_nested(out, elements, outputs[wanted.index].shape, 0, next));
  }
  out += '}';
  return {};
}

Result<void> encode_v2(const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature, const ReplyNames& names, Encoded& into) {
  std::string& out = into.body;
  std::vector<std::pair<TensorView, Datatype>> tails;
  std::vector<Classes> classes;
  classes.reserve(request.outputs.size());
  out += "{\"model_name\":";
  write_text(out, names.model);
  out += ",\"model_version\":";
  write_text(out, names.version);
  if (!request.id.empty()) out += ",\"id\":", write_text(out, request.id);
  out += ",\"outputs\":[";
  for (const WantedOutput& wanted : request.outputs) {
    const TensorView* tensor = &outputs[wanted.index];
    Datatype type = signature.outputs[wanted.index].datatype;
    if (wanted.classification > 0) {
      TRY(Classes best, classify(*tensor, type, wanted.classification, names.labels));
      classes.push_back(std::move(best));
      classes.back().tensor.strings = classes.back().views;
      tensor = &classes.back().tensor;
      type = Datatype::bytes;
    }
    if (out.back() != '[') out += ',';
    out += "{\"name\":";
    write_text(out, signature.outputs[wanted.index].name);
    out += ",\"datatype\":\"";
    out += domain::name(type);
    out += "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor->shape.size(); ++i) out += (i ? "," : "") + std::to_string(tensor->shape[i]);
    if (wanted.binary) {
      out += "],\"parameters\":{\"binary_data_size\":" + std::to_string(binary_size(*tensor, type)) + "}}";
      tails.emplace_back(*tensor, type);
      continue;
    }
    out += "],\"data\":[";
    Elements elements(out, *tensor, type, false);
    for (std::size_t i = 0, count = count_of(*tensor, type); i < count; ++i) {
      if (i) out += ',';
      TRY_VOID(elements.write(i));
    }
    out += "]}";
  }
  out += "]}";
  if (!tails.empty()) into.json_size = out.size();
  for (const auto& [tensor, type] : tails) write_binary(out, tensor, type);
  return {};
}

}  // namespace

Result<void> encode(WireFormat format, const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature, const ReplyNames& names, Encoded& into) {
  if (format == WireFormat::plain_json) return encode_plain(request, outputs, signature, into.body);
  return encode_v2(request, outputs, signature, names, into);
}

}  // namespace mayfly::worker
