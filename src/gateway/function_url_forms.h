// What stands around a call of a function's URL (domain/function_url.h): which Host means one, the event that is made of a request
// (payload format 2.0 of AWS Lambda), the headers of CORS, and refusals in Lambda's words. Pure; driven by function_url.h.
//
// An event says of a request what Lambda's says: the path below the URL and the query as they were sent, headers with names in lower
// case, those that came twice joined by commas, cookies apart (and in headers, where Lambda's own adapters expect either). Bodies are
// text for text/*, JSON, XML and JavaScript, and in base64 for all else, a form's and those without a type among them.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "domain/function_url.h"
#include "gateway/http_types.h"

namespace mayfly::gateway {

// The ID in ID.lambda-url.REGION.on.aws or ID.lambda-url.REGION.localhost, whatever its case, with or without a port; "" in any other.
[[nodiscard]] std::string_view url_id_of_host(std::string_view host);

struct UrlCall {
  std::string_view id;                 // of the URL
  std::string_view path;               // below it, as it was sent
  std::string_view request_id;
  std::string_view trace;              // as it is told to the function
  std::string_view access_key;         // that signed it; "": nobody did
  WallTime now;
};
// Lines that go behind the body in a frame.
[[nodiscard]] std::string url_event_lines(const HttpRequest& request, const UrlCall& call);

[[nodiscard]] bool is_preflight(const HttpRequest& request);
// Headers as lines, "" where this origin may not, or none is told.
[[nodiscard]] std::string preflight_lines(const domain::Cors& cors, const HttpRequest& request);
[[nodiscard]] std::string cors_lines(const domain::Cors& cors, const HttpRequest& request);
// Of an answer's headers, as lines, those that are not about CORS.
[[nodiscard]] std::string without_cors(std::string_view lines);

// What the function did not answer itself. `early`: it was not asked.
[[nodiscard]] HttpReply url_refusal(const Error& error, bool early);
[[nodiscard]] HttpReply url_refusal(int status, std::string_view type, std::string_view message);
[[nodiscard]] HttpReply url_not_there();

}  // namespace mayfly::gateway
