// Elements as text: JSON's words for the values of a tensor, and the names of its best classes. Appends to a string
// whose capacity is reused; shapes and brackets are the caller's (worker/codec_encode.cpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"

namespace mayfly::worker::codec {

struct Values {
  std::string_view name;  // of the output, for messages
  domain::Datatype type{};
  std::span<const std::byte> data;
  std::span<const std::string_view> strings;
  bool nan_is_null = false;  // else NaN and infinities are an error
};

// `count` elements from `from` on, with commas between them.
[[nodiscard]] Result<void> append_values(std::string& out, const Values& values, std::size_t from, std::size_t count);
void append_quoted(std::string& out, std::string_view text);
void append_number(std::string& out, std::int64_t value);
// Triton's classification: the `best` largest of `count` numbers from `from` on as "value:index[:label]", largest first,
// the lower index first among equals, NaN last. Not for BYTES.
void append_best(const Values& values, std::size_t from, std::size_t count, std::size_t best, const std::vector<std::string>* labels,
                 std::vector<std::string>& out);

}  // namespace mayfly::worker::codec
