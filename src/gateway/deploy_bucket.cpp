#include "gateway/deploy_bucket.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/hex.h"
#include "base/http_date.h"
#include "base/units.h"
#include "domain/json.h"
#include "gateway/aws_chunked.h"
#include "gateway/lambda_forms.h"
#include "gateway/xml.h"
#include "os/digest.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using domain::Json;

constexpr const char* kNamespace = "http://s3.amazonaws.com/doc/2006-03-01/";
constexpr std::size_t kUploadsMax = 100, kPartsMax = 10'000, kHeadersMax = 8 << 10, kDeletedMax = 1000, kListMax = 1000;
constexpr std::uint64_t kXmlMax = 2 << 20, kFramesMax = 64 << 20;   // the second: of aws-chunked, beside the body
constexpr Duration kUploadAgeMax = std::chrono::hours(24);
constexpr std::string_view kOwnPaths[] = {"functions", "api", "lambda-url", "metrics"};

HttpReply refusal(int status, const char* code, const std::string& message, std::string_view path) {
  return {.status = status, .content_type = "application/xml",
          .body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" +
                  xml::element("Error", {{"Code", code}, {"Message", message}, {"Resource", std::string(path)}})};
}

HttpReply refusal(const Error& error, std::string_view path) {
  switch (error.code) {
    case Code::not_found:
      return refusal(404, error.message.starts_with("The specified bucket") ? "NoSuchBucket" : "NoSuchKey", error.message, path);
    case Code::invalid_argument:
      return refusal(400, error.message.starts_with("The specified bucket") ? "InvalidBucketName" : "InvalidRequest", error.message, path);
    case Code::exhausted: return refusal(400, "QuotaExceeded", error.message, path);
    case Code::unimplemented: return refusal(501, "NotImplemented", error.message, path);
    default: return refusal(500, "InternalError", error.message, path);
  }
}

void answer(const Responder& to, const char* name, Json json, int status = 200) {
  std::string body = xml::element(name, json);
  body.insert(1 + std::string_view(name).size(), std::string(" xmlns=\"") + kNamespace + "\"");
  to.send({.status = status, .content_type = "application/xml", .body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + body});
}

std::string quoted(const std::string& etag) { return "\"" + etag + "\""; }

// Whether its query says nothing but this, and who signed it: "?tagging" of an object is not the object.
bool asks_only(const HttpRequest& request, std::initializer_list<std::string_view> words) {
  for (std::string_view rest = request.query; const auto pair = take_pair(rest);) {
    const std::string name = percent_decoded(pair->first, true).value_or("?");
    if (!name.starts_with("X-Amz-") && name != "x-id" && std::ranges::find(words, name) == words.end()) return false;
  }
  return true;
}

HttpReply not_done(const HttpRequest& request) {
  return refusal(501, "NotImplemented", "this is not done by a deploy bucket", request.path);
}

// What an object is given with again: its type, and what its owner says of it.
std::string kept_headers(const HttpRequest& request) {
  Json headers = Json::object();
  std::size_t size = 0;
  for (const HttpHeader& header : request.headers) {
    const std::string name = lower_case(header.name);
    if (name != "content-type" && name != "content-encoding" && !name.starts_with("x-amz-meta-")) continue;
    std::string value(header.value);
    if (name == "content-encoding") {                       // aws-chunked is the way's, not the object's
      const std::size_t at = value.find("aws-chunked");
      if (at != value.npos)
        value.erase(at, std::string_view("aws-chunked").size() + (value.substr(at).starts_with("aws-chunked,") ? 1 : 0));
      if (value.find_first_not_of(" ,") == value.npos) continue;
    }
    size += name.size() + value.size();
    if (size <= kHeadersMax) headers[name] = value;
  }
  return lambda::dump(headers);
}

}  // namespace

struct DeployBucket::Put {
  Responder to;
  Target target;
  std::string path, headers;
  std::string upload_id;                             // "": a whole object
  int part = 0;
  std::string sha256, crc32;                         // that the bytes must have, as base64 or hex; "": not said
  std::optional<std::uint64_t> size;
};

