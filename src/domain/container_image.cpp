#include "domain/container_image.h"

#include <algorithm>
#include <map>

#include "base/hex.h"
#include "domain/json.h"
#include "domain/json_fields.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;

Result<Json> parse(std::string_view text, const std::string& what) {
  Json json = parse_json<Json>(text);
  if (json.is_discarded()) return wrong_image(what + " of the image is not JSON");
  return json;
}

Result<Descriptor> descriptor_of(const Json& json, const std::string& what) {
  Descriptor found{.type = text_in(json, "mediaType"), .sha256 = text_in(json, "digest")};
  constexpr std::string_view kKind = "sha256:";
  if (!found.sha256.starts_with(kKind) || !is_sha256(std::string_view(found.sha256).substr(kKind.size())))
    return wrong_image("the digest " + quotes_around(found.sha256) + " of " + what + " is no sha256: with 64 lower-case hex digits");
  found.sha256.erase(0, kKind.size());
  if (!json.contains("size") || !json["size"].is_number_unsigned()) return wrong_image("the image says no size of " + what);
  found.size = json["size"].get<std::uint64_t>();
  return found;
}

bool is_one_of(std::string_view type, std::initializer_list<std::string_view> types) {
  return std::ranges::find(types, type) != types.end();
}

bool is_layer(std::string_view type) {
  constexpr std::string_view kStems[] = {
      "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar",
      "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"};
  for (const std::string_view stem : kStems)
    if (type.starts_with(stem) && is_one_of(type.substr(stem.size()), {"", "+gzip", "+zstd", ".gzip", ".zstd"})) return true;
  return false;
}

std::unexpected<Error> foreign(const std::string& machine) {
  const std::string here = "linux/" + std::string(kImageArchitecture);
  return wrong_image("the image is for " + machine.substr(0, 200) + ", and this machine is " + here + ": build it with --platform " + here);
}

void add(std::string& list, const std::string& word) { list += (list.empty() ? "" : ", ") + word; }

}  // namespace

