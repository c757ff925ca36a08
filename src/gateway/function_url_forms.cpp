#include "gateway/function_url_forms.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "domain/arn.h"
#include "domain/json.h"

namespace mayfly::gateway {
namespace {

using Json = nlohmann::ordered_json;

// Only loopback is served: whoever calls is on this machine.
constexpr std::string_view kClient = "127.0.0.1";
constexpr std::string_view kHops[] = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer",
                                      "transfer-encoding", "upgrade", "expect"};

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool is_region(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

bool same_id(std::string_view text) { return domain::is_url_id(lower_case(text)); }

void join(Json& object, const std::string& key, std::string_view value, const char* by) {
  if (const auto at = object.find(key); at != object.end()) at->get_ref<std::string&>().append(by).append(value);
  else object[key] = value;
}

// "12/Mar/2020:19:03:58 +0000"
std::string time_text(WallTime time) {
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::chrono::sys_time<std::chrono::microseconds> at{time.since_epoch};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(at - day));
  char text[64];
  std::snprintf(text, sizeof text, "%02u/%s/%04d:%02d:%02d:%02d +0000", static_cast<unsigned>(date.day()),
                kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()));
  return text;
}

Json headers_of(const HttpRequest& request, const UrlCall& call) {
  Json headers = Json::object();
  for (const HttpHeader& header : request.headers) {
    const std::string name = lower_case(header.name);
    if (std::ranges::count(kHops, name) > 0 || name == "content-length") continue;
    if (name == "authorization" && !call.access_key.empty()) continue;  // of the signature: not for the function to use again
    join(headers, name, header.value, name == "cookie" ? "; " : ",");
  }
  if (request.body_size > 0) headers["content-length"] = std::to_string(request.body_size);
  join(headers, "x-forwarded-for", kClient, ", ");
  if (!headers.contains("x-forwarded-proto")) headers["x-forwarded-proto"] = "http";
  if (!headers.contains("x-forwarded-port")) {
    const std::string_view host = request.header("host");
    const std::size_t colon = host.rfind(':');
    headers["x-forwarded-port"] = colon == host.npos ? "80" : std::string(host.substr(colon + 1));
  }
  headers["x-amzn-trace-id"] = call.trace;
  return headers;
}

Json cookies_of(const HttpRequest& request) {
  Json cookies = Json::array();
  for (const HttpHeader& header : request.headers) {
    if (!same_word(header.name, "cookie")) continue;
    for (std::string_view rest = header.value; !rest.empty();) {
      const std::size_t end = std::min(rest.find(';'), rest.size());
      std::string_view one = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      while (one.starts_with(' ')) one.remove_prefix(1);
      while (one.ends_with(' ')) one.remove_suffix(1);
      if (!one.empty()) cookies.push_back(one);
    }
  }
  return cookies;
}

Json query_of(std::string_view query) {
  Json all = Json::object();
  while (const auto pair = take_pair(query)) {
    const auto plain = [](std::string_view text) { return percent_decoded(text, true).value_or(std::string(text)); };
    join(all, plain(pair->first), plain(pair->second), ",");
  }
  return all;
}

// Who signed: of a key of the node nobody knows more than its name.
Json authorizer_of(std::string_view key) {
  return {{"iam", {{"accessKey", key}, {"accountId", domain::kAwsAccount}, {"callerId", key}, {"cognitoIdentity", nullptr},
                   {"principalOrgId", nullptr},
                   {"userArn", "arn:aws:iam::" + std::string(domain::kAwsAccount) + ":user/" + std::string(key)}, {"userId", key}}}};
}

bool is_text(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  const std::string name = lower_case(type);
  constexpr std::string_view kTexts[] = {"application/json", "application/xml", "application/javascript"};
  return name.starts_with("text/") || std::ranges::count(kTexts, name) > 0;
}

bool names(const std::vector<std::string>& list, std::string_view what) { return std::ranges::count(list, what) > 0; }

void add(std::string& lines, std::string_view name, std::string_view value) {
  if (!value.empty()) lines.append(name).append(": ").append(value).append("\r\n");
}

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text.append(text.empty() ? "" : ",").append(one);
  return text;
}

// A list as it is told. With credentials "*" is a name to browsers and no wildcard: then what was asked for stands there.
std::string told(const std::vector<std::string>& list, const domain::Cors& cors, std::string_view asked) {
  return cors.credentials && names(list, "*") ? std::string(asked) : joined(list);
}

// The lines about who may; "" where this origin may not.
std::string origin_lines(const domain::Cors& cors, const HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  const bool any = names(cors.origins, "*");
  if (origin.empty() || (!any && !names(cors.origins, origin))) return {};
  std::string lines;
  add(lines, "Access-Control-Allow-Origin", any && !cors.credentials ? "*" : origin);
  if (cors.credentials) add(lines, "Access-Control-Allow-Credentials", "true");
  add(lines, "Vary", "Origin");
  return lines;
}

}  // namespace