// One body: bytes go to the control as they come, out of their frames where they have some.
class DeployBucket::Sink final : public UploadSink {
 public:
  Sink(DeployBucket& bucket, std::uint64_t number, Put put, bool framed)
      : bucket_(bucket), number_(number), put_(std::move(put)), framed_(framed) {}

  void on_chunk(std::string bytes) override {
    const std::uint64_t size = bytes.size();
    if (framed_) {
      std::string out;
      if (const auto taken = frames_.take(bytes, out); !taken)
        return put_.to.send(refusal(400, "IncompleteBody", taken.error().message, put_.path));
      bytes = std::move(out);
    }
    crc_.add(bytes);
    size_ += bytes.size();
    if (bytes.empty()) return put_.to.taken(size);
    bucket_.control_.append_upload(number_, std::move(bytes), [to = put_.to, path = put_.path, size](const Result<void>& done) {
      if (!done) return to.send(refusal(done.error(), path));
      to.taken(size);
    });
  }
  void on_end() override {
    if (framed_ && !frames_.complete()) return give_up("IncompleteBody", "the body ends before its last chunk");
    if (put_.size && *put_.size != size_)
      return give_up("IncompleteBody",
                     "x-amz-decoded-content-length says " + std::to_string(*put_.size) + " bytes, and there are " + std::to_string(size_));
    if (const auto said = frames_.trailers().find("x-amz-checksum-crc32"); said != frames_.trailers().end()) put_.crc32 = said->second;
    if (const auto said = frames_.trailers().find("x-amz-checksum-sha256"); said != frames_.trailers().end()) put_.sha256 = said->second;
    if (!put_.crc32.empty() && put_.crc32 != os::to_base64(crc_.bytes()))
      return give_up("BadDigest", "The CRC32 you specified did not match the calculated checksum.");
    bucket_.control_.finish_upload(number_, [bucket = &bucket_, put = put_](const Result<domain::FileRef>& file) {
      if (!file) return put.to.send(refusal(file.error(), put.path));
      bucket->kept(put, *file);
    });
  }
  void on_gone() override { bucket_.control_.abort_upload(number_); }

 private:
  void give_up(const char* code, const std::string& message) {
    bucket_.control_.abort_upload(number_);
    put_.to.send(refusal(400, code, message, put_.path));
  }

  DeployBucket& bucket_;
  const std::uint64_t number_;
  Put put_;
  const bool framed_;
  AwsChunked frames_;
  Crc32 crc_;
  std::uint64_t size_ = 0;
};

DeployBucket::DeployBucket(control::Control& control, control::Deploys& deploys, os::Loop& loop, const Turn& turn, const sigv4::Keys& keys)
    : control_(control), deploys_(deploys), loop_(loop), turn_(turn), keys_(keys), random_(os::random_seed()) {}

bool DeployBucket::is_s3(const HttpRequest& request) {
  const std::string_view said = request.header("authorization");
  const bool signed_for = said.find("/s3/aws4_request") != said.npos;
  if (!signed_for && request.query.find("%2Fs3%2Faws4_request") == request.query.npos) return false;
  const std::string_view first = request.path.substr(1, request.path.find('/', 1) - 1);
  return std::ranges::find(kOwnPaths, first) == std::end(kOwnPaths);
}

void DeployBucket::add_routes(Router& router) {
  const auto handled = [this](auto action) -> Handler {
    return [this, action](HttpRequest& request, Responder to) { if (let_in(request, to)) (this->*action)(request, to); };
  };
  router.use_service(&DeployBucket::is_s3);
  router.add_of_service({.method = Method::put, .pattern = "/{bucket}/{key*}",
                         .upload = [this](HttpRequest& request, Responder to) { return put(request, to); },
                         .body_max = deploys_.limits().object_max.count + kFramesMax});
  router.add_of_service({.method = Method::get, .pattern = "/{bucket}/{key*}", .handler = handled(&DeployBucket::get)});
  router.add_of_service(
      {.method = Method::post, .pattern = "/{bucket}/{key*}", .handler = handled(&DeployBucket::post), .body_max = kXmlMax});
  router.add_of_service({.method = Method::delete_, .pattern = "/{bucket}/{key*}", .handler = handled(&DeployBucket::remove)});
}

