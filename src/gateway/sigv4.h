// AWS Signature Version 4 of a request, as its SDKs make it: in the Authorization header, or in the query of a presigned URL.
// Pure: told the keys and the time. The signature holds for method, path, query, signed headers and the body's hash; Host and every
// X-Amz-… header must be signed. Signatures are compared in constant time. The body is hashed once, on the caller's thread.
// Of the service s3 the path is taken as sent and the body's hash as the request says it: whoever reads the body compares.
// Keys of a session (X-Amz-Security-Token) are not known here. The algorithm: "Signature Version 4 signing process", AWS's IAM guide.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "gateway/http_types.h"

namespace mayfly::gateway::sigv4 {

using Keys = std::map<std::string, std::string, std::less<>>;  // secrets by access key id

constexpr Duration kSkewMax = std::chrono::minutes(5);        // between the caller's clock and this one
constexpr int kExpiresMax = 7 * 24 * 3600;                    // seconds that a presigned URL may say

// "ID:SECRET", several with blanks between. Errors name no secret.
[[nodiscard]] Result<Keys> parse_keys(std::string_view text);

struct Refusal {
  const char* type;                                           // of AWS's errors; all are 403
  std::string message;
};
// Nothing: it is signed by one of the keys, for this service, now.
[[nodiscard]] std::optional<Refusal> check(const HttpRequest& request, const Keys& keys, WallTime now, std::string_view service = "lambda");

// The id of the key that a request says it is signed by: to be asked of one that was checked.
[[nodiscard]] std::string access_key(const HttpRequest& request);

}  // namespace mayfly::gateway::sigv4
