// The forms of a request, each a function from bytes to tensors; codec.cpp picks one. What they share is in here:
// the model's signature and what a decoder keeps between requests.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/codec.h"
#include "worker/codec_tokens.h"

namespace mayfly::worker::codec {

struct Decoding {
  const domain::Signature& signature;
  Tokens& tokens;
  std::vector<std::uint8_t>& seen;  // by input
  Arena& arena;
  Arena& text;  // strings that had escapes
  DecodedRequest& request;

  void all_outputs(bool binary) {
    for (std::size_t i = 0; i < signature.outputs.size(); ++i) request.outputs.push_back({.index = i, .binary = binary});
  }
};

[[nodiscard]] Result<void> decode_plain(Decoding& decoding, std::span<const std::byte> body);
// `tensors`: the bytes behind the JSON; empty where there are none.
[[nodiscard]] Result<void> decode_v2(Decoding& decoding, std::span<const std::byte> json, std::span<const std::byte> tensors);
[[nodiscard]] Result<void> decode_raw(Decoding& decoding, std::span<const std::byte> body);

// Binary elements of a known shape: checks the sizes, and copies what does not lie as its type wants.
[[nodiscard]] Result<void> take_binary(const domain::TensorSpec& spec, std::span<const std::byte> bytes, Arena& arena, TensorView& tensor);

}  // namespace mayfly::worker::codec
