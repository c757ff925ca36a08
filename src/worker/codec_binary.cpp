// Tensors as bytes: those behind a V2 request's JSON, and a body that is nothing else.
#include <cstring>
#include <memory>

#include "worker/codec_check.h"
#include "worker/codec_decode.h"

namespace mayfly::worker::codec {
namespace {

using domain::Datatype;
using domain::TensorSpec;

Result<void> take_strings(const TensorSpec& spec, std::span<const std::byte> bytes, std::size_t count, Arena& arena, TensorView& tensor) {
  constexpr std::size_t kHead = sizeof(std::uint32_t);
  const auto wrong = [&](const std::string& what) {
    return fail(Code::invalid_argument, input(spec) + ": " + what +
                                            "; each element is its length (4 bytes, little-endian) and its bytes, for shape " +
                                            text(tensor.shape) + " " + std::to_string(count) + " times");
  };
  if (count > bytes.size() / kHead) return wrong(std::to_string(bytes.size()) + " bytes are too few");
  auto* strings = reinterpret_cast<std::string_view*>(arena.allocate(count * sizeof(std::string_view)));
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t size = 0;
    if (bytes.size() < kHead) return wrong("the bytes end before element " + std::to_string(i));
    std::memcpy(&size, bytes.data(), kHead);
    bytes = bytes.subspan(kHead);
    if (size > bytes.size())
      return wrong("element " + std::to_string(i) + " says it has " + std::to_string(size) + " bytes, " + std::to_string(bytes.size()) +
                   " are left");
    std::construct_at(strings + i, reinterpret_cast<const char*>(bytes.data()), size);
    bytes = bytes.subspan(size);
  }
  if (!bytes.empty()) return wrong(std::to_string(bytes.size()) + " bytes are left over");
  tensor.strings = {strings, count};
  return {};
}

}  // namespace

Result<void> take_binary(const TensorSpec& spec, std::span<const std::byte> bytes, Arena& arena, TensorView& tensor) {
  const auto count = count_of(tensor.shape);
  std::size_t size = 0;
  const std::size_t element = domain::element_size(spec.datatype);
  if (!count || __builtin_mul_overflow(*count, element, &size))
    return fail(Code::invalid_argument, input(spec) + ": shape " + text(tensor.shape) + " has more elements than any body");
  if (spec.datatype == Datatype::bytes) return take_strings(spec, bytes, *count, arena, tensor);
  if (size != bytes.size())
    return fail(Code::invalid_argument, input(spec) + ": " + std::string(domain::name(spec.datatype)) + " of shape " + text(tensor.shape) +
                                            " is " + std::to_string(size) + " bytes, got " + std::to_string(bytes.size()));
  if (spec.datatype == Datatype::boolean)
    for (const std::byte b : bytes)
      if (b > std::byte{1})
        return fail(Code::invalid_argument, input(spec) + ": a BOOL is a byte of 0 or 1, got " + std::to_string(static_cast<int>(b)));
  tensor.data = bytes;
  // JSON of any length lies before the tensors.
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % element != 0) {
    std::byte* copy = arena.allocate(size);
    std::memcpy(copy, bytes.data(), size);
    tensor.data = {copy, size};
  }
  return {};
}

// The only input's bytes; the one size that the model leaves open follows from their number. A BYTES input is one
// element, without a length before it.
Result<void> decode_raw(Decoding& d, std::span<const std::byte> body) {
  const auto& inputs = d.signature.inputs;
  if (inputs.size() != 1)
    return fail(Code::invalid_argument, "a raw body needs a model with one input, this one has " + std::to_string(inputs.size()) +
                                            "; send JSON or JSON with binary tensors");
  const TensorSpec& spec = inputs[0];
  TensorView& tensor = d.request.inputs[0];
  tensor.shape.assign(spec.shape.begin(), spec.shape.end());
  std::size_t known = domain::element_size(spec.datatype);
  std::int64_t* open = nullptr;
  std::size_t open_count = 0;
  for (std::int64_t& size : tensor.shape) {
    if (size == -1) open = &size, ++open_count;
    else if (__builtin_mul_overflow(known, static_cast<std::size_t>(size), &known)) known = 0;
  }
  d.all_outputs(true);
  d.seen[0] = 1;
  if (spec.datatype == Datatype::bytes) {
    for (std::int64_t& size : tensor.shape)
      if (size == -1) size = 1;
    if (count_of(tensor.shape) != 1)
      return fail(Code::invalid_argument,
                  input(spec) + ": expected " + text(spec) + ", a raw body is one element; send JSON with binary tensors");
    tensor.strings = {std::construct_at(reinterpret_cast<std::string_view*>(d.arena.allocate(sizeof(std::string_view))),
                                        reinterpret_cast<const char*>(body.data()), body.size()),
                      1};
    return check_complete(d.signature, d.seen, d.request);
  }
  // One row, where both the rows and another size are open.
  if (open_count == 2 && d.signature.batches) tensor.shape[0] = 1, --open_count;
  if (open_count > 1)
    return fail(Code::invalid_argument, input(spec) + ": a raw body cannot say the shape of " + text(spec) +
                                            ", which leaves several sizes open; send JSON with binary tensors");
  if (open_count == 1) {
    if (known == 0 || body.size() % known != 0)
      return fail(Code::invalid_argument, input(spec) + ": expected " + text(spec) + ", got " + std::to_string(body.size()) +
                                              " bytes; send a multiple of " + std::to_string(known));
    *open = static_cast<std::int64_t>(body.size() / known);
  }
  TRY_VOID(take_binary(spec, body, d.arena, tensor));
  return check_complete(d.signature, d.seen, d.request);
}

}  // namespace mayfly::worker::codec
