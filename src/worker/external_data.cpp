#include "worker/external_data.h"

#include <charconv>
#include <limits>
#include <optional>
#include <set>

#include "worker/detail/wire_reader.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kModelMax = 256 << 20;  // without its weights
constexpr std::string_view kFolder = ".";
constexpr std::uint32_t kDelimited = 2;

std::unexpected<Error> unfit(std::string message) { return fail(Code::unimplemented, std::move(message)); }

// Bytes of an element; 0: none that can be used in place.
std::uint64_t element_size(int type) {
  switch (type) {
    case 2: case 3: case 9: return 1;            // UINT8, INT8, BOOL
    case 4: case 5: case 10: case 16: return 2;  // UINT16, INT16, FLOAT16, BFLOAT16
    case 1: case 6: case 12: return 4;           // FLOAT, INT32, UINT32
    case 7: case 11: case 13: return 8;          // INT64, DOUBLE, UINT64
    default: return 0;
  }
}

void put_number(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

void put_field(std::string& to, std::uint32_t number, std::string_view bytes) {
  put_number(to, number << 3 | kDelimited);
  put_number(to, bytes.size());
  to.append(bytes);
}

// A message, in which `change` may put something else in the place of a field: true where it has.
template <class Change>
Result<std::string> rewritten(std::string_view message, const Change& change) {
  std::string out;
  WireReader reader(message);
  for (;;) {
    const std::string_view before = reader.rest();
    const auto field = reader.next();
    if (!field) break;
    TRY(const bool changed, change(*field, out));
    if (!changed) out.append(before.substr(0, before.size() - reader.rest().size()));
  }
  if (reader.bad()) return fail(Code::invalid_argument, "the model file is truncated or damaged");
  return out;
}

std::optional<std::uint64_t> whole(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Entry {
  std::string_view key, value;
};
Entry entry_of(std::string_view bytes) {  // StringStringEntryProto
  Entry entry;
  WireReader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1) entry.key = field->bytes;
    if (field->number == 2) entry.value = field->bytes;
  }
  return entry;
}

// nullopt: its data are in the model.
Result<std::optional<ExternalTensor>> external_tensor(std::string_view bytes) {
  ExternalTensor tensor;
  std::optional<std::uint64_t> length, offset = 0;
  std::uint64_t where = 0;
  WireReader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number == 1 && field->delimited) {
      WireReader packed(field->bytes);
      while (const auto size = packed.number()) tensor.shape.push_back(static_cast<std::int64_t>(*size));
    } else if (field->number == 1) {
      tensor.shape.push_back(static_cast<std::int64_t>(field->value));
    }
    if (field->number == 2) tensor.type = static_cast<int>(std::min<std::uint64_t>(field->value, 1000));
    if (field->number == 8) tensor.name = field->bytes;
    if (field->number == 14) where = field->value;
    if (field->number != 13) continue;
    const Entry entry = entry_of(field->bytes);
    if (entry.key == "location") tensor.location = entry.value;
    if (entry.key == "offset") offset = whole(entry.value);
    if (entry.key == "length") length = whole(entry.value);
  }
  if (where != 1) return std::optional<ExternalTensor>();
  const std::string what = "weights '" + tensor.name.substr(0, 100) + "' ";
  const std::uint64_t element = element_size(tensor.type);
  if (element == 0) return unfit(what + "are of type " + std::to_string(tensor.type) + " of ONNX, which has no whole bytes");
  std::uint64_t size = element;
  for (const std::int64_t d : tensor.shape) {
    if (d <= 0 || static_cast<std::uint64_t>(d) > std::numeric_limits<std::uint64_t>::max() / 2 / size)
      return unfit(what + "have a dimension of " + std::to_string(d));
    size *= static_cast<std::uint64_t>(d);
  }
  if (tensor.name.empty() || tensor.location.empty() || !offset || (length && *length != size))
    return unfit(what + "have no name, no file or not the length of their shape");
  if (*offset % element != 0) return unfit(what + "begin at byte " + std::to_string(*offset) + ", in the middle of an element");
  tensor.offset = *offset;
  tensor.size = size;
  return std::optional(std::move(tensor));
}

// The tensor, in the current folder.
Result<std::string> moved(std::string_view bytes) {
  std::string location;
  put_field(location, 1, "location");
  put_field(location, 2, kFolder);
  TRY(std::string out, rewritten(bytes, [](const Field& field, std::string&) -> Result<bool> { return field.number == 13; }));
  put_field(out, 13, location);
  return out;
}

struct Names {
  std::set<std::string_view> inputs, tables;
};
Names names_in(std::string_view graph) {
  Names names;
  WireReader reader(graph);
  while (const auto field = reader.next()) {
    if (field->number != 1 && field->number != 11) continue;
    WireReader parts(field->bytes);  // NodeProto: inputs, operator; ValueInfoProto: name
    std::string_view first, kind;
    while (const auto part = parts.next()) {
      if (part->number == 1 && first.empty()) first = part->bytes;
      if (part->number == 4) kind = part->bytes;
    }
    if (field->number == 11) names.inputs.insert(first);
    else if (kind == "Gather") names.tables.insert(first);
  }
  return names;
}

}  // namespace

Result<InPlace> weights_in_place(std::string_view model, std::uint64_t external_tensors) {
  if (model.size() > kModelMax) return unfit("the model is too large without its weights");
  InPlace out;
  const auto graph = [&](std::string_view bytes) {
    const Names names = names_in(bytes);
    return rewritten(bytes, [&](const Field& field, std::string& to) -> Result<bool> {
      if (field.number != 5) return false;
      TRY(auto tensor, external_tensor(field.bytes));
      if (!tensor) return false;
      tensor->looked_up = names.tables.contains(tensor->name);
      if (names.inputs.contains(tensor->name)) return unfit("weights '" + tensor->name.substr(0, 100) + "' are an input, too");
      TRY(const std::string here, moved(field.bytes));
      put_field(to, 5, here);
      out.tensors.push_back(std::move(*tensor));
      return true;
    });
  };
  TRY(out.model, rewritten(model, [&](const Field& field, std::string& to) -> Result<bool> {
    if (field.number != 7) return false;
    TRY(const std::string whole_graph, graph(field.bytes));
    put_field(to, 7, whole_graph);
    return true;
  }));
  std::set<std::string_view> names;
  for (const ExternalTensor& tensor : out.tensors)
    if (!names.insert(tensor.name).second) return unfit("two weights are named '" + tensor.name.substr(0, 100) + "'");
  if (out.tensors.size() != external_tensors) return unfit("some weights are in branches, attributes or sparse");
  return out;
}

}  // namespace mayfly::worker