std::unexpected<Error> wrong_image(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

std::string quotes_around(std::string_view text) { return "'" + std::string(text.substr(0, 200)) + "'"; }

Result<void> check_size(std::uint64_t size, const Descriptor& said, const std::string& what) {
  if (size == said.size) return {};
  return wrong_image(what + " of the image has " + std::to_string(size) + " bytes, and should have " + std::to_string(said.size) +
                     ": it is not whole");
}

Result<void> check_digest(std::string_view found, std::string_view said, const std::string& what) {
  if (found == said) return {};
  return wrong_image(what + " of the image has the SHA-256 " + std::string(found) + ", and should have " + std::string(said) +
                     ": it was damaged or changed");
}

bool is_image_index(std::string_view type) {
  return is_one_of(type, {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"});
}
bool is_image_manifest(std::string_view type) {
  return is_one_of(type, {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"});
}

Result<Descriptor> choose_image(std::string_view text, const Choice& choice) {
  TRY(const Json index, parse(text, choice.what));
  if (index.is_object() && index.contains("layers"))
    return wrong_image(choice.what + " of the image is a manifest, too: it is one or the other");
  const std::string& tag = choice.tag;
  std::vector<Json> fit;
  std::string others, tags;
  for (const Json& each : list_in(index, "manifests")) {
    const Json platform = each.is_object() && each.contains("platform") ? each["platform"] : Json();
    const std::string os = text_in(platform, "os"), architecture = text_in(platform, "architecture");
    const std::string name = each.contains("annotations") ? text_in(each["annotations"], "org.opencontainers.image.ref.name") : "";
    if (architecture == "unknown") continue;                 // what BuildKit attests of the build
    if (!platform.is_null() && (os != "linux" || architecture != kImageArchitecture)) {
      add(others, os + "/" + architecture);
      continue;
    }
    add(tags, name.empty() ? "one without a tag" : name);
    if (tag.empty() || name == tag) fit.push_back(each);
  }
  if (fit.size() == 1 || (choice.first && !fit.empty())) return descriptor_of(fit[0], "its manifest");
  if (fit.size() > 1) return wrong_image("there are " + std::to_string(fit.size()) + " images: name one, oci:PATH:TAG, of " + tags);
  if (!tags.empty()) return wrong_image("there is no image with the tag " + quotes_around(tag) + ": there are " + tags);
  if (!others.empty()) return foreign(others);
  return wrong_image("its index names no image");
}

Result<ImageManifest> parse_image_manifest(std::string_view text) {
  TRY(const Json json, parse(text, "the manifest"));
  if (json.is_object() && json.contains("manifests"))
    return wrong_image("the manifest of the image is an index, too: it is one or the other");
  ImageManifest manifest;
  TRY(manifest.config, descriptor_of(json.is_object() && json.contains("config") ? json["config"] : Json(), "its configuration"));
  if (!is_one_of(manifest.config.type, {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}))
    return wrong_image("the media type " + quotes_around(manifest.config.type) +
                       " of the configuration is not known: this is no container's image");
  const Json& layers = list_in(json, "layers");
  if (layers.empty() || layers.size() > kImageLayersMax)
    return wrong_image("the image has " + std::to_string(layers.size()) + " layers: 1 to 128 are possible");
  for (const Json& each : layers) {
    const std::string what = "layer " + std::to_string(manifest.layers.size() + 1);
    TRY(Descriptor layer, descriptor_of(each, what));
    if (!is_layer(layer.type))
      return wrong_image("the media type " + quotes_around(layer.type) + " of " + what +
                         " is not known: tar, tar+gzip and tar+zstd are taken");
    manifest.layers.push_back(std::move(layer));
  }
  return manifest;
}

Result<ImageConfig> parse_image_config(std::string_view text, std::size_t layers) {
  TRY(const Json json, parse(text, "the configuration"));
  const std::string os = text_in(json, "os"), architecture = text_in(json, "architecture");
  if (os != "linux" || architecture != kImageArchitecture) return foreign(os + "/" + architecture);
  ImageConfig made;
  if (json.contains("rootfs")) made.diff_ids = words_in(json["rootfs"], "diff_ids");
  if (made.diff_ids.size() != layers)
    return wrong_image("the image has " + std::to_string(layers) + " layers, and its configuration " +
                       std::to_string(made.diff_ids.size()) + ": it is not whole");
  const Json config = json.contains("config") && json["config"].is_object() ? json["config"] : Json::object();
  Image& image = made.image;
  image.entrypoint = words_in(config, "Entrypoint");
  image.command = words_in(config, "Cmd");
  const std::vector<std::string> environment = words_in(config, "Env");
  std::map<std::string, std::string> variables;
  for (const std::string& each : environment)
    if (const std::size_t equals = each.find('='); equals != each.npos) variables[each.substr(0, equals)] = each.substr(equals + 1);
  image.environment.assign(variables.begin(), variables.end());
  if (std::string directory = text_in(config, "WorkingDir"); !directory.empty()) image.directory = std::move(directory);
  image.user = text_in(config, "User");
  std::vector<std::string> words = image.entrypoint;
  words.insert(words.end(), image.command.begin(), image.command.end());
  made.runtime = looks_like_lambda(words, environment) ? "container-lambda" : "container-http";
  return made;
}

std::string layer_path(std::size_t number) {
  std::string text = std::to_string(number);
  return "layer-" + text.insert(0, 3 - std::min<std::size_t>(3, text.size()), '0');
}

bool looks_like_lambda(const std::vector<std::string>& words, const std::vector<std::string>& environment) {
  constexpr std::string_view kClients[] = {"awslambdaric", "aws-lambda-ric", "aws-lambda-runtime", "aws_lambda_ric", "lambda-entrypoint.sh",
                                           "lambda.runtime.api.client"};
  const auto speaks = [&](const std::string& word) {
    const auto names = [&](std::string_view name) { return word.find(name) != word.npos; };
    return word.substr(word.rfind('/') + 1) == "bootstrap" || std::ranges::any_of(kClients, names);
  };
  const auto is_base = [](const std::string& variable) { return variable.starts_with("LAMBDA_TASK_ROOT="); };  // AWS's base images
  return std::ranges::any_of(words, speaks) || std::ranges::any_of(environment, is_base);
}

}  // namespace mayfly::domain
