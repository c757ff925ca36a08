// Tensors to replies (worker/codec.h, encode()).
#include <cstring>

#include "worker/codec.h"
#include "worker/codec_check.h"
#include "worker/codec_write.h"

namespace mayfly::worker {
namespace {

using codec::append_number;
using codec::append_quoted;
using codec::Values;
using domain::Datatype;
using domain::Signature;
using domain::TensorSpec;
using domain::WireFormat;

Values values_of(const TensorSpec& spec, const TensorView& tensor, bool nan_is_null) {
  return {.name = spec.name, .type = spec.datatype, .data = tensor.data, .strings = tensor.strings, .nan_is_null = nan_is_null};
}

// What the engine gave is whole: the shape and the memory agree.
Result<std::size_t> checked_count(const TensorSpec& spec, const TensorView& tensor) {
  const auto count = codec::count_of(tensor.shape);
  const std::size_t there =
      spec.datatype == Datatype::bytes ? tensor.strings.size() : tensor.data.size() / domain::element_size(spec.datatype);
  if (count && *count == there) return there;
  return fail(Code::internal, "output '" + spec.name + "': shape " + codec::text(tensor.shape) + " does not match the " +
                                  std::to_string(there) + " elements that the engine gave");
}

Result<void> append_nested(std::string& out, const Values& values, std::span<const std::int64_t> shape, std::size_t& next) {
  if (shape.empty()) return codec::append_values(out, values, next++, 1);
  out += '[';
  const auto size = static_cast<std::size_t>(shape[0]);
  if (shape.size() == 1) {
    TRY_VOID(codec::append_values(out, values, next, size));
    next += size;
  } else {
    for (std::size_t i = 0; i < size; ++i) {
      if (i > 0) out += ',';
      TRY_VOID(append_nested(out, values, shape.subspan(1), next));
    }
  }
  out += ']';
  return {};
}

Result<void> encode_plain(const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature,
                          std::string& out) {
  out += '{';
  for (bool first = true; const WantedOutput& wanted : request.outputs) {
    const TensorSpec& spec = signature.outputs[wanted.index];
    const TensorView& tensor = outputs[wanted.index];
    TRY_VOID(checked_count(spec, tensor));
    if (!first) out += ',';
    first = false;
    append_quoted(out, spec.name);
    out += ':';
    std::size_t next = 0;
    TRY_VOID(append_nested(out, values_of(spec, tensor, true), tensor.shape, next));
  }
  out += '}';
  return {};
}

// The n best of each row, as strings; they live until the reply is written.
struct Ranked {
  TensorView tensor;
  std::vector<std::string> text;
  std::vector<std::string_view> views;
};

Result<Ranked> rank(const TensorSpec& spec, const TensorView& tensor, int best, bool batches, const ReplyNames& names) {
  TRY(const std::size_t count, checked_count(spec, tensor));
  const std::size_t rows = batches && !tensor.shape.empty() ? static_cast<std::size_t>(tensor.shape[0]) : 1;
  const std::size_t classes = rows == 0 ? 0 : count / rows;
  const std::size_t kept = std::min(static_cast<std::size_t>(best), classes);
  Ranked ranked;
  const Values values = values_of(spec, tensor, false);
  for (std::size_t row = 0; row < rows; ++row) codec::append_best(values, row * classes, classes, kept, names.labels, ranked.text);
  ranked.views.assign(ranked.text.begin(), ranked.text.end());
  if (batches) ranked.tensor.shape.push_back(static_cast<std::int64_t>(rows));
  ranked.tensor.shape.push_back(static_cast<std::int64_t>(kept));
  ranked.tensor.strings = ranked.views;
  return ranked;
}

Result<void> append_output(std::string& out, const TensorSpec& spec, const TensorView& tensor, bool binary) {
  TRY(const std::size_t count, checked_count(spec, tensor));
  out += "{\"name\":";
  append_quoted(out, spec.name);
  out += ",\"datatype\":\"";
  out += domain::name(spec.datatype);
  out += "\",\"shape\":[";
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (i > 0) out += ',';
    append_number(out, tensor.shape[i]);
  }
  if (binary) {
    std::int64_t size = static_cast<std::int64_t>(tensor.data.size());
    if (spec.datatype == Datatype::bytes) {
      size = 0;
      for (const std::string_view text : tensor.strings) {
        if (text.size() > UINT32_MAX)
          return fail(Code::unimplemented, "output '" + spec.name + "' has a string of 4 GiB or more, which the protocol cannot carry");
        size += static_cast<std::int64_t>(sizeof(std::uint32_t) + text.size());
      }
    }
    out += "],\"parameters\":{\"binary_data_size\":";
    append_number(out, size);
    out += "}}";
    return {};
  }
  out += "],\"data\":[";
  TRY_VOID(codec::append_values(out, values_of(spec, tensor, false), 0, count));
  out += "]}";
  return {};
}

void append_binary(std::string& out, const TensorView& tensor) {
  out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  for (const std::string_view text : tensor.strings) {
    const auto size = static_cast<std::uint32_t>(text.size());
    char head[sizeof size];
    std::memcpy(head, &size, sizeof size);
    out.append(head, sizeof size).append(text);
  }
}

Result<void> encode_v2(const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature,
                       const ReplyNames& names, Encoded& into) {
  std::string& out = into.body;
  const std::size_t begin = out.size();
  std::vector<Ranked> ranked;  // empty, and so without memory, unless classes are asked for
  out += "{\"model_name\":";
  append_quoted(out, names.model);
  out += ",\"model_version\":";
  append_quoted(out, names.version);
  if (!request.id.empty()) {
    out += ",\"id\":";
    append_quoted(out, request.id);
  }
  out += ",\"outputs\":[";
  bool binary = false;
  for (bool first = true; const WantedOutput& wanted : request.outputs) {
    if (!first) out += ',';
    first = false;
    binary |= wanted.binary;
    const TensorSpec& spec = signature.outputs[wanted.index];
    if (wanted.classification == 0) {
      TRY_VOID(append_output(out, spec, outputs[wanted.index], wanted.binary));
      continue;
    }
    TRY(Ranked best, rank(spec, outputs[wanted.index], wanted.classification, signature.batches, names));
    TRY_VOID(append_output(out, {.name = spec.name, .datatype = Datatype::bytes}, best.tensor, wanted.binary));
    ranked.push_back(std::move(best));
  }
  out += "]}";
  if (!binary) return {};
  into.json_size = out.size() - begin;
  for (std::size_t next = 0; const WantedOutput& wanted : request.outputs) {
    const TensorView& tensor = wanted.classification > 0 ? ranked[next++].tensor : outputs[wanted.index];
    if (wanted.binary) append_binary(out, tensor);
  }
  return {};
}

}  // namespace

Result<void> encode(WireFormat format, const DecodedRequest& request, std::span<const TensorView> outputs, const Signature& signature,
                    const ReplyNames& names, Encoded& into) {
  ASSERT(outputs.size() == signature.outputs.size(), "the engine gives every output of the signature");
  const std::size_t begin = into.body.size();
  into.json_size = 0;
  auto done = format == WireFormat::plain_json ? encode_plain(request, outputs, signature, into.body)
                                               : encode_v2(request, outputs, signature, names, into);
  if (!done) {
    into.body.resize(begin);
    into.json_size = 0;
  }
  return done;
}

}  // namespace mayfly::worker
