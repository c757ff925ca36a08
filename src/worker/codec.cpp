#include "worker/codec.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "os/ring.h"
#include "worker/codec_json.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::TensorSpec;
using domain::WireFormat;
namespace json = simdjson::ondemand;

static_assert(os::kPadding >= simdjson::SIMDJSON_PADDING);

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t d : shape) text += (text.size() > 1 ? "," : "") + std::to_string(d);
  return text + "]";
}

Error malformed(simdjson::error_code error) {
  return {Code::invalid_argument, std::string("the body is not the JSON that was expected: ") + simdjson::error_message(error)};
}

#define JSON_TRY(expr) \
  do { if (const auto json_error_ = (expr)) return fail(malformed(json_error_)); } while (false)

// Elements of a complete shape; nothing where it is negative or more than any body can hold.
std::optional<std::size_t> count_of(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (const std::int64_t d : shape) {
    if (d < 0 || __builtin_mul_overflow(count, static_cast<std::size_t>(d), &count) || count > (std::size_t{1} << 40)) return std::nullopt;
  }
  return count;
}

// States that the shape is one that the model takes.
Result<void> check_shape(const TensorSpec& spec, const std::vector<std::int64_t>& shape) {
  bool fits = shape.size() == spec.shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = spec.shape[i] == -1 ? shape[i] >= 0 : shape[i] == spec.shape[i];
  if (fits) return {};
  return fail(Code::invalid_argument, "input '" + spec.name + "': shape " + text_of(shape) + " was sent, the model takes " + std::string(domain::name(spec.datatype)) + " " +
                                          text_of(spec.shape) + " (-1: any size)");
}

std::optional<std::size_t> index_of(const std::vector<TensorSpec>& specs, std::string_view name) {
  for (std::size_t i = 0; i < specs.size(); ++i)
    if (specs[i].name == name) return i;
  return std::nullopt;
}

std::string names_of(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs) names += (names.empty() ? "'" : ", '") + spec.name + "'";
  return names;
}

Error unknown(const char* kind, std::string_view name, const std::vector<TensorSpec>& specs) {
  return {Code::invalid_argument, std::string("the model has no ") + kind + " '" + std::string(name.substr(0, 100)) + "'; it has " + names_of(specs)};
}

}  // namespace

struct Decoder::Parser {
  json::parser parser;
  std::vector<bool> seen;

  explicit Parser(const Signature& s) : signature(s) {}
  const Signature& signature;

  Result<DecodedRequest> plain(std::string_view body, DecodeMemory& memory);
  Result<DecodedRequest> v2(std::string_view text, std::span<const std::byte> tensors, bool binary, DecodeMemory& memory);
  Result<DecodedRequest> raw(std::span<const std::byte> body);
  Result<void> v2_input(json::object& object, std::span<const std::byte>& tensors, DecodedRequest& into, DecodeMemory& memory);
  Result<void> v2_outputs(json::array& list, bool binary_default, DecodedRequest& into);
  Result<void> plain_input(std::size_t index, json::value value, std::size_t body_size, DecodedRequest& into, DecodeMemory& memory);
  Result<void> take_plain(std::size_t index, ListReader& reader, DecodedRequest& into, DecodeMemory& memory);
  Result<void> binary_input(const TensorSpec& spec, std::span<const std::byte> bytes, TensorView& tensor, std::vector<std::string_view>& strings);
  Result<DecodedRequest> finish(DecodedRequest request);
  void all_outputs(DecodedRequest& request, bool binary) const {
    for (std::size_t i = 0; i < signature.outputs.size(); ++i) request.outputs.push_back({.index = i, .binary = binary});
  }
  DecodedRequest begin(DecodeMemory& memory) {
    seen.assign(signature.inputs.size(), false);
    memory.data.resize(signature.inputs.size());
    memory.strings.resize(signature.inputs.size());
    memory.text.clear();
    DecodedRequest request;
    request.inputs.resize(signature.inputs.size());
    return request;
  }
};

Decoder::Decoder(Signature signature) : signature_(std::move(signature)), parser_(std::make_unique<Parser>(signature_)) {}
Decoder::~Decoder() = default;