bool DeployBucket::let_in(const HttpRequest& request, const Responder& to) const {
  if (keys_.empty()) return true;
  auto refused = sigv4::check(request, keys_, turn_.wall, "s3");
  const std::string_view hash = request.header("x-amz-content-sha256");
  if (!refused && request.body_size > 0 && is_sha256(hash) && hash != os::sha256_hex(request.body))
    refused = sigv4::Refusal{"XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."};
  if (refused) to.send(refusal(403, refused->type, refused->message, request.path));
  return !refused;
}

Result<DeployBucket::Target> DeployBucket::target_of(const HttpRequest& request) const {
  const std::size_t slash = request.path.find('/', 1);
  Target target;
  target.bucket = percent_decoded(request.path.substr(1, slash == request.path.npos ? slash : slash - 1)).value_or("");
  TRY_VOID(deploys_.check_bucket(target.bucket));
  if (slash == request.path.npos || slash + 1 == request.path.size()) return target;
  const auto key = percent_decoded(request.path.substr(slash + 1));
  TRY_VOID(control::Deploys::check_key(key.value_or("")));
  target.key = *key;
  return target;
}

// Upload ---------------------------------------------------------------------------------------------

std::unique_ptr<UploadSink> DeployBucket::put(HttpRequest& request, const Responder& to) {
  if (!let_in(request, to)) return nullptr;
  Put put{.to = to, .path = std::string(request.path), .headers = kept_headers(request)};
  if (!asks_only(request, {"partNumber", "uploadId"})) {
    to.send(not_done(request));
    return nullptr;
  }
  const std::string_view hash = request.header("x-amz-content-sha256");
  const bool framed = hash.starts_with("STREAMING-");
  const auto begun = [&]() -> Result<std::uint64_t> {
    TRY(put.target, target_of(request));
    if (put.target.key.empty()) return fail(Code::cancelled, "");   // CreateBucket: every bucket is there
    if (!request.header("x-amz-copy-source").empty()) return fail(Code::unimplemented, "CopyObject is not supported: upload it again");
    if (!keys_.empty() && framed && !hash.starts_with("STREAMING-UNSIGNED-"))
      return fail(Code::unimplemented, std::string(hash.substr(0, 60)) + " is not supported: sign the body as a whole");
    put.upload_id = request.query_value("uploadId").value_or("");
    if (const std::string part = request.query_value("partNumber").value_or(""); !put.upload_id.empty()) {
      std::from_chars(part.data(), part.data() + part.size(), put.part);
      const auto upload = uploads_.find(put.upload_id);
      if (upload == uploads_.end() || upload->second.target.key != put.target.key || upload->second.target.bucket != put.target.bucket)
        return fail(Code::not_found, "The specified upload does not exist.");
      if (put.part < 1 || put.part > static_cast<int>(kPartsMax)) return fail(Code::invalid_argument, "partNumber is not 1 to 10000");
    }
    if (is_sha256(hash)) put.sha256 = hash;
    else put.sha256 = request.header("x-amz-checksum-sha256");
    put.crc32 = request.header("x-amz-checksum-crc32");
    if (const std::string_view size = request.header("x-amz-decoded-content-length"); framed && !size.empty()) {
      std::uint64_t value = 0;
      if (std::from_chars(size.data(), size.data() + size.size(), value).ec == std::errc()) put.size = value;
    }
    return control_.begin_upload();
  }();
  if (begun) return std::make_unique<Sink>(*this, *begun, std::move(put), framed);
  if (begun.error().code == Code::cancelled) to.send({.content_type = "", .headers = {{"Location", "/" + put.target.bucket}}});
  else if (begun.error().message.starts_with("The specified upload"))
    to.send(refusal(404, "NoSuchUpload", begun.error().message, request.path));
  else to.send(refusal(begun.error(), request.path));
  return nullptr;
}

