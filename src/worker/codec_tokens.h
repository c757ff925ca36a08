// One JSON text as a row of tokens: simdjson's first stage finds where each begins (and checks UTF-8, quotes and
// control characters); a cursor walks over them. Whoever walks checks the grammar: there is no tree. Only this
// file's source and codec_numbers.cpp know simdjson. The text and os::kPadding bytes behind it must stay readable.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "worker/codec_arena.h"

namespace mayfly::worker::codec {

constexpr int kNestingMax = 32;

constexpr bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

[[nodiscard]] bool is_utf8(std::string_view text);

class Tokens {
 public:
  Tokens();
  ~Tokens();

  // Indexes a text and puts the cursor on its first token.
  [[nodiscard]] Result<void> index(std::span<const std::byte> json);
  // Frees the index's memory where it has become large.
  void trim();

  bool at_end() const { return at_ >= count_; }
  // First character of the token under the cursor; 0 at the end.
  char peek() const { return character(at_); }
  char character(std::size_t token) const { return token < count_ ? text_[places_[token]] : '\0'; }
  const char* text(std::size_t token) const { return text_ + places_[token]; }
  std::size_t position() const { return at_; }
  std::size_t count() const { return count_; }
  std::size_t left() const { return count_ - at_; }
  void seek(std::size_t token) { at_ = token; }

  // Steps over the token if it is `c`.
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] Result<void> expect(char c, std::string_view what);
  // The string under the cursor, without quotes and escapes. Points into the text where there are none.
  [[nodiscard]] Result<std::string_view> take_string(Arena& arena, std::string_view what);
  // Same, of any token that begins with a quote; false where the escapes are wrong.
  [[nodiscard]] bool string_at(std::size_t token, Arena& arena, std::string_view& out) const;
  // "true" or "false" under the cursor.
  [[nodiscard]] Result<bool> take_bool(std::string_view what);
  [[nodiscard]] Result<std::int64_t> take_integer(std::string_view what);
  // Steps over one value and checks its grammar.
  [[nodiscard]] Result<void> skip(int depth = 0);
  // Steps over one list by its brackets alone: for values that are read later.
  [[nodiscard]] Result<void> skip_unread();

  // Calls field(key) for each field of the object under the cursor; it must consume the value.
  template <class Field>
  [[nodiscard]] Result<void> object(Arena& arena, std::string_view what, Field&& field) {
    TRY_VOID(expect('{', what));
    if (take('}')) return {};
    do {
      TRY(const std::string_view key, take_string(arena, "a field's name"));
      TRY_VOID(expect(':', "':'"));
      TRY_VOID(field(key));
    } while (take(','));
    return expect('}', "',' or '}'");
  }
  // Calls item(index) for each item of the list under the cursor; it must consume the value.
  template <class Item>
  [[nodiscard]] Result<void> list(std::string_view what, Item&& item) {
    TRY_VOID(expect('[', what));
    if (take(']')) return {};
    std::size_t index = 0;
    do { TRY_VOID(item(index++)); } while (take(','));
    return expect(']', "',' or ']'");
  }

  // "the body is not JSON at byte 17: expected ',' or ']', found 'x'"
  [[nodiscard]] Error not_json(std::size_t token, std::string_view expected) const;
  // The token as people may see it: cut, and printable.
  [[nodiscard]] std::string quoted(std::size_t token) const;

 private:
  struct Parser;
  [[nodiscard]] Result<void> skip_scalar();

  const char* text_ = nullptr;
  const std::uint32_t* places_ = nullptr;
  std::size_t size_ = 0;
  std::size_t count_ = 0;
  std::size_t at_ = 0;
  std::unique_ptr<Parser> parser_;
};

}  // namespace mayfly::worker::codec