Result<DecodedRequest> Decoder::decode(WireFormat format, std::span<const std::byte> body, std::uint64_t json_size, DecodeMemory& memory) {
  const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
  switch (format) {
    case WireFormat::plain_json: return parser_->plain(text, memory);
    case WireFormat::v2_json: return parser_->v2(text, {}, false, memory);
    case WireFormat::v2_binary:
      if (json_size > body.size()) return fail(Code::invalid_argument, "Inference-Header-Content-Length is " + std::to_string(json_size) + ", the body has " + std::to_string(body.size()) + " bytes");
      return parser_->v2(text.substr(0, json_size), body.subspan(json_size), true, memory);
    case WireFormat::v2_raw: {
      memory.strings.resize(1);
      return parser_->raw(body);
    }
  }
  return fail(Code::invalid_argument, "an unknown form of body");
}

Result<DecodedRequest> Decoder::Parser::finish(DecodedRequest request) {
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (!seen[i]) return fail(Code::invalid_argument, "input '" + signature.inputs[i].name + "' is missing; the model takes " + names_of(signature.inputs));
  if (!signature.batches) return request;
  request.rows = request.inputs[0].shape[0];
  for (std::size_t i = 1; i < request.inputs.size(); ++i)
    if (request.inputs[i].shape[0] != request.rows)
      return fail(Code::invalid_argument, "input '" + signature.inputs[i].name + "' has " + std::to_string(request.inputs[i].shape[0]) + " rows, input '" + signature.inputs[0].name + "' has " + std::to_string(request.rows));
  if (request.rows < 1) return fail(Code::invalid_argument, "there are no rows in the inputs");
  return request;
}

// Plain form ------------------------------------------------------------------------------------

Result<void> Decoder::Parser::take_plain(std::size_t index, ListReader& reader, DecodedRequest& into, DecodeMemory& memory) {
  const TensorSpec& spec = signature.inputs[index];
  if (seen[index]) return fail(Code::invalid_argument, "input '" + spec.name + "' is there twice");
  seen[index] = true;
  // One row without its brackets.
  if (signature.batches && reader.shape.size() + 1 == spec.shape.size()) reader.shape.insert(reader.shape.begin(), 1);
  TRY_VOID(check_shape(spec, reader.shape));
  into.inputs[index] = {.shape = std::move(reader.shape), .data = memory.data[index], .strings = memory.strings[index]};
  return {};
}

Result<void> Decoder::Parser::plain_input(std::size_t index, json::value value, std::size_t body_size, DecodedRequest& into, DecodeMemory& memory) {
  const std::string what = "input '" + signature.inputs[index].name + "'";
  ListReader reader{.datatype = signature.inputs[index].datatype, .what = what, .data = memory.data[index], .strings = memory.strings[index], .text = memory.text};
  TRY_VOID(reader.read(value, body_size / 8));
  return take_plain(index, reader, into, memory);
}

Result<DecodedRequest> Decoder::Parser::plain(std::string_view body, DecodeMemory& memory) {
  DecodedRequest request = begin(memory);
  json::document document;
  JSON_TRY(parser.iterate(body.data(), body.size(), body.size() + os::kPadding).get(document));
  json::json_type type{};
  JSON_TRY(document.type().get(type));
  if (type == json::json_type::array && signature.inputs.size() == 1) {
    const std::string what = "input '" + signature.inputs[0].name + "'";
    ListReader reader{.datatype = signature.inputs[0].datatype, .what = what, .data = memory.data[0], .strings = memory.strings[0], .text = memory.text};
    TRY_VOID(reader.read(document, body.size() / 8));
    TRY_VOID(take_plain(0, reader, request, memory));
  } else {
    json::object object;
    if (document.get_object().get(object)) return fail(Code::invalid_argument, "a JSON object from input name to list was expected: the model takes " + names_of(signature.inputs));
    for (auto field : object) {
      std::string_view key;
      JSON_TRY(field.unescaped_key().get(key));
      auto index = index_of(signature.inputs, key);
      const bool common = key == "input" || key == "inputs" || key == "instances";
      if (!index && common && signature.inputs.size() == 1) index = 0;
      if (!index) return fail(unknown("input", key, signature.inputs));
      json::value value;
      JSON_TRY(field.value().get(value));
      TRY_VOID(plain_input(*index, value, body.size(), request, memory));
    }
  }
  if (const char* rest = nullptr; !document.current_location().get(rest)) return fail(Code::invalid_argument, "there is something behind the end of the JSON");
  all_outputs(request, false);
  return finish(std::move(request));
}

// Open Inference Protocol V2 --------------------------------------------------------------------

