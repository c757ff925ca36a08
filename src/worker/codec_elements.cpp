#include "worker/codec_elements.h"

#include <array>
#include <type_traits>

#include "worker/codec_check.h"
#include "worker/codec_numbers.h"

namespace mayfly::worker::codec {
namespace {

using domain::Datatype;

struct Half {};
struct BrainFloat {};

template <class T>
struct Stored {
  using type = T;
};
template <>
struct Stored<bool> {
  using type = std::uint8_t;
};
template <>
struct Stored<Half> {
  using type = std::uint16_t;
};
template <>
struct Stored<BrainFloat> {
  using type = std::uint16_t;
};

// One element from the text of a token. Strings need the tokens and are read in read_string().
template <class T>
Why read(const char* p, const char*& end, typename Stored<T>::type& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (*p == 't' || *p == 'f') {
      bool value = false;
      if (!read_literal(p, end, value)) return Why::not_bool;
      out = value;
      return Why::none;
    }
    const Why why = read_integer(p, end, out);
    return why == Why::none && out <= 1 ? Why::none : Why::not_bool;
  } else if constexpr (std::is_integral_v<T>) {
    return read_integer(p, end, out);
  } else {
    Decimal number;
    if (const Why why = scan(p, number); why != Why::none) return why;
    end = number.end;
    if constexpr (std::is_same_v<T, float>) return to_float(number, out) ? Why::none : Why::range;
    else if constexpr (std::is_same_v<T, double>) return to_double(number, out) ? Why::none : Why::range;
    double wide = 0;
    constexpr int kExponentBits = std::is_same_v<T, Half> ? 5 : 8;
    if constexpr (sizeof(out) == 2)
      return to_double(number, wide) && to_small_float(wide, kExponentBits, 15 - kExponentBits, out) ? Why::none : Why::range;
  }
}

struct Row {
  std::byte* memory = nullptr;
  std::size_t count = 0;  // elements so far
  std::size_t token = 0;  // of the fault
  Why why = Why::none;

