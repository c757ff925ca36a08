#include "store/registry.h"

#include <algorithm>

#include "base/http.h"
#include "os/digest.h"

namespace mayfly::store {
namespace {

constexpr int kRedirectsMax = 5;
constexpr Bytes kTokenAnswerMax{64 * 1024};
constexpr const char* kManifests =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

bool is_redirect(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

std::string basic(const Registry& registry) { return "Basic " + os::to_base64(registry.user + ":" + registry.password); }

TakePiece into(std::string& text) {
  return [&text](std::span<const std::byte> bytes) -> Result<void> {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  };
}

bool fits(std::string_view pattern, std::string_view repository) {
  return pattern.ends_with("/*") ? repository.starts_with(pattern.substr(0, pattern.size() - 1)) : repository == pattern;
}

}  // namespace

Result<Registry> find_registry(const Registries& registries, const domain::ImageReference& image) {
  const auto at = registries.find(image.registry);
  if (at == registries.end())
    return fail(Code::permission_denied, "nothing is pulled from '" + image.registry + "': this node's configuration does not name it " +
                                             "(registries: {\"" + image.registry + "\": {}})");
  Registry registry = at->second;
  if (!registry.repositories.empty() &&
      std::ranges::none_of(registry.repositories, [&](const std::string& pattern) { return fits(pattern, image.repository); }))
    return fail(Code::permission_denied, "'" + image.repository + "' is not among what this node may pull from '" + image.registry +
                                             "' (registries: repositories)");
  if (registry.endpoint.empty()) registry.endpoint = "https://" + image.registry;
  return registry;
}

RegistryClient::RegistryClient(const Registry& registry, const domain::ImageReference& image, Instant until, const std::atomic<bool>& stop)
    : registry_(registry), image_(image), until_(until), stop_(stop) {}

Result<void> RegistryClient::open() {
  TRY(endpoint_, parse_endpoint(registry_.endpoint));
  return {};
}

std::unexpected<Error> RegistryClient::failed(const Error& error) const {
  return fail(error.code, "the registry '" + image_.registry + "': " + error.message);
}

// By the distribution spec's codes, else by the status.
std::unexpected<Error> RegistryClient::refused(const os::HttpGot& got, const std::string& what) const {
  const Refusal refusal = parse_refusal(got.status, got.refusal);
  const std::string says = " (the registry '" + image_.registry + "' says " + refusal.text + ")";
  if (got.status == 401 || got.status == 403)
    return fail(Code::permission_denied, what + " was refused to this node" + says + ": " +
                                             (registry_.user.empty() ? "no login is configured for it (registries: login)"
                                                                     : "its login is wrong, or may not pull it"));
  if (got.status == 404 && refusal.code == "NAME_UNKNOWN")
    return fail(Code::invalid_argument, "there is no '" + image_.repository + "' in the registry" + says);
  if (got.status == 404) return fail(Code::invalid_argument, what + " is not there" + says);
  if (got.status == 429 || got.status >= 500) return fail(Code::unavailable, what + " can't be had now" + says);
  return fail(Code::invalid_argument, what + " was not given" + says);
}

Result<os::HttpGot> RegistryClient::ask(const Place& place, const Wanted& wanted, const TakePiece& take, const std::string& authorization) {
  std::string head = "Host: " + place.endpoint.authority + "\r\nAccept: " + wanted.accept + "\r\nUser-Agent: mayfly\r\n";
  if (!authorization.empty()) head += "Authorization: " + authorization + "\r\n";
  return os::http_get({.tls = place.endpoint.tls, .host = place.endpoint.host, .port = place.endpoint.port, .target = place.target,
                       .head = std::move(head), .size_max = wanted.size_max, .time_max = std::chrono::hours(1), .until = until_,
                       .stop = &stop_},
                      take);
}

Result<std::string> RegistryClient::fetch_token(const Challenge& challenge) {
  const auto parameter = [&](const char* name) {
    const auto at = challenge.parameters.find(name);
    return at == challenge.parameters.end() ? std::string() : at->second;
  };
  TRY(Place place, parse_place(parameter("realm"), endpoint_));
  const auto configured = registry_.tokens.empty() ? Result<Endpoint>(endpoint_) : parse_endpoint(registry_.tokens);
  if (!same_endpoint(place.endpoint, endpoint_) && !(configured && same_endpoint(place.endpoint, *configured)))
    return fail(Code::permission_denied, "it sends for a token to " + std::string(place.endpoint.tls ? "https://" : "http://") +
                                             place.endpoint.authority + ", where this node may not ask (registries: tokens)");
  // What this node is to do, and no more than that, whatever scope the challenge names.
  const std::string scope = "repository:" + image_.repository + ":pull";
  place.target += (place.target.find('?') == std::string::npos ? "?" : "&") + ("scope=" + percent_encoded(scope));
  if (const std::string service = parameter("service"); !service.empty()) place.target += "&service=" + percent_encoded(service);
  std::string text;
  TRY(const os::HttpGot got, ask(place, {.target = {}, .accept = "application/json", .size_max = kTokenAnswerMax}, into(text),
                                 registry_.user.empty() ? "" : basic(registry_)));
  if (got.status != 200) return refused(got, "a token for " + image_.repository);
  return parse_token(text);
}

Result<bool> RegistryClient::answer_challenge(const os::HttpGot& got) {
  const bool had = !authorization_.empty();
  bool asks_basic = false;
  for (const std::string& header : got.headers("www-authenticate"))
    for (const Challenge& challenge : parse_challenges(header)) {
      if (challenge.scheme == "bearer") {
        TRY(const std::string token, fetch_token(challenge));
        authorization_ = "Bearer " + token;
        return true;
      }
      asks_basic |= challenge.scheme == "basic";
    }
  if (!asks_basic || registry_.user.empty() || had) return false;
  authorization_ = basic(registry_);
  return true;
}

Result<os::HttpGot> RegistryClient::ask_registry(const Wanted& wanted, const TakePiece& take) {
  const Place place{.endpoint = endpoint_, .target = wanted.target};
  auto got = ask(place, wanted, take, authorization_);
  if (!got || got->status != 401) return got;
  TRY(const bool again, answer_challenge(*got));
  return again ? ask(place, wanted, take, authorization_) : got;
}

Result<RegistryClient::Document> RegistryClient::manifest(const std::string& name) {
  const std::string what = "the image " + image_.repository + (name.starts_with("sha256:") ? "@" : ":") + name;
  Document document;
  const auto got = ask_registry({.target = "/v2/" + image_.repository + "/manifests/" + name, .accept = kManifests,
                                 .size_max = {domain::kImageTextMax}},
                                into(document.text));
  if (!got && got.error().code == Code::invalid_argument)
    return fail(got.error().code, "the manifest of the image: " + got.error().message);
  if (!got) return failed(got.error());
  if (got->status != 200) return refused(*got, what);
  document.sha256 = os::sha256_hex(document.text);
  std::string said = got->header("docker-content-digest");
  if (name.starts_with("sha256:")) said = name;
  constexpr std::string_view kKind = "sha256:";
  if (said.starts_with(kKind))
    TRY_VOID(domain::check_digest(document.sha256, std::string_view(said).substr(kKind.size()), "the manifest"));
  const std::string type = got->header("content-type");
  document.type = type.substr(0, type.find_first_of("; "));
  return document;
}

Result<Place> RegistryClient::follow(const os::HttpGot& got, const Place& from, const std::string& what) const {
  const auto place = parse_place(got.header("location"), from.endpoint);
  const std::string who = what + ": the registry '" + image_.registry + "' ";
  if (!place) return fail(place.error().code, who + "sends elsewhere, and " + place.error().message);
  bool known = same_endpoint(place->endpoint, endpoint_);
  for (const std::string& each : registry_.redirects)
    if (const auto endpoint = parse_endpoint(each)) known |= same_endpoint(place->endpoint, *endpoint);
  if (known) return place;
  return fail(Code::permission_denied, who + "sends to " + (place->endpoint.tls ? "https://" : "http://") + place->endpoint.authority +
                                           ", where this node may not fetch (registries: redirects)");
}

Result<void> RegistryClient::blob(const domain::Descriptor& blob, const std::string& what, const TakePiece& take) {
  std::uint64_t size = 0;
  const TakePiece counted = [&](std::span<const std::byte> bytes) {
    size += bytes.size();
    return take(bytes);
  };
  const Wanted wanted{.target = "/v2/" + image_.repository + "/blobs/sha256:" + blob.sha256, .accept = "*/*", .size_max = {blob.size}};
  auto got = ask_registry(wanted, counted);
  Place place{.endpoint = endpoint_, .target = wanted.target};
  for (int i = 0; got && is_redirect(got->status); ++i) {
    if (i == kRedirectsMax)
      return fail(Code::invalid_argument, what + ": the registry '" + image_.registry + "' sends elsewhere more than " +
                                              std::to_string(kRedirectsMax) + " times");
    TRY(place, follow(*got, place, what));
    got = ask(place, wanted, counted, same_endpoint(place.endpoint, endpoint_) ? authorization_ : "");
  }
  if (!got && got.error().code == Code::invalid_argument) return fail(got.error().code, what + " of the image: " + got.error().message);
  if (!got) return failed(got.error());
  if (got->status != 200) return refused(*got, what);
  return domain::check_size(size, blob, what);
}

}  // namespace mayfly::store
