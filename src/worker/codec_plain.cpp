// {"NAME": nested list, …}; the shape is what the brackets say.
#include "worker/codec_check.h"
#include "worker/codec_decode.h"
#include "worker/codec_elements.h"

namespace mayfly::worker::codec {
namespace {

Result<void> read_input(Decoding& d, std::size_t index) {
  const domain::TensorSpec& spec = d.signature.inputs[index];
  if (d.seen[index]) return fail(Code::invalid_argument, input(spec) + " is there twice; send it once");
  d.seen[index] = 1;
  Elements elements;
  TRY_VOID(read_elements(d.tokens, spec, d.arena, d.text, elements));
  TensorView& tensor = d.request.inputs[index];
  const auto shape = elements.nesting.shape();
  tensor.shape.clear();
  // One row without its brackets.
  const bool row = d.signature.batches && shape.size() + 1 == spec.shape.size();
  if (row) tensor.shape.push_back(1);
  tensor.shape.insert(tensor.shape.end(), shape.begin(), shape.end());
  TRY_VOID(check_shape(spec, tensor.shape, "a list"));
  tensor.data = elements.data;
  tensor.strings = elements.strings;
  return {};
}

bool is_common_name(std::string_view key) { return key == "input" || key == "inputs" || key == "instances"; }

}  // namespace

Result<void> decode_plain(Decoding& d, std::span<const std::byte> body) {
  TRY_VOID(d.tokens.index(body));
  const auto& inputs = d.signature.inputs;
  if (d.tokens.peek() == '[' && inputs.size() == 1) {
    TRY_VOID(read_input(d, 0));
  } else if (d.tokens.peek() == '[') {
    return fail(Code::invalid_argument, "a bare list needs a model with one input, this one has " + std::to_string(inputs.size()) +
                                            "; send an object from input name to list");
  } else {
    std::size_t next = 0;
    TRY_VOID(d.tokens.object(d.text, "an object from input name to list", [&](std::string_view key) -> Result<void> {
      auto index = find(inputs, key, next);
      if (!index && inputs.size() == 1 && is_common_name(key)) index = 0;
      if (!index) return fail(unknown("input", key, inputs));
      next = *index + 1;
      return read_input(d, *index);
    }));
  }
  if (!d.tokens.at_end()) return fail(d.tokens.not_json(d.tokens.position(), "the end"));
  d.all_outputs(false);
  return check_complete(d.signature, d.seen, d.request);
}

}  // namespace mayfly::worker::codec
