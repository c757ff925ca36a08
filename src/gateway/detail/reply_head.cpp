#include "gateway/detail/reply_head.h"

#include <ctime>

#include "os/clock.h"

namespace mayfly::gateway::detail {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 418: return "I'm a Teapot";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

void ReplyHead::begin(Instant now, int status) {
  if (now >= date_until_) {
    const std::time_t wall = std::chrono::duration_cast<std::chrono::seconds>(os::wall_now().since_epoch).count();
    std::tm utc{};
    ::gmtime_r(&wall, &utc);
    char text[64];
    date_.assign(text, std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc));
    ok_ = "HTTP/1.1 200 OK\r\n" + date_;
    date_until_ = now + std::chrono::milliseconds(500);
  }
  if (status == 200) {
    buffer_ = ok_;
    return;
  }
  buffer_ = "HTTP/1.1 ";
  buffer_.append(std::to_string(status)).append(" ").append(reason_phrase(status)).append("\r\n").append(date_);
}

void ReplyHead::add_length(std::uint64_t length) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, length).ptr;
  add("Content-Length", {digits, static_cast<std::size_t>(end - digits)});
}

}  // namespace mayfly::gateway::detail
