#include "worker/url_event.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/http.h"
#include "domain/function_url.h"
#include "domain/json.h"
#include "os/digest.h"
#include "worker/lambda_stream.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kIntegration = "application/vnd.awslambda.http-integration-response";
constexpr std::size_t kHeadMax = 64 * 1024;            // of the node's reader
const std::string kPreludeEnd(8, '\0');

std::unexpected<Error> wrong(const std::string& what) {
  return fail(Code::internal, "the function's answer is no HTTP answer: " + what);
}

std::string_view value_of(std::string_view lines, std::string_view name) {
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find("\r\n"), lines.size());
    const std::string_view line = lines.substr(0, end);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(": ")) return line.substr(name.size() + 2);
    lines.remove_prefix(std::min(end + 2, lines.size()));
  }
  return {};
}

// With its quotes; nothing where it is no UTF-8.
std::optional<std::string> json_text(std::string_view text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

// Of a text that is JSON: the same without blanks between its parts.
std::string packed(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (bool quoted = false, escaped = false; const char c : json) {
    if (!quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) continue;
    if (c == '"' && !escaped) quoted = !quoted;
    escaped = quoted && c == '\\' && !escaped;
    out += c;
  }
  return out;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<void> add_line(std::string& head, const std::string& name, const Json& value) {
  if (value.is_null()) return {};
  const std::string text = value.is_string() ? value.get<std::string>() : dump(value);
  if (value.is_structured() || !is_header_name(name) || !is_header_value(text))
    return wrong("its header '" + name.substr(0, 40) + "' can't be sent");
  head.append(name).append(": ").append(text).append("\r\n");
  return {};
}

// null where it is absent.
const Json& member(const Json& json, const char* name) {
  static const Json kNone;
  const auto at = json.find(name);
  return at == json.end() ? kNone : *at;
}

// Of what has "statusCode", "headers" and "cookies".
Result<std::string> head_of(const Json& json) {
  const Json& status = member(json, "statusCode");
  if (!status.is_number_integer() || status < 200 || status > 599)
    return wrong("its statusCode is " + dump(status).substr(0, 40) + ", and no whole number of 200 to 599");
  std::string head = "HTTP/1.1 " + std::to_string(status.get<int>()) + " \r\n";
  bool typed = false;
  if (const Json& headers = member(json, "headers"); headers.is_object()) {
    for (const auto& [name, value] : headers.items()) {
      typed = typed || (same_word(name, "content-type") && !value.is_null());
      TRY_VOID(add_line(head, name, value));
    }
  } else if (!headers.is_null()) {
    return wrong("its headers are no object");
  }
  if (const Json& cookies = member(json, "cookies"); cookies.is_array()) {
    for (const Json& cookie : cookies) {
      if (!cookie.is_string()) return wrong("one of its cookies is no text");
      TRY_VOID(add_line(head, "Set-Cookie", cookie));
    }
  } else if (!cookies.is_null()) {
    return wrong("its cookies are no list");
  }
  if (!typed) head.append("Content-Type: application/json\r\n");
  head += "\r\n";
  if (head.size() > kHeadMax) return wrong("its headers have more than 64 KiB");
  return head;
}

Result<std::string> body_of(const Json& json) {
  const Json& encoded = member(json, "isBase64Encoded");
  if (!encoded.is_boolean() && !encoded.is_null()) return wrong("its isBase64Encoded is neither true nor false");
  const Json& body = member(json, "body");
  if (encoded == true && !body.is_string() && !body.is_null()) return wrong("isBase64Encoded is true, and its body is no text");
  if (body.is_null()) return std::string();
  if (!body.is_string()) return dump(body);
  const std::string& text = body.get_ref<const std::string&>();
  if (encoded != true) return text;
  auto bytes = os::from_base64(text);
  if (!bytes) return wrong("isBase64Encoded is true, and its body is no base64");
  return *std::move(bytes);
}

UrlAnswer joined(std::string head, std::string_view body) {
  const std::size_t size = head.size();
  return {std::move(head.append(body)), size};
}

UrlAnswer plain(std::string_view body) { return joined("HTTP/1.1 200 \r\nContent-Type: application/json\r\n\r\n", body); }

Result<UrlAnswer> of_stream(const UrlResponse& response) {
  if (response.content_type != kIntegration) {
    const bool sound = !response.content_type.empty() && is_header_value(response.content_type);
    return joined("HTTP/1.1 200 \r\nContent-Type: " + std::string(sound ? response.content_type : "application/octet-stream") + "\r\n\r\n",
                  response.text);
  }
  const std::size_t end = response.text.substr(0, kHeadMax).find(kPreludeEnd);
  if (end == response.text.npos) return wrong("its prelude does not end");
  auto head = head_of_prelude(response.text.substr(0, end));
  if (!head) return wrong(head.error().message);
  return joined(std::move(*head), response.text.substr(end + kPreludeEnd.size()));
}

}  // namespace

Result<std::string> url_event(std::string_view body, std::string_view lines) {
  std::string event(value_of(lines, domain::kUrlEventLine));
  if (event.size() < 2 || event.back() != '}') return fail(Code::internal, "a call by a URL without its event");
  event.pop_back();
  std::optional<std::string> text;
  if (value_of(lines, domain::kUrlBodyLine) == "text" && !body.empty()) text = json_text(body);
  const bool encoded = !body.empty() && !text;
  if (text) event.append(",\"body\":").append(*text);
  else if (encoded) event.append(",\"body\":\"").append(os::to_base64(body)).append("\"");
  event.append(",\"isBase64Encoded\":").append(encoded ? "true" : "false").append("}");
  if (event.size() > domain::kUrlEventMax)
    return fail(Code::invalid_argument, "the request makes an event of " + std::to_string(event.size()) + " bytes; at most " +
                                            std::to_string(domain::kUrlEventMax) + " are taken");
  return event;
}

UrlAnswer url_too_large(const Error& error) {
  return joined("HTTP/1.1 413 \r\nContent-Type: application/json\r\nx-amzn-ErrorType: RequestEntityTooLargeException\r\n\r\n",
                dump({{"Message", error.message}}));
}

Result<UrlAnswer> url_answer(const UrlResponse& response) {
  if (response.streamed) return of_stream(response);
  const Json json = domain::parse_json<Json>(response.text);
  if (json.is_discarded()) return wrong("it is no JSON");
  if (json.is_string()) return plain(json.get_ref<const std::string&>());
  if (!json.is_object() || !json.contains("statusCode")) return plain(packed(response.text));
  TRY(std::string head, head_of(json));
  TRY(const std::string body, body_of(json));
  return joined(std::move(head), body);
}

}  // namespace mayfly::worker
