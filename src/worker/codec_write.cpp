#include "worker/codec_write.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "base/assert.h"
#include "worker/codec_tokens.h"
#include "worker/detail/half.h"

namespace mayfly::worker::codec {
namespace {

using domain::Datatype;

constexpr std::size_t kNumberMax = 32;  // characters of the longest number and its comma
constexpr std::size_t kAtOnce = 1024;   // numbers for which room is made

struct Half {
  std::uint16_t bits;
};
struct BrainFloat {
  std::uint16_t bits;
};

// As the number that is printed and compared.
template <class T>
auto number(T value) {
  if constexpr (std::is_same_v<T, Half>) return half_to_float(value.bits);
  else if constexpr (std::is_same_v<T, BrainFloat>) return bf16_to_float(value.bits);
  else return value;
}

template <class T>
T load(std::span<const std::byte> data, std::size_t index) {
  T value;
  std::memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Calls with.template operator()<T>() for the datatype's type; BYTES has none.
template <class With>
decltype(auto) with_type(Datatype type, With&& with) {
  switch (type) {
    case Datatype::boolean:
    case Datatype::uint8: return with.template operator()<std::uint8_t>();
    case Datatype::uint16: return with.template operator()<std::uint16_t>();
    case Datatype::uint32: return with.template operator()<std::uint32_t>();
    case Datatype::uint64: return with.template operator()<std::uint64_t>();
    case Datatype::int8: return with.template operator()<std::int8_t>();
    case Datatype::int16: return with.template operator()<std::int16_t>();
    case Datatype::int32: return with.template operator()<std::int32_t>();
    case Datatype::int64: return with.template operator()<std::int64_t>();
    case Datatype::fp16: return with.template operator()<Half>();
    case Datatype::bf16: return with.template operator()<BrainFloat>();
    case Datatype::fp32: return with.template operator()<float>();
    case Datatype::fp64: return with.template operator()<double>();
    case Datatype::bytes: break;
  }
  ASSERT(false, "strings are not numbers");
}

// Writes numbers to memory that is large enough; the index of one that has no word, or `count`.
template <class T>
std::size_t print(const Values& values, std::size_t from, std::size_t count, char*& at) {
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) *at++ = ',';
    const auto value = number(load<T>(values.data, from + i));
    if constexpr (std::is_floating_point_v<decltype(value)>) {
      if (!std::isfinite(value)) [[unlikely]] {
        if (!values.nan_is_null) return i;
        at = std::copy_n("null", 4, at);
        continue;
      }
    }
    at = std::to_chars(at, at + kNumberMax, value).ptr;
  }
  return count;
}

template <class T>
Result<void> append_numbers(std::string& out, const Values& values, std::size_t from, std::size_t count) {
  for (std::size_t done = 0; done < count; done += kAtOnce) {
    const std::size_t part = std::min(kAtOnce, count - done);
    const std::size_t before = out.size();
    std::size_t printed = 0;
    if (done > 0) out += ',';
    // Grows by doubling, so that a long row is not copied for each part.
    const std::size_t room = out.size() + part * kNumberMax;
    if (out.capacity() < room) out.reserve(std::max(room, 2 * out.capacity()));
    out.resize_and_overwrite(room, [&, size = out.size()](char* text, std::size_t) {
      char* at = text + size;
      printed = print<T>(values, from + done, part, at);
      return static_cast<std::size_t>(at - text);
    });
    if (printed == part) continue;
    out.resize(before);
    return fail(Code::invalid_argument,
                "output '" + std::string(values.name) + "': element " + std::to_string(from + done + printed) +
                    " is NaN or infinite, for which JSON has no word; ask for it in binary form (\"binary_data\": true)");
  }
  return {};
}

void append_bools(std::string& out, const Values& values, std::size_t from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    out += load<std::uint8_t>(values.data, from + i) ? "true" : "false";
  }
}

Result<void> append_strings(std::string& out, const Values& values, std::size_t from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    const std::string_view text = values.strings[from + i];
    if (!is_utf8(text))
      return fail(Code::invalid_argument,
                  "output '" + std::string(values.name) + "': element " + std::to_string(from + i) +
                      " is not UTF-8, which JSON cannot carry; ask for it in binary form (V2, \"binary_data\": true)");
    append_quoted(out, text);
  }
  return {};
}

constexpr bool is_plain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\'; }

}  // namespace

Result<void> append_values(std::string& out, const Values& values, std::size_t from, std::size_t count) {
  if (values.type == Datatype::bytes) return append_strings(out, values, from, count);
  if (values.type == Datatype::boolean) {
    append_bools(out, values, from, count);
    return {};
  }
  return with_type(values.type, [&]<class T>() { return append_numbers<T>(out, values, from, count); });
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && is_plain(text[plain])) ++plain;
    out.append(text.substr(0, plain));
    if (plain == text.size()) break;
    const char c = text[plain];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
    text.remove_prefix(plain + 1);
  }
  out += '"';
}

void append_number(std::string& out, std::int64_t value) {
  char text[kNumberMax];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

void append_best(const Values& values, std::size_t from, std::size_t count, std::size_t best, const std::vector<std::string>* labels,
                 std::vector<std::string>& out) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  with_type(values.type, [&]<class T>() {
    const auto at = [&](std::size_t i) { return number(load<T>(values.data, from + i)); };
    const auto better = [&](std::size_t a, std::size_t b) {
      const auto x = at(a), y = at(b);
      if constexpr (std::is_floating_point_v<decltype(at(0))>)
        if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
      return x != y ? x > y : a < b;
    };
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(best), order.end(), better);
    for (std::size_t i = 0; i < best; ++i) {
      std::string text;
      if constexpr (std::is_floating_point_v<decltype(at(0))>) text = std::to_string(at(order[i]));
      else text = std::to_string(+at(order[i]));
      text += ':' + std::to_string(order[i]);
      if (labels && order[i] < labels->size()) text += ':' + (*labels)[order[i]];
      out.push_back(std::move(text));
    }
  });
}

}  // namespace mayfly::worker::codec
