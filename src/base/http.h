// Words of HTTP that whoever speaks it needs, on either side of a sandbox's wall: methods, headers, and how names compare.
// Reading a request is base/http_parser.h's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace mayfly {

enum class Method : std::uint8_t { get, head, post, put, delete_, patch, options, other };
[[nodiscard]] std::string_view name(Method method);  // "GET"; other: "?"

struct HttpHeader {
  std::string_view name;   // as sent; compare with same_word()
  std::string_view value;  // without spaces around it
};

// ASCII, ignoring case: header names and tokens.
[[nodiscard]] bool same_word(std::string_view a, std::string_view b);

// Its ASCII letters in lower case.
[[nodiscard]] std::string lower_case(std::string_view text);

// What may be sent as a header's name (a token, RFC 9110, 5.6.2) and as its value (no control characters but a tab).
[[nodiscard]] bool is_header_name(std::string_view text);
[[nodiscard]] bool is_header_value(std::string_view text);

// "%41" -> "A"; in a query '+' is a space. Nothing where a % is not followed by two hex digits, or where it gives a NUL.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space = false);

// RFC 3986, 2.1: all but what is unreserved there, and what `keep` names, as "%41".
[[nodiscard]] std::string percent_encoded(std::string_view text, std::string_view keep = {});

// The next name=value of a query, cut off its front and still encoded; nothing at its end. Without '=' the value is ""; "&&" is "&".
[[nodiscard]] std::optional<std::pair<std::string_view, std::string_view>> take_pair(std::string_view& query);

}  // namespace mayfly
