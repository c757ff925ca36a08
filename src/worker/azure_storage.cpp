#include "worker/azure_storage.h"

#include <algorithm>
#include <map>

#include "base/http.h"
#include "base/http_date.h"
#include "os/digest.h"

namespace mayfly::worker {
namespace {

constexpr std::string_view kVersion = "2021-12-02", kBytes = "application/octet-stream", kXml = "application/xml";
constexpr std::size_t kErrorMax = 300;

std::unexpected<Error> wrong(const std::string& text) { return fail(Code::invalid_argument, text); }

// What differs between the five.
struct Form {
  std::string_view method;
  bool queue = false;
  std::string path;                                   // below the endpoint's prefix, encoded
  std::string query;
  std::string_view type;                              // of the body
};

Form form_of(const StorageCall& call) {
  const std::string place = "/" + percent_encoded(call.place, "$"), blob = "/" + percent_encoded(call.blob, "/");
  switch (call.deed) {
    case StorageDeed::get_blob: return {.method = "GET", .path = place + blob, .query = {}, .type = {}};
    case StorageDeed::put_blob: return {.method = "PUT", .path = place + blob, .query = {}, .type = kBytes};
    case StorageDeed::create_container: return {.method = "PUT", .path = place, .query = "restype=container", .type = {}};
    case StorageDeed::put_message: return {.method = "POST", .queue = true, .path = place + "/messages", .query = {}, .type = kXml};
    case StorageDeed::create_queue: break;
  }
  return {.method = "PUT", .queue = true, .path = place, .query = {}, .type = {}};
}

// A part of XML between two tags; "" where it is not there.
std::string_view between(std::string_view text, std::string_view begin, std::string_view end) {
  const std::size_t at = text.find(begin);
  if (at == text.npos) return {};
  text.remove_prefix(at + begin.size());
  return text.substr(0, text.find(end) == text.npos ? 0 : text.find(end));
}

Result<void> check_name(std::string_view name, const std::string& what) {
  const auto takes = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  const bool good = name.size() >= 3 && name.size() <= 63 && std::ranges::all_of(name, takes) && name.front() != '-' &&
                    name.back() != '-' && name.find("--") == name.npos;
  if (good) return {};
  return wrong("the " + what + "'s name is '" + std::string(name.substr(0, 100)) +
               "': 3 to 63 lower-case letters, digits and single '-' between them are wanted");
}

}  // namespace

StorageRequest storage_request(const AzureAccount& account, const StorageCall& call, WallTime now) {
  const Form form = form_of(call);
  const AzureEndpoint& to = form.queue ? account.queue : account.blob;
  const std::string path = to.prefix + form.path;
  std::map<std::string, std::string> own{{"x-ms-date", http_date(now)}, {"x-ms-version", std::string(kVersion)}};
  if (call.deed == StorageDeed::put_blob) own["x-ms-blob-type"] = "BlockBlob";
  std::string query = form.query;
  StorageRequest request{.to = to, .method = form.method, .target = path, .head = {}};
  const std::string host = address_text(to), usual = to.tls ? ":443" : ":80";
  request.head = "Host: " + (host.ends_with(usual) ? host.substr(0, host.size() - usual.size()) : host) + "\r\nUser-Agent: mayfly\r\n";
  if (!form.type.empty()) request.head.append("Content-Type: ").append(form.type).append("\r\n");
  std::string headers;
  for (const auto& [name, value] : own) {
    request.head.append(name).append(": ").append(value).append("\r\n");
    headers.append(name).append(":").append(value).append("\n");
  }
  if (account.key.empty()) {
    query += (query.empty() ? "" : "&") + account.signature;
  } else {
    std::string resource = "/" + account.name + path;
    if (!query.empty()) resource += "\n" + query.substr(0, query.find('=')) + ":" + query.substr(query.find('=') + 1);
    // Verb, encoding, language, length, MD5, type, date, and five conditions of which none is there.
    const std::string length = call.size > 0 ? std::to_string(call.size) : "";
    const std::string text =
        std::string(form.method) + "\n\n\n" + length + "\n\n" + std::string(form.type) + "\n\n\n\n\n\n\n" + headers + resource;
    request.head += "Authorization: SharedKey " + account.name + ":" + os::to_base64(os::hmac_sha256(account.key, text)) + "\r\n";
  }
  if (!query.empty()) request.target += "?" + query;
  return request;
}

Result<void> check_container(std::string_view name) {
  if (name == "$root" || name == "$web" || name == "$logs") return {};
  return check_name(name, "container");
}

Result<void> check_queue(std::string_view name) { return check_name(name, "queue"); }

Result<void> check_blob(std::string_view name) {
  if (name.empty() || name.size() > 1024)
    return wrong("the blob's name has " + std::to_string(name.size()) + " bytes: 1 to 1,024 are possible");
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    if (const std::string_view part = rest.substr(0, slash); part == "." || part == "..")
      return wrong("the blob's name is '" + std::string(name.substr(0, 100)) + "': '.' and '..' are no parts of one");
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return {};
}

Result<std::string> message_body(std::string_view text) {
  std::string body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessage><MessageText>";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' && c != '\t' && c != '\n' && c != '\r')
      return wrong("it has control characters, which a message that is not base64 can't have");
    if (c == '<') body += "&lt;";
    else if (c == '>') body += "&gt;";
    else if (c == '&') body += "&amp;";
    else if (c == '\r') body += "&#13;";   // else readers make it a line feed
    else body += c;
  }
  return body + "</MessageText></QueueMessage>";
}

std::string storage_error(std::string_view head, std::string_view body) {
  std::string code(between(body, "<Code>", "</Code>"));
  if (code.empty()) code = header_of(head, "x-ms-error-code");
  const std::string_view message = between(body, "<Message>", "</Message>");
  std::string text = code + (code.empty() || message.empty() ? "" : ": ") + std::string(message.substr(0, message.find('\n')));
  if (text.empty()) text = body.substr(0, kErrorMax);
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return text.substr(0, kErrorMax);
}

std::string_view header_of(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != head.npos; at = head.find("\r\n", at + 2)) {
    const std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !same_word(line.substr(0, colon), name)) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    while (value.ends_with(' ')) value.remove_suffix(1);
    return value;
  }
  return {};
}

}  // namespace mayfly::worker
