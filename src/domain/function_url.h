// A URL of a function, as AWS Lambda has them: whatever HTTP request comes to it is an event of the function (payload format 2.0), and
// what the function answers is read as an HTTP answer. Kept as a setting of the function (domain/settings.h) in the words of Lambda's
// FunctionUrlConfig, with its ID; found by that through control/control.h. Pure. gateway/function_url.h takes the requests,
// worker/url_event.h completes the event and reads the answer, in the sandbox.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "domain/function.h"

namespace mayfly::domain {

constexpr std::string_view kUrl = "aws.url";               // key: "" or an alias; a JSON object {"id", "AuthType", "Cors", …}
constexpr std::size_t kUrlIdSize = 32;                     // of a-z and 0-9
constexpr std::uint64_t kUrlEventMax = 6 * 1024 * 1024;    // bytes of an event: AWS's own limit

// What of a call by URL goes behind its body (domain/frame.h), each once: the event, a JSON object on one line without "body" and
// "isBase64Encoded", and what the body's type says of it: "text", or "bytes" where it is to be in base64.
constexpr std::string_view kUrlEventLine = "Mayfly-Url-Event", kUrlBodyLine = "Mayfly-Url-Body";

// Who may call from pages of other origins (the Fetch standard's CORS), answered by the node.
struct Cors {
  std::vector<std::string> origins, methods, headers, exposed;  // "*" among them: any
  bool credentials = false;
  int max_age = 0;                                         // seconds; 0: nothing is said
  friend bool operator==(const Cors&, const Cors&) = default;
};

struct FunctionUrl {
  std::string id;
  std::string function, qualifier;                         // "": the alias "live", as of any call
  bool signs = false;                                      // AuthType AWS_IAM: who calls must sign
  bool streams = false;                                    // InvokeMode RESPONSE_STREAM: what the function streams is sent as it comes
  std::optional<Cors> cors;
  friend bool operator==(const FunctionUrl&, const FunctionUrl&) = default;
};

[[nodiscard]] std::string make_url_id(Random& random);
[[nodiscard]] bool is_url_id(std::string_view text);
// Those of a function that have an ID.
[[nodiscard]] std::vector<FunctionUrl> urls_of(const Function& function);

}  // namespace mayfly::domain