void DeployBucket::kept(const Put& put, const domain::FileRef& file) {
  const bool hex = is_sha256(put.sha256);
  if (!put.sha256.empty() && put.sha256 != (hex ? file.sha256 : os::to_base64(lambda::bytes_of_hex(file.sha256))))
    return put.to.send(hex ? refusal(400, "XAmzContentSHA256Mismatch",
                                     "The provided 'x-amz-content-sha256' header does not match what was computed.", put.path)
                           : refusal(400, "BadDigest", "The SHA256 you specified did not match the calculated checksum.", put.path));
  HttpReply done{.content_type = "", .body = {}};
  if (!put.crc32.empty()) done.headers.emplace_back("x-amz-checksum-crc32", put.crc32);
  if (put.upload_id.empty()) {
    done.headers.emplace_back("ETag", quoted(file.sha256.substr(0, 32) + "-1"));
    return deploys_.put(
        {.bucket = put.target.bucket,
         .key = put.target.key,
         .sha256 = file.sha256,
         .size = file.size,
         .etag = file.sha256.substr(0, 32) + "-1",
         .headers = put.headers},
        [to = put.to, path = put.path, done](const Result<void>& kept) { to.send(kept ? done : refusal(kept.error(), path)); });
  }
  const auto upload = uploads_.find(put.upload_id);
  if (upload == uploads_.end()) return put.to.send(refusal(404, "NoSuchUpload", "The specified upload does not exist.", put.path));
  domain::FileRef& part = upload->second.parts[put.part];
  upload->second.size += file.size.count - part.size.count;
  part = file;
  if (upload->second.size > deploys_.limits().object_max.count) {
    uploads_.erase(upload);
    return put.to.send(refusal(400, "EntityTooLarge", "an object of more than " + to_text(deploys_.limits().object_max), put.path));
  }
  done.headers.emplace_back("ETag", quoted(file.sha256.substr(0, 32)));
  put.to.send(std::move(done));
}

void DeployBucket::post(HttpRequest& request, const Responder& to) {
  auto target = target_of(request);
  if (!target) return to.send(refusal(target.error(), request.path));
  if (target->key.empty()) {
    if (request.query_value("delete")) return remove_several(request, to, target->bucket);
  } else {
    if (request.query_value("uploads")) return begin_parts(request, to, *std::move(target));
    if (const auto id = request.query_value("uploadId")) return complete_parts(request, to, *target, *id);
  }
  to.send(not_done(request));
}

void DeployBucket::begin_parts(const HttpRequest& request, const Responder& to, Target target) {
  std::erase_if(uploads_, [&](const auto& u) { return turn_.wall.since_epoch - u.second.begun.since_epoch > kUploadAgeMax; });
  if (uploads_.size() >= kUploadsMax)
    return to.send(
        refusal(503, "SlowDown", std::to_string(kUploadsMax) + " uploads in parts are open: complete or abort some", request.path));
  const std::string id = hex_text(random_.next(), random_.next());
  uploads_[id] = {.target = target, .headers = kept_headers(request), .begun = turn_.wall};
  answer(to, "InitiateMultipartUploadResult", {{"Bucket", target.bucket}, {"Key", target.key}, {"UploadId", id}});
}

