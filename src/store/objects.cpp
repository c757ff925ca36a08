#include "store/objects.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "base/http.h"
#include "os/digest.h"
#include "os/http_get.h"

namespace mayfly::store {
namespace {

// SHA-256 of nothing: a GET has no body.
constexpr const char* kNoBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::size_t kKeyMax = 1024;

// "20130524T000000Z".
std::string stamp_of(WallTime now) {
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now.since_epoch).count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

// A bucket may become a part of the host's name; of a key some servers resolve "..", which would lead to another bucket.
Result<void> check_name(const ObjectStore& store, std::string_view bucket, std::string_view key) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool named = bucket.size() >= 3 && bucket.size() <= 63 && plain(bucket.front()) && plain(bucket.back()) &&
                     bucket.find("..") == bucket.npos &&
                     std::ranges::all_of(bucket, [&](char c) { return plain(c) || c == '-' || c == '.'; });
  if (!named)
    return fail(Code::invalid_argument, "S3Bucket '" + std::string(bucket.substr(0, 63)) + "' is not the name of a bucket");
  if (!store.buckets.empty() && std::ranges::find(store.buckets, bucket) == store.buckets.end())
    return fail(Code::permission_denied, "S3Bucket '" + std::string(bucket) + "' is not one that this node may read (objects.buckets)");
  if (key.empty() || key.size() > kKeyMax)
    return fail(Code::invalid_argument, "S3Key has " + std::to_string(key.size()) + " bytes: 1 to 1024");
  const std::string between = "/" + std::string(key) + "/";
  if (between.find("/../") != between.npos || between.find("/./") != between.npos || key.find('\0') != key.npos)
    return fail(Code::invalid_argument, "S3Key '" + std::string(key.substr(0, 200)) + "' has '.' or '..' between slashes: name another");
  return {};
}

std::string between(std::string_view text, std::string_view open, std::string_view close) {
  const std::size_t at = text.find(open);
  if (at == text.npos) return {};
  const std::size_t end = text.find(close, at + open.size());
  return std::string(text.substr(at + open.size(), end == text.npos ? 0 : end - at - open.size()));
}

// As AWS says it: "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: …".
std::unexpected<Error> refused(const os::HttpGot& got) {
  std::string code = between(got.refusal, "<Code>", "</Code>").substr(0, 80), message = between(got.refusal, "<Message>", "</Message>");
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::erase_if(code, control);
  std::erase_if(message, control);
  if (code.empty()) code = std::to_string(got.status);
  const Code kind = got.status >= 500 ? Code::unavailable : Code::invalid_argument;
  return fail(kind, "Error occurred while GetObject. S3 Error Code: " + code + ". S3 Error Message: " + message.substr(0, 400));
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view url) {
  const auto wrong = [&] {
    return fail(Code::invalid_argument, "'" + std::string(url.substr(0, 200)) + "' is no endpoint: write http://HOST:PORT or https://HOST");
  };
  Endpoint endpoint;
  if (url.starts_with("https://")) endpoint.tls = true;
  else if (!url.starts_with("http://")) return wrong();
  std::string_view rest = url.substr(endpoint.tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const bool address = rest.starts_with('[');
  const std::size_t end = address ? rest.find(']') : std::min(rest.find(':'), rest.size());
  if (end == rest.npos) return wrong();
  endpoint.host = rest.substr(address ? 1 : 0, end - (address ? 1 : 0));
  std::string_view port = rest.substr(end + (address ? 1 : 0));
  constexpr std::string_view kCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
  if (endpoint.host.empty() || (!address && endpoint.host.find_first_not_of(kCharacters) != std::string::npos) ||
      (address && endpoint.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos))
    return wrong();
  const std::uint16_t own = endpoint.tls ? 443 : 80;
  endpoint.port = own;
  if (!port.empty()) {
    if (!port.starts_with(':')) return wrong();
    port.remove_prefix(1);
    const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (error != std::errc() || stop != port.data() + port.size() || endpoint.port == 0) return wrong();
  }
  endpoint.authority = address ? "[" + endpoint.host + "]" : endpoint.host;
  if (endpoint.port != own) endpoint.authority += ":" + std::to_string(endpoint.port);
  return endpoint;
}

std::string signed_head(const SignedGet& get, const ObjectStore& store, WallTime now) {
  const std::string stamp = stamp_of(now), day = stamp.substr(0, 8), scope = day + "/" + store.region + "/s3/aws4_request";
  std::string head = "Host: " + get.host + "\r\n";
  if (store.key_id.empty()) return head;
  const std::string canonical = get.method + "\n" + get.path + "\n" + get.query + "\nhost:" + get.host + "\nx-amz-content-sha256:" +
                                kNoBody + "\nx-amz-date:" + stamp + "\n\nhost;x-amz-content-sha256;x-amz-date\n" + kNoBody;
  const std::string text = "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + os::sha256_hex(canonical);
  return head + "x-amz-content-sha256: " + kNoBody + "\r\nx-amz-date: " + stamp + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" +
         store.key_id + "/" + scope + ",SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=" +
         os::hmac_sha256_chain("AWS4" + store.secret, {day, store.region, "s3", "aws4_request", text}) + "\r\n";
}

Result<void> fetch_object(const ObjectStore& store, const std::string& bucket, const std::string& key, const std::string& version,
                          WallTime now, const std::atomic<bool>& stop, const TakePiece& take) {
  TRY_VOID(check_name(store, bucket, key));
  TRY(const Endpoint endpoint, parse_endpoint(store.endpoint));
  SignedGet get{.path = (store.path_style ? "/" + bucket : std::string()) + "/" + percent_encoded(key, "/"),
                .query = version.empty() ? "" : "versionId=" + percent_encoded(version.substr(0, kKeyMax)),
                .host = store.path_style ? endpoint.authority : bucket + "." + endpoint.authority};
  const os::HttpGet request{.tls = endpoint.tls, .host = store.path_style ? endpoint.host : bucket + "." + endpoint.host,
                            .port = endpoint.port, .target = get.path + (get.query.empty() ? "" : "?" + get.query),
                            .head = signed_head(get, store, now), .size_max = store.size_max, .stop = &stop};
  const auto got = os::http_get(request, take);
  if (!got) return fail(got.error().code, "the object " + bucket + "/" + key.substr(0, 200) + ": " + got.error().message);
  if (got->status != 200) return refused(*got);
  return {};
}

}  // namespace mayfly::store
