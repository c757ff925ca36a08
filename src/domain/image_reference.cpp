#include "domain/image_reference.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"
#include "base/http.h"
#include "domain/detail/text.h"

namespace mayfly::domain {
namespace {

constexpr std::size_t kTextMax = 1024, kHostMax = 253, kRepositoryMax = 255, kTagMax = 128;   // as the distribution spec and DNS have them

bool is_lower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_word(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*: distribution spec, "Pulling manifests".
bool is_component(std::string_view text) {
  if (text.empty() || !is_lower(text.front()) || !is_lower(text.back())) return false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && !is_lower(text[i])) ++i;
    const std::string_view between = text.substr(begin, i - begin);
    const bool one = between.empty() || between == "." || between == "_" || between == "__";
    if (!one && between.find_first_not_of('-') != between.npos) return false;
    while (i < text.size() && is_lower(text[i])) ++i;
  }
  return true;
}

bool is_repository(std::string_view text) {
  if (text.size() > kRepositoryMax) return false;
  for (;;) {
    const std::size_t slash = text.find('/');
    if (!is_component(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= kTagMax && is_word(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

}  // namespace

bool is_registry_host(std::string_view text) {
  const bool address = text.starts_with('[');
  const std::size_t end = address ? text.find(']') : std::min(text.find(':'), text.size());
  if (end == text.npos) return false;
  const std::string_view host = text.substr(address ? 1 : 0, end - (address ? 1 : 0)), port = text.substr(end + (address ? 1 : 0));
  if (host.empty() || host.size() > kHostMax || (!port.empty() && (!port.starts_with(':') || !is_port(port.substr(1))))) return false;
  if (address) return host.find_first_not_of("0123456789abcdefABCDEF:.") == host.npos;
  const auto fits = [](char c) { return (is_word(c) && c != '_') || c == '.' || c == '-'; };
  if (!std::ranges::all_of(host, fits) || host.front() == '-' || host.front() == '.' || host.find("..") != host.npos) return false;
  return host.find('.') != host.npos || !port.empty() || host == "localhost";   // else it is the first part of a name
}

std::string ImageReference::text() const {
  return registry + "/" + repository + (tag.empty() ? "" : ":" + tag) + (digest.empty() ? "" : "@sha256:" + digest);
}

std::string ImageReference::resolved(std::string_view sha256) const {
  return registry + "/" + repository + "@sha256:" + std::string(sha256);
}

Result<ImageReference> parse_image_reference(std::string_view text) {
  const std::string_view whole = text;
  const auto wrong = [&](const std::string& why) {
    return fail(Code::invalid_argument, in_quotes(whole) + " is not the name of an image: " + why +
                                            "; write HOST[:PORT]/NAME[:TAG], or …@sha256:DIGEST");
  };
  if (text.size() > kTextMax) return wrong("it has more than 1024 bytes");
  if (text.starts_with(kPullPrefix)) text.remove_prefix(kPullPrefix.size());
  ImageReference made;
  const std::size_t slash = text.find('/');
  if (slash == text.npos || !is_registry_host(text.substr(0, slash))) return wrong("it names no registry");
  made.registry = lower_case(text.substr(0, slash));
  text.remove_prefix(slash + 1);
  if (const std::size_t at = text.find('@'); at != text.npos) {
    constexpr std::string_view kKind = "sha256:";
    const std::string_view digest = text.substr(at + 1);
    if (!digest.starts_with(kKind) || !is_sha256(digest.substr(kKind.size())))
      return wrong("the digest behind '@' is no sha256: with 64 lower-case hex digits");
    made.digest = digest.substr(kKind.size());
    text = text.substr(0, at);
  }
  if (const std::size_t colon = text.find(':'); colon != text.npos) {
    if (!is_tag(text.substr(colon + 1)))
      return wrong("its tag is 1 to 128 letters, digits, '_', '.' and '-', and begins with none of '.' and '-'");
    made.tag = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  if (!is_repository(text))
    return wrong("the name behind the registry is lower-case letters and digits, with single '.', '_', '-' and '/' between");
  made.repository = text;
  if (made.registry == "docker.io" && made.repository.find('/') == made.repository.npos) made.repository.insert(0, "library/");
  if (made.tag.empty() && made.digest.empty()) made.tag = "latest";
  return made;
}

}  // namespace mayfly::domain
