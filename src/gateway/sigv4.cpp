#include "gateway/sigv4.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/http.h"
#include "os/digest.h"
#include "os/fd.h"

namespace mayfly::gateway::sigv4 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string payload_hash(const HttpRequest& request) {
  if (!request.body_memfd) return os::sha256_hex(request.body);
  const auto mapped = os::map_file(request.body_memfd.get(), request.body_size, os::Access::read);
  if (!mapped) return {};                                    // no hash at all: no signature is right
  return os::sha256_hex(mapped->text());
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = std::min(text.find(by), text.size());
    parts.push_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

// As sent and encoded once more, without "", "." and "..".
std::string canonical_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (const std::string_view segment : split(path, '/')) {
    if (segment == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (!segment.empty() && segment != ".") {
      kept.push_back(segment);
    }
  }
  std::string out;
  for (const std::string_view segment : kept) out += "/" + percent_encoded(segment);
  if (out.empty() || path.ends_with('/')) out += "/";
  return out;
}

std::string plain_of(std::string_view text) {
  std::string spaced(text);
  std::ranges::replace(spaced, '+', ' ');
  return percent_decoded(spaced).value_or(spaced);
}

using Query = std::vector<std::pair<std::string, std::string>>;  // decoded
Query query_of(std::string_view text) {
  Query query;
  while (const auto pair = take_pair(text)) query.emplace_back(plain_of(pair->first), plain_of(pair->second));
  return query;
}

std::string canonical_query(const Query& query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : query)
    if (name != "X-Amz-Signature") pairs.emplace_back(percent_encoded(name), percent_encoded(value));
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

// Trimmed, with one blank where there are several; further headers of the name behind it.
std::string canonical_value(const HttpRequest& request, std::string_view name) {
  std::string out;
  bool first = true;
  for (const HttpHeader& header : request.headers) {
    if (!same_word(header.name, name)) continue;
    if (!first) out += ',';
    first = false;
    bool space = false;
    const std::size_t begin = out.size();
    for (const char c : header.value) {
      if (c == ' ' || c == '\t') {
        space = true;
        continue;
      }
      if (space && out.size() > begin) out += ' ';
      space = false;
      out += c;
    }
  }
  return out;
}

struct Claim {                                               // what a request says of its signature
  std::string key, date, region, service, terminator;        // of Credential
  std::string time;                                          // "20150830T123600Z"
  std::string signed_headers, signature;
  std::optional<int> expires;                                // of a presigned URL
};

std::string_view value_of(const Query& query, std::string_view name) {
  const auto at = std::ranges::find(query, name, [](const auto& pair) -> std::string_view { return pair.first; });
  return at == query.end() ? std::string_view() : std::string_view(at->second);
}

// "AKID/20150830/us-east-1/lambda/aws4_request"
bool read_credential(std::string_view text, Claim& claim) {
  const auto parts = split(text, '/');
  if (parts.size() != 5) return false;
  claim.key = parts[0];
  claim.date = parts[1];
  claim.region = parts[2];
  claim.service = parts[3];
  claim.terminator = parts[4];
  return true;
}

std::optional<Claim> claim_in_query(const Query& query) {
  Claim claim{.time = std::string(value_of(query, "X-Amz-Date")), .signed_headers = std::string(value_of(query, "X-Amz-SignedHeaders")),
              .signature = std::string(value_of(query, "X-Amz-Signature")), .expires = 0};
  const std::string_view expires = value_of(query, "X-Amz-Expires");
  const auto [at, error] = std::from_chars(expires.data(), expires.data() + expires.size(), *claim.expires);
  if (error != std::errc() || at != expires.data() + expires.size() || *claim.expires < 1 || *claim.expires > kExpiresMax)
    return std::nullopt;
  if (value_of(query, "X-Amz-Algorithm") != kAlgorithm || !read_credential(value_of(query, "X-Amz-Credential"), claim)) return std::nullopt;
  return claim;
}

// "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…"
std::optional<Claim> claim_in_header(const HttpRequest& request, std::string_view header) {
  if (!header.starts_with(kAlgorithm)) return std::nullopt;
  header.remove_prefix(kAlgorithm.size());
  Claim claim{.time = std::string(request.header("x-amz-date"))};
  bool credential = false;
  for (std::string_view part : split(header, ',')) {
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view name = part.substr(0, equals), value = part.substr(std::min(equals + 1, part.size()));
    if (name == "Credential") credential = read_credential(value, claim);
    else if (name == "SignedHeaders") claim.signed_headers = value;
    else if (name == "Signature") claim.signature = value;
  }
  if (!credential) return std::nullopt;
  return claim;
}

// Seconds since 1970 of "20150830T123600Z".
std::optional<std::int64_t> seconds_of(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = -1;
    const auto end = std::from_chars(&text[at], &text[at] + digits, value).ptr;
    return end == &text[at] + digits ? value : -1;
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)), std::chrono::month(static_cast<unsigned>(number(4, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  const int hour = number(9, 2), minute = number(11, 2), second = number(13, 2);
  if (!day.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;
  return std::chrono::sys_days(day).time_since_epoch().count() * std::int64_t{86'400} + hour * 3600 + minute * 60 + second;
}

std::optional<Refusal> check_time(const Claim& claim, WallTime now) {
  const auto at = seconds_of(claim.time);
  if (!at || !claim.time.starts_with(claim.date))
    return Refusal{"IncompleteSignatureException",
                   "X-Amz-Date '" + claim.time.substr(0, 40) + "' is not a date like 20150830T123600Z, of the credential's day"};
  const std::int64_t is = now.since_epoch.count() / 1'000'000;
  const std::int64_t skew = std::chrono::duration_cast<std::chrono::seconds>(kSkewMax).count();
  if (*at > is + skew) return Refusal{"InvalidSignatureException", "Signature not yet current: " + claim.time + " is in the future"};
  if (claim.expires ? is > *at + *claim.expires : is > *at + skew)
    return Refusal{"InvalidSignatureException", "Signature expired: " + claim.time + " is too long ago; is the clock right?"};
  return std::nullopt;
}

// Host and what is said in X-Amz-… must not be another's words.
std::optional<Refusal> check_signed_headers(const HttpRequest& request, const Claim& claim) {
  const auto names = split(claim.signed_headers, ';');
  const std::set<std::string_view> names_signed(names.begin(), names.end());
  std::set<std::string> wanted{"host"};
  for (const HttpHeader& header : request.headers)
    if (std::string name = lower_case(header.name); name.starts_with("x-amz-")) wanted.insert(std::move(name));
  for (const std::string& name : wanted)
    if (!names_signed.contains(name)) return Refusal{"InvalidSignatureException", "the header '" + name.substr(0, 80) + "' is not signed"};
  return std::nullopt;
}

std::string signature_of(const HttpRequest& request, const Query& query, const Claim& claim, const std::string& payload,
                         const std::string& secret) {
  std::string canonical(name(request.method));
  const bool s3 = claim.service == "s3";                      // which encodes a path once, and leaves "//" and ".." as they are
  canonical += "\n" + (s3 ? percent_encoded(percent_decoded(request.path).value_or(""), "/") : canonical_path(request.path)) + "\n" +
               canonical_query(query) + "\n";
  for (const std::string_view header : split(claim.signed_headers, ';'))
    canonical.append(header).append(":").append(canonical_value(request, header)).append("\n");
  canonical += "\n" + claim.signed_headers + "\n" + payload;
  const std::string scope = claim.date + "/" + claim.region + "/" + claim.service + "/" + claim.terminator;
  const std::string text = std::string(kAlgorithm) + "\n" + claim.time + "\n" + scope + "\n" + os::sha256_hex(canonical);
  return os::hmac_sha256_chain("AWS4" + secret, {claim.date, claim.region, claim.service, claim.terminator, text});
}

}  // namespace

Result<Keys> parse_keys(std::string_view text) {
  Keys keys;
  for (const std::string_view pair : split(text, ' ')) {
    if (pair.empty()) continue;
    const std::size_t colon = pair.find(':');
    const std::string_view id = pair.substr(0, colon);
    if (colon == pair.npos || id.empty() || id.size() > 128 || id.find('/') != id.npos || pair.size() - colon - 1 < 16)
      return fail(Code::invalid_argument, "key " + std::to_string(keys.size() + 1) +
                                              " is not ID:SECRET with a secret of at least 16 characters; write blanks between several");
    if (!keys.emplace(id, pair.substr(colon + 1)).second)
      return fail(Code::invalid_argument, "the key '" + std::string(id) + "' stands there twice: keep one");
  }
  return keys;
}

std::optional<Refusal> check(const HttpRequest& request, const Keys& keys, WallTime now, std::string_view service) {
  const Query query = query_of(request.query);
  const std::string_view header = request.header("authorization");
  const bool presigned = header.empty() && !value_of(query, "X-Amz-Signature").empty();
  if (header.empty() && !presigned)
    return Refusal{"MissingAuthenticationTokenException", "Missing Authentication Token: sign the request with a key of this node"};
  const auto claim = presigned ? claim_in_query(query) : claim_in_header(request, header);
  if (!claim || claim->signature.empty() || claim->signed_headers.empty())
    return Refusal{"IncompleteSignatureException",
                   "the signature is not AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature, and an X-Amz-Date"};
  const auto key = keys.find(claim->key);
  if (key == keys.end()) return Refusal{"UnrecognizedClientException", "The security token included in the request is invalid."};
  if (claim->service != service || claim->terminator != "aws4_request")
    return Refusal{"InvalidSignatureException", "Credential should be scoped to correct service: '" + std::string(service) + "'."};
  if (auto refusal = check_time(*claim, now)) return refusal;
  if (auto refusal = check_signed_headers(request, *claim)) return refusal;
  std::string payload = claim->service != "s3" ? payload_hash(request) : std::string(request.header("x-amz-content-sha256"));
  if (claim->service == "s3" && payload.empty()) payload = presigned ? "UNSIGNED-PAYLOAD" : "";
  const Refusal bad{"InvalidSignatureException",
                    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
                    "signing method."};
  if (const std::string_view said = request.header("x-amz-content-sha256"); !said.empty() && said != payload) return bad;
  const std::string right = signature_of(request, query, *claim, payload, key->second);
  if (right.size() != claim->signature.size() || ::CRYPTO_memcmp(right.data(), claim->signature.data(), right.size()) != 0) return bad;
  return std::nullopt;
}

std::string access_key(const HttpRequest& request) {
  const std::string_view header = request.header("authorization");
  const auto claim = header.empty() ? claim_in_query(query_of(request.query)) : claim_in_header(request, header);
  return claim ? claim->key : std::string();
}

}  // namespace mayfly::gateway::sigv4
