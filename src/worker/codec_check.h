// What a request must fulfil to fit a model's signature, and the words for what does not. Shared by the forms
// of decoding; no state.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "worker/codec.h"

namespace mayfly::worker::codec {

// "input 'x'"
[[nodiscard]] std::string input(const domain::TensorSpec& spec);
// "[1,30]"
[[nodiscard]] std::string text(std::span<const std::int64_t> shape);
// "FP32 [-1,30]"
[[nodiscard]] std::string text(const domain::TensorSpec& spec);

// Position in `specs`; the search begins at `hint`, which makes names in order cheap.
[[nodiscard]] std::optional<std::size_t> find(const std::vector<domain::TensorSpec>& specs, std::string_view name, std::size_t hint);
// "the model has no input 'imput'; did you mean 'input'? It has 'input', 'mask'"
[[nodiscard]] Error unknown(std::string_view kind, std::string_view name, const std::vector<domain::TensorSpec>& specs);

// Elements of a complete shape; nothing where the product is more than a size can hold.
[[nodiscard]] std::optional<std::size_t> count_of(std::span<const std::int64_t> shape);
// That the model takes this shape. `sent`: "a list", for the message.
[[nodiscard]] Result<void> check_shape(const domain::TensorSpec& spec, std::span<const std::int64_t> shape, std::string_view sent);
// That every input is there and has the same number of rows; sets request.rows.
[[nodiscard]] Result<void> check_complete(const domain::Signature& signature, std::span<const std::uint8_t> seen, DecodedRequest& request);

}  // namespace mayfly::worker::codec
