// Objects of the one S3-compatible store that the node's configuration names: fetched by a GET that is signed with the configuration's
// keys (Signature Version 4, "Authenticating Requests: Using the Authorization Header", Amazon S3's API reference). Nothing else is ever
// asked, whatever bucket and key a user names: those are checked and encoded, and the endpoint is the configuration's. Blocks.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"

namespace mayfly::store {

struct Endpoint {
  bool tls = false;
  std::string host;                       // without brackets
  std::uint16_t port = 80;
  std::string authority;                  // as Host says it: without the scheme's own port
};
// "http://HOST[:PORT]" or "https://…".
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view url);

struct ObjectStore {
  std::string endpoint;                   // "": none is configured
  std::string region = "us-east-1";
  bool path_style = true;                 // http://HOST/BUCKET/KEY; else http://BUCKET.HOST/KEY
  std::string key_id, secret;             // "": requests are not signed
  std::vector<std::string> buckets;       // which may be read; none: all that the keys may
  Bytes size_max = 1_GiB;
};

// A signed request: what follows the request's first line.
struct SignedGet {
  std::string method = "GET", path, query, host;  // the path and the query encoded
};
[[nodiscard]] std::string signed_head(const SignedGet& get, const ObjectStore& store, WallTime now);

using TakePiece = std::function<Result<void>(std::span<const std::byte>)>;
// invalid_argument: no such bucket or key may be asked for; not_found, permission_denied: the store says so.
[[nodiscard]] Result<void> fetch_object(const ObjectStore& store, const std::string& bucket, const std::string& key,
                                        const std::string& version, WallTime now, const std::atomic<bool>& stop, const TakePiece& take);

}  // namespace mayfly::store
