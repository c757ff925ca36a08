#include "worker/codec.h"

#include "os/ring.h"
#include "worker/codec_decode.h"
#include "worker/codec_tokens.h"

namespace mayfly::worker {

using domain::WireFormat;

struct Decoder::Parser {
  codec::Tokens tokens;
  std::vector<std::uint8_t> seen;
};

Decoder::Decoder(domain::Signature signature) : signature_(std::move(signature)), parser_(std::make_unique<Parser>()) {}
Decoder::~Decoder() = default;

Result<DecodedRequest> Decoder::decode(WireFormat format, std::span<const std::byte> body, std::uint64_t json_size, DecodeMemory& memory) {
  DecodedRequest request;
  TRY_VOID(decode(format, body, json_size, memory, request));
  return request;
}

Result<void> Decoder::decode(WireFormat format, std::span<const std::byte> body, std::uint64_t json_size, DecodeMemory& memory,
                             DecodedRequest& request) {
  memory.arena.clear();
  memory.text.clear();
  parser_->seen.assign(signature_.inputs.size(), 0);
  request.id = {};
  request.outputs.clear();
  request.inputs.resize(signature_.inputs.size());
  for (TensorView& tensor : request.inputs) tensor.data = {}, tensor.strings = {};
  codec::Decoding decoding{signature_, parser_->tokens, parser_->seen, memory.arena, memory.text, request};
  Result<void> done;
  switch (format) {
    case WireFormat::plain_json: done = codec::decode_plain(decoding, body); break;
    case WireFormat::v2_json: done = codec::decode_v2(decoding, body, {}); break;
    case WireFormat::v2_raw: done = codec::decode_raw(decoding, body); break;
    case WireFormat::v2_binary:
      done = json_size <= body.size()
                 ? codec::decode_v2(decoding, body.first(json_size), body.subspan(json_size))
                 : fail(Code::invalid_argument, "Inference-Header-Content-Length is " + std::to_string(json_size) +
                                                    ", but the body has only " + std::to_string(body.size()) + " bytes");
      break;
    default: done = fail(Code::invalid_argument, "the form of the body is unknown (" + std::to_string(static_cast<int>(format)) + ")");
  }
  parser_->tokens.trim();
  return done;
}

}  // namespace mayfly::worker
