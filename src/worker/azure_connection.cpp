#include "worker/azure_connection.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/http.h"
#include "os/digest.h"

namespace mayfly::worker {
namespace {

// Of every emulator, and no secret: Azurite's and the older one's own pages have it.
constexpr std::string_view kEmulator = "devstoreaccount1",
    kEmulatorKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
constexpr std::string_view kKnown[] = {"DefaultEndpointsProtocol", "AccountName", "AccountKey", "EndpointSuffix", "BlobEndpoint",
                                       "QueueEndpoint", "SharedAccessSignature", "UseDevelopmentStorage", "DevelopmentStorageProxyUri"};

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

using Parts = std::map<std::string, std::string_view, std::less<>>;  // by the known name

// Parts that nobody here asks for, like TableEndpoint, are passed over, as Azure's clients do.
Result<Parts> parts_of(std::string_view text) {
  Parts parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(';'), text.size());
    const std::string_view part = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    if (equals == part.npos) return wrong("a part of it has no '=': NAME=VALUE is wanted, with ';' between them");
    for (const std::string_view name : kKnown)
      if (same_word(trimmed(part.substr(0, equals)), name)) parts.insert_or_assign(std::string(name), trimmed(part.substr(equals + 1)));
  }
  return parts;
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}
bool is_address_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

// "https://NAME.blob.core.windows.net", "http://127.0.0.1:10000/devstoreaccount1"
Result<AzureEndpoint> endpoint_of(std::string_view url, const std::string& part) {
  AzureEndpoint endpoint;
  const auto malformed = [&] { return wrong(part + " is '" + std::string(url) + "': http://HOST:PORT/… or https://HOST/… is wanted"); };
  std::string_view rest = url;
  if (rest.starts_with("https://")) rest.remove_prefix(8);
  else if (rest.starts_with("http://")) rest.remove_prefix(7), endpoint.tls = false;
  else return malformed();
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view host = rest.substr(0, slash), path = rest.substr(slash);
  endpoint.port = endpoint.tls ? 443 : 80;
  const std::size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == host.npos) return malformed();
  if (const std::size_t colon = host.find(':', bracket); colon != host.npos) {
    const std::string_view digits = host.substr(colon + 1);
    const auto read = std::from_chars(digits.begin(), digits.end(), endpoint.port);
    if (read.ec != std::errc() || read.ptr != digits.end() || endpoint.port == 0) return malformed();
    host = host.substr(0, colon);
  }
  if (bracket > 0) {
    const std::string_view inside = host.substr(1, host.size() - std::min<std::size_t>(2, host.size()));
    if (inside.empty() || host.back() != ']' || !std::ranges::all_of(inside, is_address_character)) return malformed();
    endpoint.host = inside;
  } else {
    if (host.empty() || host.size() > 253 || !std::ranges::all_of(host, is_host_character)) return malformed();
    endpoint.host = host;
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.size() > 256 || !std::ranges::all_of(path, [](char c) { return c == '/' || is_host_character(c); }) ||
      path.find("..") != path.npos)
    return malformed();
  endpoint.prefix = path;
  return endpoint;
}

Result<AzureAccount> emulator(const Parts& parts) {
  AzureAccount account{.name = std::string(kEmulator), .key = os::from_base64(kEmulatorKey).value_or(""), .signature = {}, .blob = {},
                       .queue = {}};
  const auto proxy = parts.find("DevelopmentStorageProxyUri");
  TRY(account.blob, endpoint_of(proxy == parts.end() ? "http://127.0.0.1" : proxy->second, "DevelopmentStorageProxyUri"));
  account.blob.prefix = "/" + account.name;
  account.queue = account.blob;
  account.blob.port = 10000;
  account.queue.port = 10001;
  return account;
}

}  // namespace

std::string address_text(const AzureEndpoint& endpoint) {
  const bool brackets = endpoint.host.find(':') != endpoint.host.npos;
  return (brackets ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(endpoint.port);
}

Result<AzureAccount> parse_connection(std::string_view text) {
  if (text.size() > kConnectionMax) return wrong("it has more than 8 KiB");
  TRY(const Parts parts, parts_of(text));
  const auto part = [&](std::string_view name) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string() : std::string(found->second);
  };
  if (same_word(part("UseDevelopmentStorage"), "true")) return emulator(parts);
  AzureAccount account{.name = part("AccountName"), .key = {}, .signature = part("SharedAccessSignature"), .blob = {}, .queue = {}};
  if (!account.name.empty() && (account.name.size() > 64 || !std::ranges::all_of(account.name, is_host_character)))
    return wrong("AccountName has other characters than letters, digits, '-', '_' and '.', or more than 64");
  if (account.signature.starts_with('?')) account.signature.erase(0, 1);
  if (!account.signature.empty()) {
    if (std::ranges::any_of(account.signature, [](char c) { return c <= ' ' || c >= 127 || c == '#'; }))
      return wrong("SharedAccessSignature is none: it has characters that a URL has not");
  } else {
    const auto key = os::from_base64(part("AccountKey"));
    if (account.name.empty() || !key || key->empty())
      return wrong("it has no AccountName, or no AccountKey that is base64: both are wanted, or a SharedAccessSignature");
    account.key = *key;
  }
  const std::string protocol = part("DefaultEndpointsProtocol").empty() ? "https" : part("DefaultEndpointsProtocol");
  const std::string suffix = part("EndpointSuffix").empty() ? "core.windows.net" : part("EndpointSuffix");
  const auto endpoint = [&](const std::string& service, const std::string& named) -> Result<AzureEndpoint> {
    const std::string said = part(named);
    if (!said.empty()) return endpoint_of(said, named);
    if (account.name.empty()) return AzureEndpoint{};
    return endpoint_of(lower_case(protocol) + "://" + account.name + "." + service + "." + suffix, "DefaultEndpointsProtocol");
  };
  TRY(account.blob, endpoint("blob", "BlobEndpoint"));
  TRY(account.queue, endpoint("queue", "QueueEndpoint"));
  return account;
}

}  // namespace mayfly::worker
