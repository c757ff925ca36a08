#include "gateway/lambda_zip.h"

#include <utility>

#include "gateway/lambda_request.h"

namespace mayfly::gateway::lambda {
namespace {

constexpr std::size_t kCutFrom = 64 << 10;     // no other text of a request is as long
constexpr const char* kBadZip = "Could not unzip uploaded file. Please check your file, then try to upload again.";

}  // namespace

std::string cut_zip(std::string& body) {
  constexpr std::string_view kKey = "\"ZipFile\"";
  for (std::size_t at = body.find(kKey); at != body.npos; at = body.find(kKey, at + 1)) {
    if (at > 0 && body[at - 1] == '\\') continue;               // the end of a longer word
    const std::size_t colon = body.find_first_not_of(" \t\r\n", at + kKey.size());
    if (colon == body.npos || body[colon] != ':') continue;      // a value, no key
    const std::size_t quote = body.find_first_not_of(" \t\r\n", colon + 1);
    if (quote == body.npos || body[quote] != '"') continue;
    const std::size_t end = body.find('"', quote + 1);           // base64 has no quotes in it, nor what would hide one
    if (end == body.npos || end - quote <= kCutFrom) continue;
    std::string base64 = body.substr(quote + 1, end - quote - 1);
    body.erase(quote + 1, end - quote - 1);
    return base64;
  }
  return {};
}

Result<ZipSource> zip_in(const Json& holder, std::string cut) {
  ZipSource source;
  TRY(source.base64, text_in(holder, "ZipFile"));
  TRY(source.object.bucket, text_in(holder, "S3Bucket"));
  TRY(source.object.key, text_in(holder, "S3Key"));
  TRY(source.object.version, text_in(holder, "S3ObjectVersion"));
  if (!source.base64.empty() && !cut.empty()) return fail(Code::invalid_argument, "ZipFile is there twice");
  if (!cut.empty() && holder.contains("ZipFile")) source.base64 = std::move(cut);
  const bool object = !source.object.bucket.empty() || !source.object.key.empty();
  if (object && !source.base64.empty())
    return fail(Code::invalid_argument, "Please do not provide other FunctionCode parameters when providing a ZipFile.");
  if (object && (source.object.bucket.empty() || source.object.key.empty()))
    return fail(Code::invalid_argument, "S3Bucket and S3Key are one thing: write both");
  if (object) return source;
  if (source.base64.empty())
    return fail(Code::invalid_argument, "ZipFile is missing: send the zip of the function's code, or name S3Bucket and S3Key");
  // Its beginning now, all of it later.
  TRY(const std::string begin, from_base64(std::string_view(source.base64).substr(0, 4), "ZipFile"));
  if (!begin.starts_with("PK")) return fail(Code::invalid_argument, kBadZip);
  return source;
}

void upload_zip(control::Control& control, ZipSource source, const std::string& name, control::Done<domain::FileRef> done) {
  auto named = [name, done](Result<domain::FileRef> file) {
    if (file) file->path = name;
    done(std::move(file));
  };
  if (!source.object.bucket.empty()) return control.fetch_object(std::move(source.object), std::move(named));
  const auto begun = control.begin_upload();
  if (!begun) return done(fail(begun.error()));
  control.append_made(*begun, [base64 = std::move(source.base64)] { return from_base64(base64, "ZipFile"); },
                      [&control, named = std::move(named), upload = *begun](const Result<void>& taken) {
    if (taken) return control.finish_upload(upload, named);
    control.abort_upload(upload);
    named(fail(taken.error()));
  });
}

}  // namespace mayfly::gateway::lambda
