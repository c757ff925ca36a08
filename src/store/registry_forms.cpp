#include "store/registry_forms.h"

#include <algorithm>

#include "base/http.h"
#include "domain/json.h"
#include "domain/json_fields.h"

namespace mayfly::store {
namespace {

using Json = nlohmann::json;
using domain::text_in;

constexpr std::size_t kChallengesMax = 16, kParametersMax = 16, kPlaceMax = 8192, kTokenMax = 12 * 1024;

// Reads a header from its front.
struct Words {
  std::string_view rest;

  void skip(std::string_view characters) { rest.remove_prefix(std::min(rest.find_first_not_of(characters), rest.size())); }
  bool take(char c) {
    if (!rest.starts_with(c)) return false;
    rest.remove_prefix(1);
    return true;
  }
  std::string token() {
    std::size_t size = 0;
    while (size < rest.size() && is_header_name(rest.substr(size, 1))) ++size;
    std::string text(rest.substr(0, size));
    rest.remove_prefix(size);
    return text;
  }
  std::string quoted() {                            // behind its first quote
    std::string text;
    while (!rest.empty() && rest.front() != '"') {
      if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
      text += rest.front();
      rest.remove_prefix(1);
    }
    take('"');
    return text;
  }
};

std::string printable(std::string text, std::size_t most) {
  std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return text.substr(0, most);
}

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

}  // namespace

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> all;
  for (Words words{header}; words.skip(" \t,"), !words.rest.empty();) {
    std::string word = lower_case(words.token());
    if (word.empty()) {                             // no word of this grammar, like a token68 of another scheme: to the next
      words.rest.remove_prefix(std::min(words.rest.find(','), words.rest.size()));
      continue;
    }
    words.skip(" \t");
    if (!words.take('=')) {
      if (all.size() == kChallengesMax) break;
      all.push_back({.scheme = std::move(word), .parameters = {}});
      continue;
    }
    words.skip(" \t=");                             // "abc==" is a token68, and has no value
    std::string value = words.take('"') ? words.quoted() : words.token();
    if (!all.empty() && all.back().parameters.size() < kParametersMax) all.back().parameters.emplace(std::move(word), std::move(value));
  }
  return all;
}

Result<Place> parse_place(std::string_view url, const Endpoint& from) {
  const auto wrong = [&] {
    return fail(Code::invalid_argument, "'" + printable(std::string(url.substr(0, 200)), 200) + "' is no address of http:// or https://");
  };
  if (url.size() > kPlaceMax || !std::ranges::all_of(url, is_visible)) return wrong();
  url = url.substr(0, url.find('#'));
  Place place{.endpoint = from, .target = {}};
  if (url.starts_with('/') && !url.starts_with("//")) {
    place.target = url;
    return place;
  }
  const std::size_t scheme = url.find("://");
  if (scheme == url.npos) return wrong();
  const std::size_t end = std::min(url.find_first_of("/?", scheme + 3), url.size());
  const auto endpoint = parse_endpoint(lower_case(url.substr(0, end)));
  if (!endpoint) return wrong();
  place.endpoint = *endpoint;
  place.target = url.substr(end);
  if (!place.target.starts_with('/')) place.target.insert(0, 1, '/');
  return place;
}

bool same_endpoint(const Endpoint& a, const Endpoint& b) { return a.tls == b.tls && a.port == b.port && same_word(a.host, b.host); }

Result<std::string> parse_token(std::string_view text) {
  const Json json = domain::parse_json<Json>(text);
  std::string token = text_in(json, "token");
  if (token.empty()) token = text_in(json, "access_token");
  if (!token.empty() && token.size() <= kTokenMax && std::ranges::all_of(token, is_visible)) return token;
  return fail(Code::unavailable, "the answer of its token service holds no token");
}

Refusal parse_refusal(int status, std::string_view body) {
  Refusal refusal;
  const Json json = domain::parse_json<Json>(body);
  const auto errors = json.is_object() ? json.find("errors") : json.end();
  if (json.is_object() && errors != json.end() && errors->is_array() && !errors->empty()) {
    refusal.code = printable(text_in(errors->front(), "code"), 64);
    refusal.text = printable(text_in(errors->front(), "message"), 300);
  }
  if (refusal.text.empty()) refusal.text = refusal.code;
  if (refusal.text.empty()) refusal.text = "status " + std::to_string(status);
  else if (!refusal.code.empty() && refusal.text != refusal.code) refusal.text = refusal.code + ", " + refusal.text;
  return refusal;
}

}  // namespace mayfly::store
