// The words that registries of images answer with, and where those may lead: WWW-Authenticate (RFC 9110, 11.6.1), addresses in
// Location and realm, tokens, errors as the OCI Distribution spec has them. Pure; the texts are a stranger's.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/objects.h"

namespace mayfly::store {

struct Challenge {
  std::string scheme;                               // in lower case: "bearer"
  std::map<std::string, std::string> parameters;    // names in lower case
};
// Of one header, at most 16; what can't be read is left out.
[[nodiscard]] std::vector<Challenge> parse_challenges(std::string_view header);

struct Place {
  Endpoint endpoint;
  std::string target;                               // path and query, as they may be sent
};
// "https://HOST/path?query", or a path of `from` ("/path"). What else there may be in a URL (a user, another scheme) is refused.
[[nodiscard]] Result<Place> parse_place(std::string_view url, const Endpoint& from);
[[nodiscard]] bool same_endpoint(const Endpoint& a, const Endpoint& b);

// "token" or "access_token" of a token service's answer, as it may stand in a header.
[[nodiscard]] Result<std::string> parse_token(std::string_view json);

struct Refusal {
  std::string code;                                 // "MANIFEST_UNKNOWN"; "" where it says none
  std::string text;                                 // for people, without control characters
};
[[nodiscard]] Refusal parse_refusal(int status, std::string_view body);

}  // namespace mayfly::store
