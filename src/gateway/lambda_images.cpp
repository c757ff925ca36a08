#include "gateway/lambda_images.h"

#include "domain/image_reference.h"
#include "gateway/lambda_request.h"

namespace mayfly::gateway::lambda {
namespace {

bool says(const Json& body, const char* key) {
  const auto at = body.find(key);
  return at != body.end() && !at->is_null() && *at != "" && !(at->is_structured() && at->empty());
}

Result<std::vector<std::string>> words_in(const Json& config, const char* key) {
  std::vector<std::string> words;
  if (!says(config, key)) return words;
  const auto wrong = [&] { return fail(Code::invalid_argument, std::string("ImageConfig.") + key + " is not a list of texts"); };
  if (!config[key].is_array()) return wrong();
  for (const Json& word : config[key]) {
    if (!word.is_string()) return wrong();
    words.push_back(word.get<std::string>());
  }
  return words;
}

}  // namespace

Result<bool> is_image(const Json& body) {
  TRY(const std::string type, text_in(body, "PackageType"));
  if (type.empty() || type == "Zip") return false;
  if (type == "Image") return true;
  return fail(Code::invalid_argument, "PackageType '" + type.substr(0, 64) + "' is neither Zip nor Image");
}

Result<void> check_package(const Json& code, bool image) {
  if (!image && says(code, "ImageUri"))
    return fail(Code::invalid_argument, "ImageUri is of PackageType Image, and this function is of PackageType Zip: send ZipFile, or name "
                                        "S3Bucket and S3Key");
  for (const char* key : {"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"})
    if (image && says(code, key))
      return fail(Code::invalid_argument, std::string(key) +
                                              " is of PackageType Zip, and this function is of PackageType Image: send ImageUri");
  return {};
}

Result<void> set_image(const Json& code, domain::Manifest& manifest) {
  TRY(std::string uri, text_in(code, "ImageUri"));
  if (uri.empty()) return fail(Code::invalid_argument, "ImageUri is missing: name the image, HOST/NAME:TAG");
  const auto parsed = domain::parse_image_reference(uri);
  if (!parsed) return fail(parsed.error().code, "ImageUri: " + parsed.error().message);
  if (uri.starts_with(domain::kPullPrefix)) uri.erase(0, domain::kPullPrefix.size());
  manifest.image = {.reference = std::move(uri), .instead = std::move(manifest.image.instead)};
  return {};
}

Result<void> set_image_config(const Json& body, domain::Manifest& manifest) {
  if (!manifest.is_container()) {
    if (!says(body, "ImageConfig")) return {};
    return fail(Code::invalid_argument, "ImageConfig is of PackageType Image, and this function is of PackageType Zip: leave it out");
  }
  for (const char* key : {"Runtime", "Handler", "Layers"})
    if (says(body, key))
      return fail(Code::invalid_argument, std::string(key) + " is of PackageType Zip, and this function is of PackageType Image: its image "
                                          "has all it needs, leave it out");
  if (!body.contains("ImageConfig") || body["ImageConfig"].is_null()) return {};
  const Json& config = body["ImageConfig"];
  if (!config.is_object()) return fail(Code::invalid_argument, "ImageConfig is not an object");
  domain::ImageInstead instead;
  TRY(instead.entrypoint, words_in(config, "EntryPoint"));
  TRY(instead.command, words_in(config, "Command"));
  TRY(instead.directory, text_in(config, "WorkingDirectory"));
  manifest.image.instead = std::move(instead);
  return {};
}

Json code_of(const domain::Version& version) {
  const domain::Image& image = version.manifest.image;
  const auto parsed = domain::parse_image_reference(image.reference);
  if (!parsed) return {{"RepositoryType", "Mayfly"}};
  return {{"RepositoryType", "ECR"}, {"ImageUri", image.reference}, {"ResolvedImageUri", parsed->resolved(image.digest)}};
}

Json image_config_of(const domain::ImageInstead& instead) {
  Json json;
  if (!instead.entrypoint.empty()) json["EntryPoint"] = instead.entrypoint;
  if (!instead.command.empty()) json["Command"] = instead.command;
  if (!instead.directory.empty()) json["WorkingDirectory"] = instead.directory;
  return json;
}

}  // namespace mayfly::gateway::lambda