void DeployBucket::complete_parts(const HttpRequest& request, const Responder& to, const Target& target, const std::string& id) {
  const auto at = uploads_.find(id);
  if (at == uploads_.end() || at->second.target.bucket != target.bucket || at->second.target.key != target.key)
    return to.send(refusal(404, "NoSuchUpload", "The specified upload does not exist.", request.path));
  std::vector<domain::FileRef> parts;
  for (const std::string& text : xml::texts(request.body, "PartNumber")) {
    int number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    const auto part = at->second.parts.find(number);
    if (part == at->second.parts.end() || parts.size() >= kPartsMax)
      return to.send(
          refusal(400, "InvalidPart", "One or more of the specified parts could not be found: " + text.substr(0, 20), request.path));
    parts.push_back(part->second);
  }
  if (parts.empty()) return to.send(refusal(400, "MalformedXML", "The XML names no parts.", request.path));
  control::Deploys::Object object{.bucket = target.bucket, .key = target.key, .headers = at->second.headers};
  const std::string count = std::to_string(parts.size()), path(request.path);
  deploys_.join(std::move(parts), [this, to, object, count, path, id](const Result<domain::FileRef>& file) mutable {
    if (!file) return to.send(refusal(file.error(), path));
    uploads_.erase(id);
    object.sha256 = file->sha256;
    object.size = file->size;
    object.etag = file->sha256.substr(0, 32) + "-" + count;
    deploys_.put(object, [to, object, path](const Result<void>& kept) {
      if (!kept) return to.send(refusal(kept.error(), path));
      answer(to, "CompleteMultipartUploadResult",
             {{"Location", path}, {"Bucket", object.bucket}, {"Key", object.key}, {"ETag", quoted(object.etag)}});
    });
  });
}

// What is there --------------------------------------------------------------------------------------

void DeployBucket::get(HttpRequest& request, const Responder& to) {
  if (request.path == "/") {
    Json buckets{{"Bucket*", Json::array()}};
    for (const std::string& name : deploys_.buckets())
      buckets["Bucket*"].push_back({{"Name", name}, {"CreationDate", rfc3339(turn_.wall)}});
    return answer(to, "ListAllMyBucketsResult", {{"Owner", {{"ID", "mayfly"}}}, {"Buckets", buckets}});
  }
  const auto target = target_of(request);
  if (!target) return to.send(refusal(target.error(), request.path));
  const auto asks = [&](const char* what) { return request.query_value(what).has_value(); };
  if (target->key.empty()) {
    if (request.method == Method::head) return to.send({.content_type = "", .headers = {{"x-amz-bucket-region", "us-east-1"}}});
    if (asks("location")) return answer(to, "LocationConstraint", Json(""));
    if (asks("versioning")) return answer(to, "VersioningConfiguration", Json::object());
    if (asks("list-type")) return list(request, to, target->bucket);
    return to.send(not_done(request));
  }
  const control::Deploys::Object* object = deploys_.find(target->bucket, target->key);
  if (!object) return to.send(refusal(404, "NoSuchKey", "The specified key does not exist.", request.path));
  if (asks("tagging")) return answer(to, "Tagging", {{"TagSet", Json::object()}});
  if (!asks_only(request, {"partNumber"})) return to.send(not_done(request));
  HttpReply head{.content_type = "application/octet-stream", .body = {}};
  const Json kept = domain::parse_json<Json>(object->headers);
  for (const auto& [name, value] : kept.items()) {
    if (name == "content-type") head.content_type = value.get<std::string>();
    else head.headers.emplace_back(name, value.get<std::string>());
  }
  head.headers.emplace_back("ETag", quoted(object->etag));
  head.headers.emplace_back("Last-Modified", http_date(object->modified));
  head.headers.emplace_back("Accept-Ranges", "bytes");
  std::uint64_t begin = 0, end = object->size.count;
  if (std::string_view range = request.header("range"); range.starts_with("bytes=") && range.find(',') == range.npos) {
    range.remove_prefix(6);
    std::uint64_t first = 0, last = end - 1;
    const auto [dash, error] = std::from_chars(range.data(), range.data() + range.size(), first);
    if (error != std::errc() || first >= end || dash == range.data() + range.size() || *dash != '-')
      return to.send(refusal(416, "InvalidRange", "The requested range is not satisfiable", request.path));
    std::from_chars(dash + 1, range.data() + range.size(), last);
    begin = first;
    end = std::min(end, std::max(last, first) + 1);
    head.status = 206;
    head.headers.emplace_back("Content-Range",
                              "bytes " + std::to_string(begin) + "-" + std::to_string(end - 1) + "/" + std::to_string(object->size.count));
  }
  to.begin(std::move(head), {}, end - begin);
  if (request.method == Method::head) return to.end();
  send(to, object->sha256, begin, end);
}

