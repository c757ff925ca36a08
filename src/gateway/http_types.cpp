#include "gateway/http_types.h"

#include <algorithm>

#include "domain/json.h"
#include "domain/printed.h"

namespace mayfly::gateway {

std::string_view HttpRequest::header(std::string_view wanted) const {
  for (const HttpHeader& header : headers)
    if (same_word(header.name, wanted)) return header.value;
  return {};
}

std::optional<std::string> HttpRequest::query_value(std::string_view wanted) const {
  for (std::string_view rest = query; const auto pair = take_pair(rest);)
    if (percent_decoded(pair->first, true) == wanted) return percent_decoded(pair->second, true);
  return std::nullopt;
}

int http_status(Code code) {
  switch (code) {
    case Code::invalid_argument: return 400;
    case Code::unauthenticated: return 401;
    case Code::permission_denied: return 403;
    case Code::not_found: return 404;
    case Code::conflict: return 409;
    case Code::exhausted: return 429;
    case Code::cancelled: return 499;
    case Code::deadline_exceeded: return 504;
    case Code::unavailable: return 503;
    case Code::unimplemented: return 501;
    case Code::data_loss:
    case Code::internal: return 500;
  }
  return 500;
}

HttpReply error_reply(const Error& error, std::string_view log) {
  constexpr std::size_t kBytesMax = 2048, kLinesMax = 10;
  nlohmann::ordered_json body = {{"error", {{"code", name(error.code)}, {"message", error.message}}}};
  if (!log.empty()) {
    nlohmann::ordered_json lines = nlohmann::ordered_json::array();
    for (std::string_view rest = domain::last_lines(log, kBytesMax); !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      lines.push_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (lines.size() > kLinesMax) lines.erase(lines.begin(), lines.end() - kLinesMax);
    body["error"]["details"]["log"] = std::move(lines);
  }
  HttpReply reply{.status = http_status(error.code), .body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
  if (reply.status == 429 || reply.status == 503) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

}  // namespace mayfly::gateway
