// What a program answers to a call of its function's URL, and what a caller sent as its body: an event that is JSON; a head that ends
// where it says, whose lines are headers; or an error.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "domain/json.h"
#include "worker/url_event.h"

namespace {

void check_answer(const mayfly::worker::UrlResponse& response) {
  const auto answer = mayfly::worker::url_answer(response);
  if (!answer) return;
  const std::string_view head = std::string_view(answer->bytes).substr(0, answer->head_size);
  ASSERT(head.starts_with("HTTP/1.1 ") && head.find("\r\n\r\n") + 4 == head.size(), "a head ends where it says");
  for (std::string_view rest = head.substr(head.find("\r\n") + 2, head.size() - head.find("\r\n") - 4); !rest.empty();) {
    const std::size_t size = rest.find("\r\n");
    ASSERT(size != rest.npos && rest.find(": ") < size, "a line is a header");
    ASSERT(rest.substr(0, size).find_first_of(std::string_view("\r\n\0", 3)) == rest.npos, "a header is a line");
    rest.remove_prefix(size + 2);
  }
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      R"({"statusCode": 200, "headers": {"a": "b", "c": 1}, "cookies": ["a=b"], "body": "YWJj", "isBase64Encoded": true})",
      R"({"statusCode": 201, "body": {"a": [1.50, "x \" y"]}})", R"(["a", 1, null])", R"("text")", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_answer({.text = text, .content_type = {}});
  check_answer({.text = text, .content_type = "text/plain", .streamed = true});
  const std::string prelude = std::string(text) + std::string(8, '\0') + "body";
  check_answer({.text = prelude, .content_type = "application/vnd.awslambda.http-integration-response", .streamed = true});
  check_answer({.text = "x", .content_type = text, .streamed = true});
  for (const char* kind : {"text", "bytes"}) {
    const auto event = mayfly::worker::url_event(text, std::string("Mayfly-Url-Event: {\"a\":1}\r\nMayfly-Url-Body: ") + kind + "\r\n");
    ASSERT(event && nlohmann::json::accept(*event), "an event is JSON");
  }
  static_cast<void>(mayfly::worker::url_event("body", text));
  return 0;
}