// Piece by piece, as the client reads.
void DeployBucket::send(const Responder& to, std::string sha256, std::uint64_t offset, std::uint64_t end) {
  constexpr std::uint64_t kAhead = 2 << 20;
  if (!to.alive()) return;
  if (offset >= end) return to.end();
  if (to.unsent() > kAhead) {
    loop_.after(std::chrono::milliseconds(10), [this, to, sha256, offset, end] { send(to, sha256, offset, end); });
    return;
  }
  deploys_.read(sha256, offset, [this, to, sha256, offset, end](const Result<std::string>& bytes) {
    if (!bytes || bytes->empty()) return to.end();           // less than was said: the connection is closed
    const std::string_view piece = std::string_view(*bytes).substr(0, static_cast<std::size_t>(end - offset));
    to.write(piece);
    send(to, sha256, offset + piece.size(), end);
  });
}

void DeployBucket::list(const HttpRequest& request, const Responder& to, const std::string& bucket) {
  const std::string prefix = request.query_value("prefix").value_or(""), most = request.query_value("max-keys").value_or("1000"),
                    token = request.query_value("continuation-token").value_or(""), after = request.query_value("start-after").value_or("");
  if (request.query_value("delimiter").value_or("") != "")
    return to.send(refusal(501, "NotImplemented", "a delimiter is not supported: list without it", request.path));
  std::size_t count = kListMax;
  std::from_chars(most.data(), most.data() + most.size(), count);
  count = std::min(count, kListMax);
  auto found = deploys_.list(bucket, prefix, token.empty() ? after : token, count + 1);
  const bool more = found.size() > count;
  if (more) found.resize(count);
  const bool encode = request.query_value("encoding-type") == "url";
  Json json{{"Name", bucket}, {"Prefix", prefix}, {"KeyCount", found.size()}, {"MaxKeys", count}, {"IsTruncated", more}};
  if (encode) json["EncodingType"] = "url";
  if (more && !found.empty()) json["NextContinuationToken"] = found.back()->key;
  json["Contents*"] = Json::array();
  for (const auto* object : found)
    json["Contents*"].push_back({{"Key", encode ? percent_encoded(object->key, "/") : object->key},
                                 {"LastModified", rfc3339(object->modified)},
                                 {"ETag", quoted(object->etag)},
                                 {"Size", object->size.count},
                                 {"StorageClass", "STANDARD"}});
  answer(to, "ListBucketResult", std::move(json));
}

void DeployBucket::remove(HttpRequest& request, const Responder& to) {
  const auto target = target_of(request);
  if (!target) return to.send(refusal(target.error(), request.path));
  const auto nothing = [to] { to.send({.status = 204, .content_type = "", .body = {}}); };
  if (!asks_only(request, {"uploadId"})) return to.send(not_done(request));
  if (target->key.empty()) return nothing();                 // DeleteBucket: a name is all that there is of it
  if (const auto id = request.query_value("uploadId")) {
    uploads_.erase(*id);
    return nothing();
  }
  deploys_.remove(target->bucket, {target->key}, [to, nothing, path = std::string(request.path)](const Result<void>& removed) {
    if (!removed) return to.send(refusal(removed.error(), path));
    nothing();
  });
}

void DeployBucket::remove_several(const HttpRequest& request, const Responder& to, const std::string& bucket) {
  const auto keys = xml::texts(request.body, "Key");
  if (keys.empty() || keys.size() > kDeletedMax)
    return to.send(refusal(400, "MalformedXML", "The XML names no key, or more than 1000.", request.path));
  deploys_.remove(bucket, keys, [to, keys, path = std::string(request.path)](const Result<void>& removed) {
    if (!removed) return to.send(refusal(removed.error(), path));
    Json json{{"Deleted*", Json::array()}};
    for (const std::string& key : keys) json["Deleted*"].push_back({{"Key", key}});
    answer(to, "DeleteResult", std::move(json));
  });
}

}  // namespace mayfly::gateway
