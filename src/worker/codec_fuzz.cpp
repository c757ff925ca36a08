// Any bytes as a request in every form, against a few signatures. What is accepted must be whole, must encode, and a
// plain or V2 JSON reply of it must decode to the same bits again. Input: 'A' + form + 4 × signature, then two characters
// that say where the JSON of a binary request ends ('0' + 64ths, '0' + rest), then the body.
#include <cstdlib>

#include "base/assert.h"
#include "worker/codec_test_support.h"

namespace {

using namespace mayfly;
using domain::Datatype;
using domain::Signature;
using domain::WireFormat;

Signature echo(std::vector<domain::TensorSpec> specs, bool batches) { return {.inputs = specs, .outputs = specs, .batches = batches}; }

const std::vector<Signature>& signatures() {
  static const std::vector<Signature> all{
      echo({{"x", Datatype::fp32, {-1, 3}}}, true),
      echo({{"ids", Datatype::int64, {-1, -1}}, {"text", Datatype::bytes, {-1}}}, true),
      echo({{"b", Datatype::boolean, {-1}}, {"h", Datatype::fp16, {2}}, {"d", Datatype::fp64, {}}, {"u", Datatype::uint64, {-1, 1}}},
           false),
      echo({{"i", Datatype::int8, {-1, -1, -1}}}, false),
      echo({{"t", Datatype::bytes, {-1}}}, false),
      echo({{"w", Datatype::bf16, {-1}}}, true)};
  return all;
}

void check_whole(const Signature& signature, const worker::DecodedRequest& request) {
  ASSERT(request.inputs.size() == signature.inputs.size(), "all inputs are there");
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    const auto& tensor = request.inputs[i];
    const auto& spec = signature.inputs[i];
    std::size_t count = 1;
    ASSERT(tensor.shape.size() == spec.shape.size(), "the rank is the model's");
    for (std::size_t k = 0; k < tensor.shape.size(); ++k) {
      ASSERT(tensor.shape[k] >= 0 && (spec.shape[k] == -1 || spec.shape[k] == tensor.shape[k]), "the shape is the model's");
      count *= static_cast<std::size_t>(tensor.shape[k]);
    }
    if (spec.datatype == Datatype::bytes) ASSERT(tensor.strings.size() == count, "every string is there");
    else ASSERT(tensor.data.size() == count * domain::element_size(spec.datatype), "every element is there");
    unsigned sum = 0;  // reads every byte, for the sanitizer
    for (const std::byte b : tensor.data) sum += static_cast<unsigned>(b);
    for (const std::string_view text : tensor.strings)
      for (const char c : text) sum += static_cast<unsigned char>(c);
    ASSERT(sum != 0xFFFFFFFF, "no body is that large");
  }
  ASSERT(!signature.batches || request.rows > 0, "there is a row");
  for (const auto& wanted : request.outputs) ASSERT(wanted.index < signature.outputs.size(), "asked for what there is");
}

// Inputs as outputs; encoded and read again.
void check_return(const Signature& signature, WireFormat format, worker::DecodedRequest& request) {
  worker::Encoded encoded;
  const auto done = worker::encode(format, request, request.inputs, signature, {.model = "m", .version = "1"}, encoded);
  if (!done) {
    ASSERT(encoded.body.empty() && done.error().code == Code::invalid_argument, "an error adds nothing");
    return;
  }
  if (format != WireFormat::plain_json) return;
  const worker::PaddedBody body(encoded.body);
  worker::Decoder decoder(signature);
  worker::DecodeMemory memory;
  const auto again = decoder.decode(format, body.bytes(), 0, memory);
  ASSERT(again, "what was encoded can be decoded");
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    ASSERT(std::ranges::equal(again->inputs[i].data, request.inputs[i].data), "to the same bits");
    ASSERT(std::ranges::equal(again->inputs[i].strings, request.inputs[i].strings), "to the same strings");
  }
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static const char* const seeds[] = {
      R"(A00{"x":[[1,2,3],[4.5,-6e-7,8E+9]]})",
      R"(A00[[1,0.10000000149011612,3]])",
      R"(A00{"input":[1,2,3]})",
      R"(B00{"id":"i","inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}],)"
      R"("outputs":[{"name":"x","parameters":{"classification":2}}]})",
      R"(B00{"parameters":{"binary_data_output":true,"priority":1},)"
      R"("inputs":[{"data":[[1,2,3]],"name":"x","shape":[1,3],"datatype":"FP32"}]})",
      R"(C1N{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}AAAABBBBCCCC)",
      "D00AAAABBBBCCCC",
      R"(E00{"ids":[[1,-2],[3,4]],"text":["a\u00e9\ud83d\ude00","\"\\\n"]})",
      R"(F00{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["\u0000"]},)"
      R"({"name":"ids","shape":[1,1],"datatype":"INT64","data":[9223372036854775807]}]})",
      R"(I00{"b":[true,0],"h":[65504,5.96e-8],"d":1e-320,"u":[[18446744073709551615]]})",
      R"(M00{"i":[[[1],[2]],[[-3],[4.0]]]})",
      R"(M00{"i":[[],[]]})",
      R"(N00{"inputs":[{"name":"i","shape":[0,5,1],"datatype":"INT8","data":[]}]})",
      R"(Q00["a","","b]"])",
      R"(U00{"w":[1.0,3.3895314e38,1e-40]})",
      "W00AABBCC",
      nullptr};
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const auto choice = static_cast<std::size_t>(data[0] - 'A') % (4 * signatures().size());
  const auto format = static_cast<WireFormat>(choice % 4);
  const Signature& signature = signatures()[choice / 4];
  const auto json_size = static_cast<std::uint64_t>(64 * (data[1] - '0') + (data[2] - '0'));
  const worker::PaddedBody body({reinterpret_cast<const char*>(data) + 3, size - 3});
  worker::Decoder decoder(signature);
  worker::DecodeMemory memory;
  worker::DecodedRequest request;
  // Twice with one memory: what the first left must not show.
  const auto first = decoder.decode(format, body.bytes(), json_size, memory, request);
  const auto second = decoder.decode(format, body.bytes(), json_size, memory, request);
  ASSERT(first.has_value() == second.has_value(), "decoding does not depend on what was before");
  if (!first) {
    ASSERT(!first.error().message.empty() && first.error().message.size() < 4096, "an error says what, at a length that a person reads");
    ASSERT(first.error().message == second.error().message, "decoding does not depend on what was before");
    return 0;
  }
  check_whole(signature, request);
  check_return(signature, format, request);
  return 0;
}
