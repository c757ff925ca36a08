// HTTP from a caller to a function's program and back, as a proxy passes it on (RFC 9110, 7.6; Knative's runtime contract): heads as
// text, hop-by-hop headers left out, Host kept, Forwarded and X-Forwarded-… said. Pure. The connection to the program is not
// here but in its sandbox (worker/http_forward.h); what comes from there is distrusted and read strictly.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gateway/http_types.h"

namespace mayfly::gateway {

// Request line and headers with the empty line, and the true Content-Length. target: the path below the function, as sent.
[[nodiscard]] std::string forward_head(const HttpRequest& request, std::string_view target, std::string_view request_id);

// Puts `head` before the request's body and `tail` behind it: in `body` where all fits a frame, else in a sealed memfd.
[[nodiscard]] Result<void> put_around_body(std::string_view head, std::string_view tail, HttpRequest& request);

struct AnswerHead {
  int status = 0;
  std::optional<std::uint64_t> length;  // of the body, where it says so
  std::string lines;         // end-to-end headers, each with CR LF; without those that this server writes itself
};
// Status line and headers with the empty line, as a sandbox wrote them. Error: internal, with what is wrong.
[[nodiscard]] Result<AnswerHead> read_answer_head(std::string_view head);

}  // namespace mayfly::gateway