std::string_view url_id_of_host(std::string_view host) {
  constexpr std::string_view kMiddle = ".lambda-url.";
  if (host.size() <= domain::kUrlIdSize + kMiddle.size()) return {};
  const std::string_view id = host.substr(0, domain::kUrlIdSize);
  if (!same_word(host.substr(id.size(), kMiddle.size()), kMiddle) || !same_id(id)) return {};
  std::string rest = lower_case(host.substr(id.size() + kMiddle.size()));
  rest.resize(std::min(rest.find(':'), rest.size()));
  for (const std::string_view end : {".on.aws", ".localhost"})
    if (rest.ends_with(end) && is_region(std::string_view(rest).substr(0, rest.size() - end.size()))) return id;
  return {};
}

std::string url_event_lines(const HttpRequest& request, const UrlCall& call) {
  const std::string_view host = request.header("host");
  const std::string id(call.id);
  const std::string domain = url_id_of_host(host).empty() ? id + ".lambda-url." + std::string(domain::kAwsRegion) + ".on.aws"
                                                          : lower_case(host.substr(0, host.find(':')));
  Json event{{"version", "2.0"}, {"routeKey", "$default"}, {"rawPath", call.path}, {"rawQueryString", request.query}};
  if (Json cookies = cookies_of(request); !cookies.empty()) event["cookies"] = std::move(cookies);
  event["headers"] = headers_of(request, call);
  if (Json query = query_of(request.query); !query.empty()) event["queryStringParameters"] = std::move(query);
  Json context{{"accountId", call.access_key.empty() ? "anonymous" : domain::kAwsAccount}, {"apiId", id}};
  if (!call.access_key.empty()) context["authorizer"] = authorizer_of(call.access_key);
  context.update(Json{{"domainName", domain}, {"domainPrefix", id},
                      {"http", {{"method", request.method_text}, {"path", call.path}, {"protocol", "HTTP/1.1"}, {"sourceIp", kClient},
                                {"userAgent", request.header("user-agent")}}},
                      {"requestId", call.request_id}, {"routeKey", "$default"}, {"stage", "$default"}, {"time", time_text(call.now)},
                      {"timeEpoch", call.now.since_epoch.count() / 1000}});
  event["requestContext"] = std::move(context);
  std::string lines(domain::kUrlEventLine);
  lines.append(": ").append(dump(event)).append("\r\n").append(domain::kUrlBodyLine).append(": ");
  return lines.append(is_text(request.header("content-type")) ? "text" : "bytes").append("\r\n");
}

bool is_preflight(const HttpRequest& request) {
  return request.method == Method::options && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

std::string preflight_lines(const domain::Cors& cors, const HttpRequest& request) {
  std::string lines = origin_lines(cors, request);
  if (lines.empty()) return lines;
  add(lines, "Access-Control-Allow-Methods", told(cors.methods, cors, request.header("access-control-request-method")));
  add(lines, "Access-Control-Allow-Headers", told(cors.headers, cors, request.header("access-control-request-headers")));
  if (cors.max_age > 0) add(lines, "Access-Control-Max-Age", std::to_string(cors.max_age));
  return lines;
}

std::string cors_lines(const domain::Cors& cors, const HttpRequest& request) {
  std::string lines = origin_lines(cors, request);
  if (!lines.empty()) add(lines, "Access-Control-Expose-Headers", joined(cors.exposed));
  return lines;
}

std::string without_cors(std::string_view lines) {
  constexpr std::string_view kOurs = "access-control-";
  std::string kept;
  while (!lines.empty()) {
    const std::size_t size = std::min(lines.find("\r\n"), lines.size() - 2) + 2;
    if (!same_word(lines.substr(0, kOurs.size()), kOurs)) kept.append(lines.substr(0, size));
    lines.remove_prefix(size);
  }
  return kept;
}

HttpReply url_refusal(int status, std::string_view type, std::string_view message) {
  HttpReply reply{.status = status, .body = dump(Json{{"Message", message}})};
  reply.headers.emplace_back("x-amzn-ErrorType", type);
  if (status == 429) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

HttpReply url_refusal(const Error& error, bool early) {
  if (error.code == Code::exhausted) return url_refusal(429, "TooManyRequestsException", "Rate Exceeded.");
  if (error.code == Code::invalid_argument && early) return url_refusal(413, "RequestEntityTooLargeException", error.message);
  if (error.code == Code::invalid_argument) return url_refusal(400, "InvalidRequestContentException", error.message);  // of a model
  HttpReply reply = url_refusal(502, "InternalServerErrorException", "");
  reply.body = "Internal Server Error";                          // no JSON, as there
  return reply;
}

HttpReply url_not_there() {
  HttpReply reply = url_refusal(403, "AccessDeniedException", "");
  reply.body = "{\"Message\":null}";
  return reply;
}

}  // namespace mayfly::gateway