  bool fault(Why what, std::size_t at) {
    why = what;
    token = at;
    return false;
  }
};

// Elements and the commas between them, up to and with the closing bracket. The caller's memory holds one element for
// every two tokens that are left, so it cannot be overrun.
template <class T>
bool read_row(Tokens& tokens, Arena&, Row& row) {
  using Value = typename Stored<T>::type;
  auto* out = reinterpret_cast<Value*>(row.memory) + row.count;
  auto* const first = out;
  const std::size_t count = tokens.count();
  for (std::size_t at = tokens.position();; at += 2) {
    if (at + 1 >= count) return row.fault(Why::syntax, count);
    const char* end = nullptr;
    if (const Why why = read<T>(tokens.text(at), end, *out); why != Why::none) [[unlikely]]
      return row.fault(why, at);
    const char* next = tokens.text(at + 1);
    if (end != next && !is_space(*end)) [[unlikely]]
      return row.fault(Why::syntax, at);
    ++out;
    if (*next == ',') continue;
    if (*next != ']') return row.fault(Why::syntax, at + 1);
    row.count += static_cast<std::size_t>(out - first);
    tokens.seek(at + 2);
    return true;
  }
}

template <class T>
bool read_one(Tokens& tokens, Arena&, Row& row) {
  const std::size_t at = tokens.position();
  const char* end = nullptr;
  if (tokens.left() < 2) return row.fault(Why::syntax, tokens.count());
  auto* out = reinterpret_cast<typename Stored<T>::type*>(row.memory);
  if (const Why why = read<T>(tokens.text(at), end, *out); why != Why::none) return row.fault(why, at);
  if (end != tokens.text(at + 1) && !is_space(*end)) return row.fault(Why::syntax, at);
  row.count = 1;
  tokens.seek(at + 1);
  return true;
}

bool read_string(Tokens& tokens, Arena& text, Row& row) {
  const std::size_t at = tokens.position();
  if (tokens.peek() != '"') return row.fault(Why::not_string, at);
  auto* out = reinterpret_cast<std::string_view*>(row.memory) + row.count;
  if (!tokens.string_at(at, text, *std::construct_at(out))) return row.fault(Why::bad_string, at);
  ++row.count;
  tokens.seek(at + 1);
  return true;
}

bool read_strings(Tokens& tokens, Arena& text, Row& row) {
  for (;;) {
    if (!read_string(tokens, text, row)) return false;
    if (tokens.take(',')) continue;
    return tokens.take(']') ? true : row.fault(Why::syntax, tokens.position());
  }
}

struct Reader {
  bool (*row)(Tokens&, Arena&, Row&);
  bool (*one)(Tokens&, Arena&, Row&);
};
template <class T>
constexpr Reader kReader = {read_row<T>, read_one<T>};

// In the order of domain::Datatype.
constexpr std::array<Reader, 14> kReaders = {kReader<bool>,
                                             kReader<std::uint8_t>,
                                             kReader<std::uint16_t>,
                                             kReader<std::uint32_t>,
                                             kReader<std::uint64_t>,
                                             kReader<std::int8_t>,
                                             kReader<std::int16_t>,
                                             kReader<std::int32_t>,
                                             kReader<std::int64_t>,
                                             kReader<Half>,
                                             kReader<float>,
                                             kReader<double>,
                                             Reader{read_strings, read_string},
                                             kReader<BrainFloat>};

std::string range_of(Datatype type) {
  const auto bounds = [](auto least, auto most) { return " (" + std::to_string(least) + " to " + std::to_string(most) + ")"; };
  switch (type) {
    case Datatype::uint8: return bounds(0, 255);
    case Datatype::uint16: return bounds(0, 65535);
    case Datatype::uint32: return bounds(0, std::numeric_limits<std::uint32_t>::max());
    case Datatype::uint64: return bounds(0, std::numeric_limits<std::uint64_t>::max());
    case Datatype::int8: return bounds(-128, 127);
    case Datatype::int16: return bounds(-32768, 32767);
    case Datatype::int32: return bounds(std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max());
    case Datatype::int64: return bounds(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
    case Datatype::fp16: return " (largest: 65504)";
    case Datatype::bf16: return " (largest: 3.39e38)";
    case Datatype::fp32: return " (largest: 3.4028235e38)";
    default: return " (largest: 1.7976931348623157e308)";
  }
}

Error explain(const Tokens& tokens, const Row& row, const domain::TensorSpec& spec) {
  const std::string type(domain::name(spec.datatype));
  const std::string value = tokens.quoted(row.token);
  const std::string where = input(spec) + ": ";
  const char first = tokens.character(row.token);
  switch (row.why) {
    case Why::syntax: {
      const bool element = first != ',' && first != ']' && first != '}' && row.token == tokens.position();
      return tokens.not_json(row.token, element ? "a value" : "',' or ']'");
    }
    case Why::bad_string: return tokens.not_json(row.token, "a string with valid escapes");
    case Why::bad_number: return tokens.not_json(row.token, "a number");
    case Why::range: return {Code::invalid_argument, where + value + " is out of the range of " + type + range_of(spec.datatype)};
    case Why::fraction:
      return {Code::invalid_argument, where + value + " is not a whole number of at most 19 digits, which " + type + " needs"};
    default: break;
  }
  if (first == ',' || first == ']' || first == '}' || first == ':' || first == '\0') return tokens.not_json(row.token, "a value");
  if (first == '[')
    return {Code::invalid_argument,
            where + "lists and values stand side by side in one list (before " + value + "); all elements must be at one depth"};
  if (first == '{') return {Code::invalid_argument, where + "an object is no element; send a list of " + type};
  if (first == 'N' || first == 'I' || value.starts_with("'-I"))
    return {Code::invalid_argument,
            where + value + " is not JSON, which has no word for NaN and infinities; send the tensor in binary form"};
  const char* wanted = row.why == Why::not_bool ? "true, false, 0 or 1" : row.why == Why::not_string ? "strings" : "numbers";
  return {Code::invalid_argument, where + "expected " + type + ", got " + value + "; send " + wanted};
}

// Walks the brackets; `sizes` fills with each depth's length, -1 while it is unknown.
class Walk {
 public:
  Walk(Tokens& tokens, const domain::TensorSpec& spec) : tokens_(tokens), spec_(spec) { sizes_.fill(-1); }

  Result<void> run(const Reader& reader, Arena& text, Row& row) {
    do {
      TRY_VOID(open());
      if (tokens_.take(']')) {
        TRY_VOID(close());
      } else if (tokens_.peek() != '[') {
        if (leaf_ == 0) leaf_ = depth_;
        if (leaf_ != depth_) return fail(uneven());
        const std::size_t before = row.count;
        if (!reader.row(tokens_, text, row)) return fail(explain(tokens_, row, spec_));
        counts_[depth_ - 1] = static_cast<std::int64_t>(row.count - before);
        TRY_VOID(close());
      }
    } while (depth_ > 0);
    return {};
  }

  Nesting nesting() const { return {sizes_, deepest_}; }

 private:
  Result<void> open() {
    TRY_VOID(tokens_.expect('[', "a list"));
    if (depth_ == kNestingMax || (leaf_ != 0 && depth_ >= leaf_))
      return depth_ == kNestingMax
                 ? fail(Code::invalid_argument, input(spec_) + ": lists nest deeper than " + std::to_string(kNestingMax) + " levels")
                 : fail(uneven());
    counts_[depth_++] = 0;
    deepest_ = std::max(deepest_, depth_);
    return {};
  }

  // A list has ended: so may those around it.
  Result<void> close() {
    for (;;) {
      const std::int64_t count = counts_[depth_ - 1];
      std::int64_t& size = sizes_[depth_ - 1];
      if (size == -1) size = count;
      if (size != count)
        return fail(Code::invalid_argument, input(spec_) + ": a list at depth " + std::to_string(depth_) + " has " + std::to_string(count) +
                                                " elements where the first has " + std::to_string(size) +
                                                "; all of one depth must be equally long");
      if (--depth_ == 0) return {};
      ++counts_[depth_ - 1];
      if (tokens_.take(',')) {
        if (tokens_.peek() == '[') return {};
        Row row;
        row.fault(Why::not_number, tokens_.position());
        const char c = tokens_.peek();
        if (c == ']' || c == '}' || c == ',' || c == '\0') return fail(explain(tokens_, row, spec_));
        return fail(uneven());
      }
      TRY_VOID(tokens_.expect(']', "',' or ']'"));
    }
  }

  Error uneven() const {
    return {Code::invalid_argument, input(spec_) + ": lists and values stand side by side in one list (near " +
                                        tokens_.quoted(tokens_.position()) + "); all elements must be at one depth"};
  }

  Tokens& tokens_;
  const domain::TensorSpec& spec_;
  std::array<std::int64_t, kNestingMax> sizes_;
  std::array<std::int64_t, kNestingMax> counts_{};
  std::size_t depth_ = 0;
  std::size_t deepest_ = 0;
  std::size_t leaf_ = 0;  // depth of the lists that hold values
};

}  // namespace

Result<void> read_elements(Tokens& tokens, const domain::TensorSpec& spec, Arena& arena, Arena& text, Elements& out) {
  const bool strings = spec.datatype == Datatype::bytes;
  const std::size_t size = strings ? sizeof(std::string_view) : domain::element_size(spec.datatype);
  const Reader& reader = kReaders.at(static_cast<std::size_t>(spec.datatype));
  Row row;
  // Every element is a token, and another token follows it.
  row.memory = arena.allocate((tokens.left() / 2 + 1) * size);
  if (tokens.peek() == '[') {
    Walk walk(tokens, spec);
    TRY_VOID(walk.run(reader, text, row));
    out.nesting = walk.nesting();
  } else {
    if (!reader.one(tokens, text, row)) return fail(explain(tokens, row, spec));
    out.nesting.rank = 0;
  }
  arena.give_back(row.count * size);
  if (!strings) {
    out.data = {row.memory, row.count * size};
  } else {
    out.strings = {reinterpret_cast<const std::string_view*>(row.memory), row.count};
  }
  out.count = row.count;
  return {};
}

}  // namespace mayfly::worker::codec
