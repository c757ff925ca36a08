#include "worker/codec_tokens.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "worker/codec_numbers.h"

namespace mayfly::worker::codec {
namespace {

constexpr std::size_t kIndexedFirst = 16 * 1024;
constexpr std::size_t kIndexedKept = 16 << 20;  // four bytes of index a byte

}  // namespace

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text); }

struct Tokens::Parser {
  std::unique_ptr<simdjson::internal::dom_parser_implementation> stages;
  std::size_t capacity = 0;
};

Tokens::Tokens() : parser_(std::make_unique<Parser>()) {}
Tokens::~Tokens() = default;

Result<void> Tokens::index(std::span<const std::byte> json) {
  count_ = at_ = size_ = 0;
  Parser& parser = *parser_;
  if (json.empty()) return fail(Code::invalid_argument, "the body is empty: send JSON");
  if (!parser.stages || parser.capacity < json.size()) {
    const std::size_t wanted = std::max(json.size(), kIndexedFirst);
    simdjson::error_code error = simdjson::SUCCESS;
    if (!parser.stages) error = simdjson::get_active_implementation()->create_dom_parser_implementation(wanted, kNestingMax, parser.stages);
    else error = parser.stages->set_capacity(wanted);
    if (error) {
      parser.stages.reset();
      return fail(Code::invalid_argument,
                  "a JSON body of " + std::to_string(json.size()) + " bytes cannot be parsed: send less than 4 GiB, or binary tensors");
    }
    parser.capacity = wanted;
  }
  text_ = reinterpret_cast<const char*>(json.data());
  size_ = json.size();
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text_);
  const simdjson::error_code error = parser.stages->stage1(bytes, size_, simdjson::stage1_mode::regular);
  if (error) {
    const char* why = error == simdjson::UTF8_ERROR        ? "it is not UTF-8"
                      : error == simdjson::UNCLOSED_STRING ? "a string has no closing quote"
                      : error == simdjson::UNESCAPED_CHARS ? "a string holds a control character; escape it as \\u00XX"
                      : error == simdjson::EMPTY           ? "it holds nothing but blanks"
                                                           : simdjson::error_message(error);
    return fail(Code::invalid_argument, std::string("the body is not JSON: ") + why);
  }
  places_ = parser.stages->structural_indexes.get();
  count_ = parser.stages->n_structural_indexes;
  return {};
}

void Tokens::trim() {
  count_ = at_ = size_ = 0;
  if (parser_->capacity > kIndexedKept) *parser_ = {};
}

Error Tokens::not_json(std::size_t token, std::string_view expected) const {
  const std::size_t place = token < count_ ? places_[token] : size_;
  return {Code::invalid_argument,
          "the body is not JSON at byte " + std::to_string(place) + ": expected " + std::string(expected) + ", found " + quoted(token)};
}

std::string Tokens::quoted(std::size_t token) const {
  if (token >= count_) return "the end";
  constexpr std::size_t kShown = 32;
  const std::size_t begin = places_[token];
  std::size_t end = token + 1 < count_ ? places_[token + 1] : size_;
  while (end > begin + 1 && is_space(text_[end - 1])) --end;
  std::string shown(text_ + begin, std::min(end - begin, kShown));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  if (end - begin > kShown) shown += "…";
  return shown.front() == '"' ? shown : "'" + shown + "'";
}

Result<void> Tokens::expect(char c, std::string_view what) {
  if (take(c)) return {};
  return fail(not_json(at_, what));
}

bool Tokens::string_at(std::size_t token, Arena& arena, std::string_view& out) const {
  const char* begin = text(token) + 1;
  // The first stage refused texts whose last quote is open, so there is one before the end.
  const char* limit = text_ + size_;
  const auto* quote = static_cast<const char*>(std::memchr(begin, '"', static_cast<std::size_t>(limit - begin)));
  if (!quote) return false;
  if (!std::memchr(begin, '\\', static_cast<std::size_t>(quote - begin))) {
    out = {begin, static_cast<std::size_t>(quote - begin)};
    return true;
  }
  const char* next = token + 1 < count_ ? text(token + 1) : limit;
  auto* copy = reinterpret_cast<std::uint8_t*>(arena.allocate(static_cast<std::size_t>(next - begin) + simdjson::SIMDJSON_PADDING));
  const std::uint8_t* end = parser_->stages->parse_string(reinterpret_cast<const std::uint8_t*>(begin), copy);
  const auto size = end ? static_cast<std::size_t>(end - copy) : 0;
  arena.give_back(size);
  out = {reinterpret_cast<const char*>(copy), size};
  // A lone half of a surrogate pair unescapes to what is not UTF-8.
  return end && is_utf8(out);
}

Result<std::string_view> Tokens::take_string(Arena& arena, std::string_view what) {
  if (peek() != '"') return fail(not_json(at_, std::string(what) + " in quotes"));
  std::string_view out;
  if (!string_at(at_, arena, out)) return fail(not_json(at_, "a string with valid escapes"));
  ++at_;
  return out;
}

Result<bool> Tokens::take_bool(std::string_view what) {
  const char* end = nullptr;
  bool out = false;
  if (at_end() || !read_literal(text(at_), end, out))
    return fail(Code::invalid_argument, std::string(what) + " must be true or false, not " + quoted(at_));
  ++at_;
  return out;
}

Result<std::int64_t> Tokens::take_integer(std::string_view what) {
  std::int64_t out = 0;
  const char* end = nullptr;
  // A number is never the last token of a body that is JSON; without a token behind it, it may have no end.
  if (left() < 2 || read_integer(text(at_), end, out) != Why::none || !ends_token(end))
    return fail(Code::invalid_argument, std::string(what) + " must be a whole number, not " + quoted(at_));
  ++at_;
  return out;
}

Result<void> Tokens::skip_scalar() {
  const char c = peek();
  if (c == '"') {
    ++at_;
    return {};
  }
  bool ok = false;
  const char* end = nullptr;
  if (left() >= 2) {
    if (bool ignored = false; c == 't' || c == 'f') {
      ok = read_literal(text(at_), end, ignored);
    } else if (c == 'n') {
      ok = std::memcmp(text(at_), "null", 4) == 0 && ends_token(text(at_) + 4);
    } else {
      Decimal number;
      ok = scan(text(at_), number) == Why::none && ends_token(number.end);
    }
  }
  if (!ok) return fail(not_json(at_, "a value"));
  ++at_;
  return {};
}

Result<void> Tokens::skip(int depth) {
  if (depth > kNestingMax) return fail(Code::invalid_argument, "the body nests deeper than " + std::to_string(kNestingMax) + " levels");
  if (peek() == '[') return list("a list", [&](std::size_t) { return skip(depth + 1); });
  if (peek() != '{') return skip_scalar();
  ++at_;
  if (take('}')) return {};
  do {
    TRY_VOID(expect('"', "a field's name in quotes"));
    TRY_VOID(expect(':', "':'"));
    TRY_VOID(skip(depth + 1));
  } while (take(','));
  return expect('}', "',' or '}'");
}

Result<void> Tokens::skip_unread() {
  std::size_t open = 0;
  do {
    if (at_end()) return fail(not_json(at_, "a value that ends"));
    const char c = text_[places_[at_++]];
    if (c == '[' || c == '{') ++open;
    if (c == ']' || c == '}') {
      if (open == 0) return fail(not_json(at_ - 1, "a value"));
      --open;
    }
  } while (open > 0);
  return {};
}

}  // namespace mayfly::worker::codec
