// A call of a function's URL, in the function's sandbox: its event is completed with the request's body before the program gets it,
// and what the program answers is read as AWS Lambda reads it, which gives an HTTP head and a body. Pure; driven by worker/code_loop.h.
//
// An answer is {"statusCode": 200, "headers": {…}, "cookies": […], "body": "…", "isBase64Encoded": false}; any JSON without statusCode is
// the body itself, of status 200 and type application/json, without blanks between its parts, and a text is sent without its quotes.
// That, and that a body which is no text is sent as JSON, is what Lambda does, recorded by others; its pages say less.
//
// Promises: the head is one that the node's strict reader takes (gateway/forward.h) up to its limits; anything else is an error, which
// says what of the answer is wrong. A number is sent as it was written.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::worker {

// `lines`: what came behind the body in the frame (domain/function_url.h). Errors: invalid_argument where the event would be too large.
[[nodiscard]] Result<std::string> url_event(std::string_view body, std::string_view lines);

struct UrlAnswer {
  std::string bytes;               // head and body
  std::size_t head_size = 0;
};
// In place of the program, to whom no such event is given: 413 in Lambda's form.
[[nodiscard]] UrlAnswer url_too_large(const Error& error);

// How the runtime sent it: `content_type` as it said, and whether as a stream: then it is no JSON but the body, behind Lambda's prelude
// where its type says so (application/vnd.awslambda.http-integration-response).
struct UrlResponse {
  std::string_view text, content_type;
  bool streamed = false;
};
[[nodiscard]] Result<UrlAnswer> url_answer(const UrlResponse& response);

}  // namespace mayfly::worker
