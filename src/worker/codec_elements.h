// A JSON list's elements into dense memory of one datatype: the inner loop of decoding. Nested lists must be
// rectangular; their shape comes out. Nothing is compared with a model's signature here (worker/codec_check.h).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "domain/tensor.h"
#include "worker/codec_arena.h"
#include "worker/codec_tokens.h"

namespace mayfly::worker::codec {

struct Nesting {
  std::array<std::int64_t, kNestingMax> sizes{};
  std::size_t rank = 0;
  std::span<const std::int64_t> shape() const { return {sizes.data(), rank}; }
};

struct Elements {
  std::span<const std::byte> data;
  std::span<const std::string_view> strings;
  std::size_t count = 0;
  Nesting nesting;  // rank 0: one value without brackets
};

// Reads the value under the cursor. Memory is taken by what the text can hold, never by what it claims.
[[nodiscard]] Result<void> read_elements(Tokens& tokens, const domain::TensorSpec& spec, Arena& arena, Arena& text, Elements& out);

}  // namespace mayfly::worker::codec
