#include "gate/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace mayfly::gate {
namespace {

using domain::Datatype;

constexpr std::size_t kRankMax = 16;
constexpr std::uint64_t kTextMax = 64 * 1024;  // characters of one element

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<std::int64_t> shape;
  std::size_t data_at = 0;
};

// What stands behind 'key': in the header's dictionary, which numpy writes with repr().
std::string_view value_of(std::string_view text, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = quote + std::string(key) + quote;
    std::size_t at = text.find(quoted);
    if (at == text.npos) continue;
    at = text.find_first_not_of(" ", at + quoted.size());
    if (at == text.npos || text[at] != ':') return {};
    at = text.find_first_not_of(" ", at + 1);
    return at == text.npos ? std::string_view() : text.substr(at);
  }
  return {};
}

std::optional<std::vector<std::int64_t>> parse_shape(std::string_view text) {
  std::vector<std::int64_t> shape;
  if (!text.starts_with('(')) return std::nullopt;
  text = text.substr(1, text.find(')') - 1);
  while (true) {
    const std::size_t at = text.find_first_not_of(" ,");
    if (at == text.npos) return shape;
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), size);
    if (error != std::errc() || size < 0 || shape.size() == kRankMax) return std::nullopt;
    shape.push_back(size);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.starts_with('L')) text.remove_prefix(1);  // of Python 2
    if (!text.empty() && text.front() != ',' && text.front() != ' ') return std::nullopt;
  }
}

Result<Header> parse_header(std::string_view bytes, const std::string& name) {
  const auto wrong = [&](const std::string& why) {
    return fail(Code::invalid_argument, "array '" + name + "' is not in numpy's form: " + why + "; write it with numpy.savez");
  };
  if (!bytes.starts_with("\x93NUMPY") || bytes.size() < 10) return wrong("its first bytes are not those of a .npy");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  const std::size_t version = byte(6), fixed = version == 1 ? 10 : 12;
  if (version < 1 || version > 3) return wrong("its version is " + std::to_string(version) + ", known are 1 to 3");
  if (bytes.size() < fixed) return wrong("it is cut short");
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (bytes.size() - fixed < length) return wrong("it is cut short in its header");
  const std::string_view text = bytes.substr(fixed, length);
  const std::string_view descr = value_of(text, "descr"), order = value_of(text, "fortran_order"), shape = value_of(text, "shape");
  Header header{.fortran = order.starts_with("True"), .data_at = fixed + length};
  if (!descr.starts_with('\'') && !descr.starts_with('"')) return wrong("it is a record or has no type: one type an array");
  header.descr = descr.substr(1, descr.find(descr.front(), 1) - 1);
  const auto sizes = parse_shape(shape);
  if (!sizes) return wrong("its shape can't be read");
  header.shape = *sizes;
  return header;
}

std::optional<Datatype> type_of(std::string_view descr) {
  constexpr std::pair<std::string_view, Datatype> kTypes[] = {
      {"f4", Datatype::fp32}, {"f8", Datatype::fp64}, {"f2", Datatype::fp16}, {"i8", Datatype::int64}, {"i4", Datatype::int32},
      {"i2", Datatype::int16}, {"i1", Datatype::int8}, {"u8", Datatype::uint64}, {"u4", Datatype::uint32}, {"u2", Datatype::uint16},
      {"u1", Datatype::uint8}, {"b1", Datatype::boolean}};
  for (const auto& [text, type] : kTypes)
    if (descr == text) return type;
  return std::nullopt;
}

void add_utf8(std::string& text, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) put(0xc0 | c >> 6);
  else if (c < 0x10000) put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 63));
  else put(0xf0 | (c >> 18 & 7)), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63));
  put(0x80 | (c & 63));
}

// `S` pads with zeros, `U` is UTF-32 and does, too.
std::string text_of(std::string_view element, bool wide) {
  if (!wide) return std::string(element.substr(0, element.find_last_not_of('\0') + 1));
  std::string text;
  std::size_t zeros = 0;
  for (std::size_t at = 0; at + 4 <= element.size(); at += 4) {
    std::uint32_t c = 0;
    std::memcpy(&c, element.data() + at, 4);
    if (c == 0) {
      ++zeros;
      continue;
    }
    for (; zeros > 0; --zeros) text += '\0';
    add_utf8(text, std::min<std::uint32_t>(c, 0x10ffff));
  }
  return text;
}

// Where element `index` in C's order lies in Fortran's.
std::uint64_t fortran_place(std::uint64_t index, const std::vector<std::int64_t>& shape) {
  std::uint64_t place = 0, stride = count_of(shape);
  for (std::size_t i = shape.size(); i-- > 0;) {
    const auto size = static_cast<std::uint64_t>(shape[i]);
    stride /= size;
    place += index % size * stride;
    index /= size;
  }
  return place;
}

}  // namespace

Result<Array> parse_npy(std::string_view bytes, const std::string& name) {
  TRY(const Header header, parse_header(bytes, name));
  std::string_view descr = header.descr;
  if (descr.starts_with('>'))
    return fail(Code::invalid_argument,
                "array '" + name + "' is big-endian (" + header.descr + "): save it as '<" + header.descr.substr(1) + "'");
  if (descr.starts_with('<') || descr.starts_with('|') || descr.starts_with('=')) descr.remove_prefix(1);
  const std::uint64_t count = count_of(header.shape);
  Array array{.name = name, .shape = header.shape};
  std::uint64_t element = 0;
  const bool text = descr.starts_with('S') || descr.starts_with('U'), wide = descr.starts_with('U');
  if (text) {
    array.datatype = Datatype::bytes;
    if (std::from_chars(descr.data() + 1, descr.data() + descr.size(), element).ec != std::errc() || element > kTextMax)
      return fail(Code::invalid_argument, "array '" + name + "' has texts of a size that is not read: at most 65,536 characters each");
    element *= wide ? 4 : 1;
  } else if (const auto type = type_of(descr)) {
    array.datatype = *type;
    element = domain::element_size(*type);
  } else {
    return fail(Code::invalid_argument, "array '" + name + "' has elements of numpy's type '" + header.descr.substr(0, 32) +
                                            "', which no model takes: convert it with astype()");
  }
  const std::string_view data = bytes.substr(header.data_at);
  const bool empty_texts = element == 0;
  if ((!empty_texts && count > data.size() / element) || (empty_texts && count > (1 << 20)))
    return fail(Code::invalid_argument, "array '" + name + "' is cut short: its shape " + shape_text(header.shape) +
                                            " asks for more than its " + std::to_string(data.size()) + " bytes");
  if (!text) array.data.resize(count * element);
  for (std::uint64_t i = 0; i < count && (text || header.fortran); ++i) {
    const std::string_view from = data.substr((header.fortran ? fortran_place(i, header.shape) : i) * element, element);
    if (text) array.strings.push_back(text_of(from, wide));
    else std::memcpy(array.data.data() + i * element, from.data(), element);
  }
  if (!text && !header.fortran && count > 0) std::memcpy(array.data.data(), data.data(), count * element);
  return array;
}

}  // namespace mayfly::gate