Result<void> Decoder::Parser::binary_input(const TensorSpec& spec, std::span<const std::byte> bytes, TensorView& tensor, std::vector<std::string_view>& strings) {
  const auto count = count_of(tensor.shape);
  if (!count) return fail(Code::invalid_argument, "input '" + spec.name + "': shape " + text_of(tensor.shape) + " is impossible");
  if (spec.datatype != Datatype::bytes) {
    if (*count * domain::element_size(spec.datatype) != bytes.size())
      return fail(Code::invalid_argument, "input '" + spec.name + "': " + std::to_string(bytes.size()) + " bytes were sent; shape " + text_of(tensor.shape) + " of " + std::string(domain::name(spec.datatype)) + " has " + std::to_string(*count * domain::element_size(spec.datatype)));
    tensor.data = bytes;
    return {};
  }
  strings.clear();
  while (!bytes.empty()) {
    std::uint32_t size = 0;
    if (bytes.size() < sizeof size) break;
    std::memcpy(&size, bytes.data(), sizeof size);
    if (bytes.size() - sizeof size < size) break;
    strings.emplace_back(reinterpret_cast<const char*>(bytes.data()) + sizeof size, size);
    bytes = bytes.subspan(sizeof size + size);
  }
  if (!bytes.empty() || strings.size() != *count)
    return fail(Code::invalid_argument, "input '" + spec.name + "': shape " + text_of(tensor.shape) + " has " + std::to_string(*count) + " strings, the bytes hold " + std::to_string(strings.size()) + " whole ones");
  tensor.strings = strings;
  return {};
}

Result<void> Decoder::Parser::v2_input(json::object& object, std::span<const std::byte>& tensors, DecodedRequest& into, DecodeMemory& memory) {
  std::string_view name, datatype;
  if (object["name"].get_string().get(name)) return fail(Code::invalid_argument, "an input has no name");
  const auto index = index_of(signature.inputs, name);
  if (!index) return fail(unknown("input", name, signature.inputs));
  const TensorSpec& spec = signature.inputs[*index];
  if (seen[*index]) return fail(Code::invalid_argument, "input '" + spec.name + "' is there twice");
  seen[*index] = true;
  TensorView& tensor = into.inputs[*index];
  json::array shape;
  if (object["shape"].get_array().get(shape)) return fail(Code::invalid_argument, "input '" + spec.name + "' has no shape");
  for (auto dimension : shape) {
    std::int64_t size = 0;
    if (dimension.get_int64().get(size) || size < 0 || tensor.shape.size() >= kNestingMax) return fail(Code::invalid_argument, "input '" + spec.name + "': its shape is not a list of at most 32 sizes");
    tensor.shape.push_back(size);
  }
  if (object["datatype"].get_string().get(datatype)) return fail(Code::invalid_argument, "input '" + spec.name + "' has no datatype");
  if (datatype != domain::name(spec.datatype)) return fail(Code::invalid_argument, "input '" + spec.name + "' was sent as " + std::string(datatype.substr(0, 20)) + ", the model takes " + std::string(domain::name(spec.datatype)));
  TRY_VOID(check_shape(spec, tensor.shape));
  std::uint64_t binary_size = 0;
  if (!object["parameters"]["binary_data_size"].get_uint64().get(binary_size)) {
    if (binary_size > tensors.size()) return fail(Code::invalid_argument, "input '" + spec.name + "': binary_data_size is " + std::to_string(binary_size) + ", of the body " + std::to_string(tensors.size()) + " bytes are left");
    TRY_VOID(binary_input(spec, tensors.first(binary_size), tensor, memory.strings[*index]));
    tensors = tensors.subspan(binary_size);
    return {};
  }
  const auto count = count_of(tensor.shape);
  json::value data;
  if (object["data"].get(data)) return fail(Code::invalid_argument, "input '" + spec.name + "' has neither data nor binary_data_size");
  const std::string what = "input '" + spec.name + "'";
  ListReader reader{.datatype = spec.datatype, .what = what, .data = memory.data[*index], .strings = memory.strings[*index], .text = memory.text, .ragged_allowed = true};
  constexpr std::size_t kReserveMax = 1 << 16;
  TRY_VOID(reader.read(data, std::min(count.value_or(0), kReserveMax)));
  const std::size_t got = spec.datatype == Datatype::bytes ? memory.strings[*index].size() : memory.data[*index].size() / domain::element_size(spec.datatype);
  if (!count || got != *count) return fail(Code::invalid_argument, what + ": shape " + text_of(tensor.shape) + " was stated, " + std::to_string(got) + " values were sent");
  tensor.data = memory.data[*index];
  tensor.strings = memory.strings[*index];
  return {};
}

