// Bodies to tensors and back, for every domain::WireFormat; the engine is not known here. Decoding
// checks everything against the model's signature: names, datatypes, shapes, counts, ranges; what
// passes can be run. Used by the serve loop (worker/serve_loop.h), one request at a time; a Decoder
// keeps its memory from request to request.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/frame.h"
#include "domain/tensor.h"
#include "worker/codec_arena.h"

namespace mayfly::worker {

// Dense, row-major, little-endian. For Datatype::bytes `strings` holds the elements and `data` is empty.
struct TensorView {
  std::vector<std::int64_t> shape;  // complete: no -1
  std::span<const std::byte> data;
  std::span<const std::string_view> strings;
};

struct WantedOutput {
  std::size_t index = 0;  // in Signature::outputs
  bool binary = false;
  int classification = 0;  // n > 0: the n best as "value:index[:label]" (Triton's extension)
};

struct DecodedRequest {
  std::string_view id;                // as sent; "" where none
  std::vector<TensorView> inputs;     // in the order of Signature::inputs, all there
  std::vector<WantedOutput> outputs;  // what the reply holds, in this order
  std::int64_t rows = 1;              // first dimension where the signature batches, else 1
};

// What decoding one request filled in; it is kept for the next.
struct DecodeMemory {
  codec::Arena arena;  // elements
  codec::Arena text;   // strings that had escapes
};

class Decoder {
 public:
  explicit Decoder(domain::Signature signature);
  ~Decoder();

  // Views point into `body` or into `memory`, and numbers lie aligned for their type. At least os::kPadding readable
  // bytes lie behind the body. The forms that are understood are described in docs/inference-forms.md.
  [[nodiscard]] Result<DecodedRequest> decode(domain::WireFormat format, std::span<const std::byte> body, std::uint64_t json_size,
                                              DecodeMemory& memory);
  // The same into a request whose memory is used again: allocates nothing once it has seen a request of this size.
  [[nodiscard]] Result<void> decode(domain::WireFormat format, std::span<const std::byte> body, std::uint64_t json_size,
                                    DecodeMemory& memory, DecodedRequest& request);

 private:
  struct Parser;
  domain::Signature signature_;
  std::unique_ptr<Parser> parser_;
};

struct Encoded {
  std::string body;
  std::uint64_t json_size = 0;  // of a reply with binary outputs; else 0
};

struct ReplyNames {
  std::string_view model;
  std::string_view version;                          // "3"
  const std::vector<std::string>* labels = nullptr;  // for classification
};

// `outputs` are all of the model's, in the order of signature.outputs; request.outputs picks. Floats in their shortest
// form that reads back to the same value; NaN and infinities as null in the plain form and as an error in V2 JSON (JSON
// has no word for them; ask for binary). Strings that are not UTF-8 are an error in both. plain_json: {"NAME": nested
// list, …}; others: the V2 response. Appends to into.body, whose capacity is reused; adds nothing where it fails.
[[nodiscard]] Result<void> encode(domain::WireFormat format, const DecodedRequest& request, std::span<const TensorView> outputs,
                                  const domain::Signature& signature, const ReplyNames& names, Encoded& into);

}  // namespace mayfly::worker
