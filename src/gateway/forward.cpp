#include "gateway/forward.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "base/http.h"
#include "domain/frame.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

constexpr std::size_t kAnswerHeadMax = 64 * 1024 + 64;
constexpr std::string_view kHops[] = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
                                      "trailer", "transfer-encoding", "upgrade", "expect", "content-length"};

bool is_hop(std::string_view name) {
  return std::ranges::any_of(kHops, [&](std::string_view hop) { return same_word(hop, name); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether a list like Connection's names the word.
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    if (same_word(trimmed(list.substr(0, end)), word)) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

void add(std::string& out, std::string_view name, std::string_view value) { out.append(name).append(": ").append(value).append("\r\n"); }

std::unexpected<Error> unreadable(const std::string& what) {
  return fail(Code::internal, "the function's answer is not valid HTTP/1.1: " + what);
}

// What this server says of every answer.
bool is_ours(std::string_view name) {
  return is_hop(name) || same_word(name, "date") || same_word(name, "x-request-id") || same_word(name, "x-mayfly-version") ||
         same_word(name, "x-mayfly-cold");
}

}  // namespace

std::string forward_head(const HttpRequest& request, std::string_view target, std::string_view request_id) {
  // Only loopback is served: whoever calls is on this machine, a reverse proxy perhaps, and what that says of its client is kept.
  constexpr std::string_view kClient = "127.0.0.1";
  std::string_view host, connection, forwarded, forwarded_for, forwarded_proto;
  for (const HttpHeader& header : request.headers) {
    if (same_word(header.name, "host")) host = header.value;
    else if (same_word(header.name, "connection")) connection = header.value;
    else if (same_word(header.name, "forwarded")) forwarded = header.value;
    else if (same_word(header.name, "x-forwarded-for")) forwarded_for = header.value;
    else if (same_word(header.name, "x-forwarded-proto")) forwarded_proto = header.value;
  }
  if (host.empty()) host = "localhost";
  if (forwarded_proto.empty()) forwarded_proto = "http";
  std::string head;
  head.reserve(512);
  head.append(request.method_text).append(" ").append(target);
  if (!request.query.empty()) head.append("?").append(request.query);
  head.append(" HTTP/1.1\r\n");
  add(head, "Host", host);
  for (const HttpHeader& header : request.headers) {
    const bool said_below = same_word(header.name, "host") || same_word(header.name, "forwarded") ||
                            same_word(header.name, "x-forwarded-for") || same_word(header.name, "x-forwarded-proto") ||
                            same_word(header.name, "x-request-id");
    if (!said_below && !is_hop(header.name) && !lists(connection, header.name)) add(head, header.name, header.value);
  }
  std::string hops(forwarded);
  hops.append(hops.empty() ? "" : ", ").append("for=").append(kClient);
  hops.append(";host=\"").append(host).append("\";proto=").append(forwarded_proto);
  add(head, "Forwarded", hops);
  add(head, "X-Forwarded-For", forwarded_for.empty() ? std::string(kClient) : std::string(forwarded_for) + ", " + std::string(kClient));
  add(head, "X-Forwarded-Proto", forwarded_proto);
  add(head, "X-Request-Id", request_id);
  const bool usual = request.method == Method::get || request.method == Method::head || request.method == Method::options ||
                     request.method == Method::delete_;
  if (request.body_size > 0 || !usual) add(head, "Content-Length", std::to_string(request.body_size));
  return head + "\r\n";
}

Result<void> put_around_body(std::string_view head, std::string_view tail, HttpRequest& request) {
  const std::uint64_t total = head.size() + request.body_size + tail.size();
  if (!request.body_memfd && total <= domain::kInlineMax) {
    request.body.insert(0, head).append(tail);
  } else {
    TRY(os::Fd file, os::make_memfd("mayfly-body", 0));
    TRY_VOID(os::append(file.get(), head));
    if (request.body_memfd) {
      TRY(const os::Mapping body, os::map_file(request.body_memfd.get(), request.body_size, os::Access::read));
      TRY_VOID(os::append(file.get(), body.text()));
    } else {
      TRY_VOID(os::append(file.get(), request.body));
    }
    TRY_VOID(os::append(file.get(), tail));
    TRY_VOID(os::seal(file));
    request.body.clear();
    request.body_memfd = std::move(file);
  }
  request.body_size = total;
  return {};
}

Result<AnswerHead> read_answer_head(std::string_view head) {
  if (head.size() > kAnswerHeadMax) return unreadable("its head has more than 64 KiB");
  if (!head.ends_with("\r\n\r\n") || !head.starts_with("HTTP/1.") || head.size() < 16) return unreadable("it has no head");
  head.remove_suffix(2);
  AnswerHead answer;
  const auto [end, error] = std::from_chars(head.data() + 9, head.data() + 12, answer.status);
  if (error != std::errc() || end != head.data() + 12 || answer.status < 200 || answer.status > 599)
    return unreadable("its status is '" + std::string(head.substr(9, 3)) + "'");
  std::vector<HttpHeader> headers;
  std::string_view connection;
  bool coded = false;
  for (std::string_view rest = head.substr(head.find("\r\n") + 2); !rest.empty();) {
    const std::size_t size = rest.find("\r\n");
    const std::string_view line = rest.substr(0, size);
    rest.remove_prefix(size + 2);
    const std::size_t colon = std::min(line.find(':'), line.size());
    const HttpHeader header{line.substr(0, colon), trimmed(line.substr(std::min(colon + 1, line.size())))};
    if (colon == line.size() || !is_header_name(header.name) || !is_header_value(header.value))
      return unreadable("the header line '" + std::string(line.substr(0, 40)) + "'");
    if (same_word(header.name, "connection")) connection = header.value;
    coded = coded || same_word(header.name, "transfer-encoding");
    if (same_word(header.name, "content-length")) {
      std::uint64_t length = 0;
      const auto read = std::from_chars(header.value.begin(), header.value.end(), length);
      if (read.ec == std::errc() && read.ptr == header.value.end() && length != ~std::uint64_t{0}) answer.length = length;
    }
    headers.push_back(header);
  }
  if (coded) answer.length.reset();  // it was not what its body was read by
  for (const HttpHeader& header : headers)
    if (!is_ours(header.name) && !lists(connection, header.name)) add(answer.lines, header.name, header.value);
  return answer;
}

}  // namespace mayfly::gateway