Result<void> Decoder::Parser::v2_outputs(json::array& list, bool binary_default, DecodedRequest& into) {
  for (auto item : list) {
    json::object object;
    std::string_view name;
    if (item.get_object().get(object) || object["name"].get_string().get(name)) return fail(Code::invalid_argument, "an output that was asked for has no name");
    const auto index = index_of(signature.outputs, name);
    if (!index) return fail(unknown("output", name, signature.outputs));
    if (into.outputs.size() >= signature.outputs.size()) return fail(Code::invalid_argument, "more outputs were asked for than the model has");
    WantedOutput wanted{.index = *index, .binary = binary_default};
    json::object parameters;
    if (!object["parameters"].get_object().get(parameters)) {
      bool binary = false;
      std::uint64_t classes = 0;
      if (!parameters["binary_data"].get_bool().get(binary)) wanted.binary = binary;
      if (!parameters["classification"].get_uint64().get(classes)) wanted.classification = static_cast<int>(std::min<std::uint64_t>(classes, 1 << 20));
    }
    into.outputs.push_back(wanted);
  }
  return {};
}

Result<DecodedRequest> Decoder::Parser::v2(std::string_view text, std::span<const std::byte> tensors, bool binary, DecodeMemory& memory) {
  static_cast<void>(binary);
  DecodedRequest request = begin(memory);
  json::document document;
  JSON_TRY(parser.iterate(text.data(), text.size(), text.size() + os::kPadding).get(document));
  json::object object;
  if (document.get_object().get(object)) return fail(Code::invalid_argument, "the request is not a JSON object");
  bool outputs_asked = false, binary_default = false;
  for (auto field : object) {
    std::string_view key;
    JSON_TRY(field.unescaped_key().get(key));
    json::value value;
    JSON_TRY(field.value().get(value));
    if (key == "id") {
      std::string_view id;
      if (value.get_string().get(id)) return fail(Code::invalid_argument, "the request's id is not a string");
      request.id = keep_text(id, memory.text);
    } else if (key == "inputs") {
      json::array list;
      if (value.get_array().get(list)) return fail(Code::invalid_argument, "inputs is not a list");
      for (auto item : list) {
        json::object input;
        if (item.get_object().get(input)) return fail(Code::invalid_argument, "an input is not an object");
        TRY_VOID(v2_input(input, tensors, request, memory));
      }
    } else if (key == "outputs") {
      json::array list;
      if (value.get_array().get(list)) return fail(Code::invalid_argument, "outputs is not a list");
      TRY_VOID(v2_outputs(list, binary_default, request));
      outputs_asked = !request.outputs.empty();
    } else if (key == "parameters") {
      json::object parameters;
      if (value.get_object().get(parameters)) return fail(Code::invalid_argument, "parameters is not an object");
      if (parameters["binary_data_output"].get_bool().get(binary_default)) binary_default = false;
    }
  }
  if (const char* rest = nullptr; !document.current_location().get(rest)) return fail(Code::invalid_argument, "there is something behind the end of the JSON");
  if (!tensors.empty()) return fail(Code::invalid_argument, std::to_string(tensors.size()) + " bytes of the body belong to no input");
  if (!outputs_asked) all_outputs(request, binary_default);
  return finish(std::move(request));
}

// The whole body is the only input's tensor; its free dimension, if any, follows from the size.
Result<DecodedRequest> Decoder::Parser::raw(std::span<const std::byte> body) {
  if (signature.inputs.size() != 1) return fail(Code::invalid_argument, "a raw body needs a model with one input; this one takes " + names_of(signature.inputs));
  const TensorSpec& spec = signature.inputs[0];
  DecodedRequest request;
  request.inputs.resize(1);
  seen.assign(1, true);
  TensorView& tensor = request.inputs[0];
  tensor.shape = spec.shape;
  if (spec.datatype == Datatype::bytes) return fail(Code::unimplemented, "a raw body can't be BYTES: send it with its header");
  std::size_t known = domain::element_size(spec.datatype);
  std::int64_t* open = nullptr;
  for (std::int64_t& d : tensor.shape) {
    if (d >= 0) known *= static_cast<std::size_t>(d);
    else if (open) return fail(Code::invalid_argument, "input '" + spec.name + "' has several free sizes, so a raw body does not tell its shape " + text_of(spec.shape));
    else open = &d;
  }
  if (open && known > 0) *open = static_cast<std::int64_t>(body.size() / known);
  std::vector<std::string_view> none;
  TRY_VOID(binary_input(spec, body, tensor, none));
  all_outputs(request, true);
  return finish(std::move(request));
}

}  // namespace mayfly::worker
