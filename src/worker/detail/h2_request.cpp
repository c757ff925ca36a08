#include "worker/detail/h2_request.h"

#include <algorithm>

namespace mayfly::worker {
namespace {

std::unexpected<Error> unreadable() { return fail(Code::internal, "the request can't be said in HTTP/2: it has no head"); }

bool is_of_one_connection(std::string_view name) {
  constexpr std::string_view kNames[] = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "host"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

}  // namespace

Result<H2Request> read_h2_request(std::string_view bytes) {
  const std::size_t head_size = bytes.find("\r\n\r\n");
  if (head_size == bytes.npos) return unreadable();
  std::string_view head = bytes.substr(0, head_size + 2);
  const std::string_view line = head.substr(0, head.find("\r\n"));
  head.remove_prefix(line.size() + 2);
  const std::size_t space = line.find(' '), end = line.rfind(' ');
  if (space == line.npos || end <= space + 1) return unreadable();
  H2Request request{
      .headers = {{":method", line.substr(0, space)}, {":scheme", "http"}, {":path", line.substr(space + 1, end - space - 1)}},
      .body = bytes.substr(head_size + 4)};
  std::string_view authority = "localhost";
  std::vector<std::pair<std::string, std::string_view>> others;
  while (!head.empty()) {
    const std::string_view field = head.substr(0, head.find("\r\n"));
    head.remove_prefix(field.size() + 2);
    const std::size_t colon = field.find(':');
    if (colon == field.npos) return unreadable();
    std::string name(field.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    std::string_view value = field.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    if (name == "host" && !value.empty()) authority = value;
    if (!is_of_one_connection(name)) others.emplace_back(std::move(name), value);
  }
  request.headers.emplace_back(":authority", authority);
  std::ranges::move(others, std::back_inserter(request.headers));
  return request;
}

}  // namespace mayfly::worker
