#include "app/image.h"

#include <archive_entry.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "app/detail/image_source.h"
#include "base/hex.h"
#include "domain/manifest.h"
#include "domain/unpacked.h"
#include "store/artifacts.h"
#include "worker/archive.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kLayersMax = 128;
constexpr int kIndexesMax = 3;                         // that name each other
#if defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm64";
#else
constexpr std::string_view kArchitecture = "amd64";
#endif

std::unexpected<Error> wrong(std::string message) { return wrong_image(std::move(message)); }
std::string in_quotes(std::string_view text) { return quotes_around(text); }

struct Descriptor {
  std::string type, sha256;
  std::uint64_t size = 0;
  std::string path() const { return "blobs/sha256/" + sha256; }
};

Result<Json> parse(const std::string& text, const std::string& what) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return wrong(what + " of the image is not JSON");
  return json;
}

std::string text_in(const Json& json, const char* key) {
  const auto at = json.is_object() ? json.find(key) : json.end();
  return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

const Json& list_in(const Json& json, const char* key) {
  static const Json kNone = Json::array();
  const auto at = json.is_object() ? json.find(key) : json.end();
  return at != json.end() && at->is_array() ? *at : kNone;
}

std::vector<std::string> words_in(const Json& json, const char* key) {
  std::vector<std::string> words;
  for (const Json& word : list_in(json, key))
    if (word.is_string()) words.push_back(word.get<std::string>());
  return words;
}

Result<Descriptor> descriptor_of(const Json& json, const std::string& what) {
  Descriptor found{.type = text_in(json, "mediaType"), .sha256 = text_in(json, "digest")};
  constexpr std::string_view kKind = "sha256:";
  if (!found.sha256.starts_with(kKind) || !is_sha256(std::string_view(found.sha256).substr(kKind.size())))
    return wrong("the digest " + in_quotes(found.sha256) + " of " + what + " is no sha256: with 64 lower-case hex digits");
  found.sha256.erase(0, kKind.size());
  if (!json.contains("size") || !json["size"].is_number_unsigned()) return wrong("the image says no size of " + what);
  found.size = json["size"].get<std::uint64_t>();
  return found;
}

Result<void> check_size(std::uint64_t size, const Descriptor& said, const std::string& what) {
  if (size == said.size) return {};
  return wrong(what + " of the image has " + std::to_string(size) + " bytes, and should have " + std::to_string(said.size) +
               ": it is not whole");
}

Result<void> check_digest(std::string_view found, std::string_view said, const std::string& what) {
  if (found == said) return {};
  return wrong(what + " of the image has the SHA-256 " + std::string(found) + ", and should have " + std::string(said) +
               ": it was damaged or changed");
}

std::string hash_text(const std::string& text) {
  store::Hash hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.finish();
}

Result<Json> read_blob(ImageSource& source, const Descriptor& said, const std::string& what) {
  TRY(const std::string text, source.text(said.path()));
  TRY_VOID(check_size(text.size(), said, what));
  TRY_VOID(check_digest(hash_text(text), said.sha256, what));
  return parse(text, what);
}

bool is_one_of(std::string_view type, std::initializer_list<std::string_view> types) {
  return std::ranges::find(types, type) != types.end();
}
bool is_index(std::string_view type) {
  return is_one_of(type, {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"});
}
bool is_manifest_type(std::string_view type) {
  return is_one_of(type, {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"});
}

std::unexpected<Error> foreign(const std::string& machine) {
  const std::string here = "linux/" + std::string(kArchitecture);
  return wrong("the image is for " + machine.substr(0, 200) + ", and this machine is " + here + ": build it with --platform " + here);
}

// Of an index: the one for this machine, and with this tag, if one is wanted.
Result<Descriptor> choose(const Json& index, const std::string& tag) {
  std::vector<Json> fit;
  std::string others, tags;
  for (const Json& each : list_in(index, "manifests")) {
    const Json platform = each.is_object() && each.contains("platform") ? each["platform"] : Json();
    const std::string os = text_in(platform, "os"), architecture = text_in(platform, "architecture");
    const std::string name = each.contains("annotations") ? text_in(each["annotations"], "org.opencontainers.image.ref.name") : "";
    if (architecture == "unknown") continue;                 // what BuildKit attests of the build
    if (!platform.is_null() && (os != "linux" || architecture != kArchitecture)) {
      others += (others.empty() ? "" : ", ") + os + "/" + architecture;
      continue;
    }
    if (!tag.empty() && name != tag) {
      tags += (tags.empty() ? "" : ", ") + (name.empty() ? "one without a tag" : name);
      continue;
    }
    tags += (tags.empty() ? "" : ", ") + (name.empty() ? "one without a tag" : name);
    fit.push_back(each);
  }
  if (fit.size() == 1) return descriptor_of(fit[0], "its manifest");
  if (fit.size() > 1) return wrong("there are " + std::to_string(fit.size()) + " images: name one, oci:PATH:TAG, of " + tags);
  if (!tags.empty()) return wrong("there is no image with the tag " + in_quotes(tag) + ": there are " + tags);
  if (!others.empty()) return foreign(others);
  return wrong("its index names no image");
}

struct Read {
  Json config;
  std::vector<PackageFile> layers;
  std::vector<os::Fd> held;
};

bool is_layer(std::string_view type) {
  constexpr std::string_view kStems[] = {
      "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar",
      "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"};
  for (const std::string_view stem : kStems)
    if (type.starts_with(stem) && is_one_of(type.substr(stem.size()), {"", "+gzip", "+zstd", ".gzip", ".zstd"})) return true;
  return false;
}

std::string layer_path(std::size_t i) {
  std::string number = std::to_string(i);
  return "layer-" + number.insert(0, 3 - std::min<std::size_t>(3, number.size()), '0');
}

// Each piece of what a layer is without its compression.
template <class Visit>
Result<void> unzip(const std::string& location, const std::string& what, const Visit& visit) {
  const auto damaged = [&](std::string_view reason) {
    return wrong(what + " of the image can't be unzipped, it was damaged or changed: " + std::string(reason));
  };
  const auto opened = worker::open_unzipped(location);
  if (!opened) return damaged(opened.error().message);
  archive_entry* entry = nullptr;
  int got = archive_read_next_header(opened->get(), &entry);
  for (std::vector<std::byte> block(256 * 1024); got >= ARCHIVE_WARN && got != ARCHIVE_EOF;) {
    const la_ssize_t size = archive_read_data(opened->get(), block.data(), block.size());
    if (size == 0) return {};
    if (size < 0) return damaged(worker::reason_of(opened->get()));
    TRY_VOID(visit(std::span<const std::byte>(block).first(static_cast<std::size_t>(size))));
  }
  if (got == ARCHIVE_EOF) return {};
  return damaged(worker::reason_of(opened->get()));
}

// Hashes each, and has `check` look at it: (number, path, size, SHA-256).
template <class Check>
Result<void> take_layers(ImageSource& source, const std::vector<std::string>& paths, Read& into, const Check& check) {
  if (paths.empty() || paths.size() > kLayersMax)
    return wrong("the image has " + std::to_string(paths.size()) + " layers: 1 to 128 are possible");
  TRY(auto blobs, source.files(paths));
  std::map<std::string, std::string> hashes;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto at = blobs.find(paths[i]);
    if (at == blobs.end()) return missing_in_image(paths[i]);
    std::string& sha256 = hashes[paths[i]];
    if (sha256.empty()) {
      TRY(const os::Fd file, open_file(at->second.location));
      TRY(sha256, hash_file(file.get(), [](std::uint64_t) {}));
    }
    TRY_VOID(check(i, at->second.size, sha256));
    into.layers.push_back({.file = {.path = layer_path(i), .sha256 = sha256, .size = {at->second.size}, .archive = true},
                           .location = at->second.location});
  }
  for (auto& [path, blob] : blobs) into.held.push_back(std::move(blob.held));
  return {};
}

Result<Read> read_oci(ImageSource& source, const std::string& tag) {
  TRY(const std::string top, source.text("index.json"));
  TRY(const Json index, parse(top, "index.json"));
  TRY(Descriptor at, choose(index, tag));
  for (int i = 0; i < kIndexesMax && is_index(at.type); ++i) {
    TRY(const Json inner, read_blob(source, at, "the index"));
    TRY(at, choose(inner, ""));
  }
  if (!is_manifest_type(at.type)) return wrong("the media type " + in_quotes(at.type) + " is not known: an image's manifest is wanted");
  TRY(const Json manifest, read_blob(source, at, "the manifest"));
  Read read;
  const Json config_json = manifest.is_object() && manifest.contains("config") ? manifest["config"] : Json();
  TRY(const Descriptor config, descriptor_of(config_json, "its configuration"));
  if (!is_one_of(config.type, {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}))
    return wrong("the media type " + in_quotes(config.type) + " of the configuration is not known: this is no container's image");
  TRY(read.config, read_blob(source, config, "the configuration"));
  std::vector<Descriptor> said;
  std::vector<std::string> paths;
  for (const Json& each : list_in(manifest, "layers")) {
    TRY(Descriptor layer, descriptor_of(each, "layer " + std::to_string(said.size() + 1)));
    if (!is_layer(layer.type))
      return wrong("the media type " + in_quotes(layer.type) + " of layer " + std::to_string(said.size() + 1) +
                   " is not known: tar, tar+gzip and tar+zstd are taken");
    paths.push_back(layer.path());
    said.push_back(std::move(layer));
  }
  const auto sound = [&](std::size_t i, std::uint64_t size, const std::string& sha256) -> Result<void> {
    const std::string what = "layer " + std::to_string(i + 1);
    TRY_VOID(check_size(size, said[i], what));
    return check_digest(sha256, said[i].sha256, what);
  };
  TRY_VOID(take_layers(source, paths, read, sound));
  return read;
}

// What `docker save` wrote before it wrote layouts. A layer's name says its digest only where it is a blob; its content does by diff_ids.
Result<Read> read_docker(ImageSource& source, const std::string& tag) {
  TRY(const std::string top, source.text("manifest.json"));
  TRY(const Json list, parse(top, "manifest.json"));
  std::vector<Json> fit;
  std::string tags;
  for (const Json& each : list.is_array() ? list : Json::array()) {
    const auto names = words_in(each, "RepoTags");
    for (const std::string& name : names) tags += (tags.empty() ? "" : ", ") + name;
    if (tag.empty() || std::ranges::find(names, tag) != names.end()) fit.push_back(each);
  }
  if (fit.size() != 1)
    return wrong("there are " + std::to_string(fit.size()) + " images" + (tag.empty() ? "" : " with the tag " + in_quotes(tag)) +
                 ": name one, oci:PATH:TAG, of " + tags);
  Read read;
  const std::string config = text_in(fit[0], "Config"), name = fs::path(config).stem().string();
  TRY(const std::string text, source.text(config));
  if (is_sha256(name)) TRY_VOID(check_digest(hash_text(text), name, "the configuration"));
  TRY(read.config, parse(text, "the configuration"));
  const std::vector<std::string> paths = words_in(fit[0], "Layers");
  TRY_VOID(take_layers(source, paths, read, [&](std::size_t i, std::uint64_t, const std::string& sha256) -> Result<void> {
    const std::string blob = fs::path(paths[i]).filename().string();
    return is_sha256(blob) ? check_digest(sha256, blob, "layer " + std::to_string(i + 1)) : Result<void>();
  }));
  return read;
}

// The configuration names layers by what they are without their compression: what was signed, or built, is that.
Result<void> check_unzipped(const std::vector<PackageFile>& layers, const std::vector<std::string>& said) {
  Bytes archives, held;
  for (const PackageFile& layer : layers) archives.count += layer.file.size.count;
  const Bytes most = domain::unpacked_max(archives);
  std::map<std::string, std::string> known;              // by the layer's digest
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string what = "layer " + std::to_string(i + 1);
    std::string& sha256 = known[layers[i].file.sha256];
    if (sha256.empty()) {
      store::Hash hash;
      TRY_VOID(unzip(layers[i].location, what, [&](std::span<const std::byte> piece) -> Result<void> {
        hash.update(piece);
        held.count += piece.size();
        if (held <= most) return {};
        return wrong("the first " + std::to_string(i + 1) + " layers of the image hold more than the " + to_text(most) +
                     " that an image of its size may: is it one made to fill disks?");
      }));
      sha256 = hash.finish();
    }
    TRY_VOID(check_digest("sha256:" + sha256, said[i], what + ", unzipped,"));
  }
  return {};
}

Result<void> check_config(const Read& read) {
  const std::string os = text_in(read.config, "os"), architecture = text_in(read.config, "architecture");
  if (os != "linux" || architecture != kArchitecture) return foreign(os + "/" + architecture);
  const auto said = read.config.contains("rootfs") ? words_in(read.config["rootfs"], "diff_ids") : std::vector<std::string>{};
  if (said.size() == read.layers.size()) return check_unzipped(read.layers, said);
  return wrong("the image has " + std::to_string(read.layers.size()) + " layers, and its configuration " + std::to_string(said.size()) +
               ": it is not whole");
}

// The function's manifest, with what the image says.
Result<std::string> manifest_with(const Read& read, const std::string& manifest) {
  const Json config = read.config.contains("config") && read.config["config"].is_object() ? read.config["config"] : Json::object();
  const auto entrypoint = words_in(config, "Entrypoint"), command = words_in(config, "Cmd"), environment = words_in(config, "Env");
  std::map<std::string, std::string> variables;
  for (const std::string& each : environment)
    if (const std::size_t equals = each.find('='); equals != each.npos) variables[each.substr(0, equals)] = each.substr(equals + 1);
  try {
    YAML::Node root = manifest.empty() ? YAML::Node(YAML::NodeType::Map) : YAML::Load(manifest);
    if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) return wrong("the manifest is not a mapping: write 'key: value' lines");
    YAML::Node image(YAML::NodeType::Map);
    image["entrypoint"] = entrypoint;
    image["command"] = command;
    image["environment"] = variables;
    const std::string directory = text_in(config, "WorkingDir");
    image["directory"] = directory.empty() ? "/" : directory;
    if (const std::string user = text_in(config, "User"); !user.empty()) image["user"] = user;
    root["image"] = image;
    std::vector<std::string> words = entrypoint;
    words.insert(words.end(), command.begin(), command.end());
    if (!root["runtime"]) root["runtime"] = looks_like_lambda(words, environment) ? "container-lambda" : "container-http";
    YAML::Emitter out;
    out << root;
    return std::string(out.c_str()) + "\n";
  } catch (const YAML::Exception& e) { return wrong("the manifest is not YAML: " + std::string(e.what())); }
}

}  // namespace

bool looks_like_lambda(const std::vector<std::string>& words, const std::vector<std::string>& environment) {
  constexpr std::string_view kClients[] = {"awslambdaric", "aws-lambda-ric", "aws-lambda-runtime", "aws_lambda_ric", "lambda-entrypoint.sh",
                                           "lambda.runtime.api.client"};
  const auto speaks = [&](const std::string& word) {
    const auto names = [&](std::string_view name) { return word.find(name) != word.npos; };
    return fs::path(word).filename() == "bootstrap" || std::ranges::any_of(kClients, names);
  };
  const auto is_base = [](const std::string& variable) { return variable.starts_with("LAMBDA_TASK_ROOT="); };  // AWS's base images
  return std::ranges::any_of(words, speaks) || std::ranges::any_of(environment, is_base);
}

std::string image_named_in(const std::string& manifest) {
  try {
    const YAML::Node root = YAML::Load(manifest);
    return root.IsMap() && root["image"] && root["image"].IsScalar() ? root["image"].as<std::string>() : std::string();
  } catch (const YAML::Exception&) { return {}; }     // whoever parses it says what is wrong
}

Result<ImagePackage> read_image(const std::string& where, const std::string& manifest) {
  std::string path = where, tag;
  std::error_code error;
  if (const std::size_t colon = path.rfind(':'); !fs::exists(path, error) && colon != path.npos && path.find('/', colon) == path.npos) {
    tag = path.substr(colon + 1);
    path.resize(colon);
  }
  // A repository's name may stand in the tag: oci:image.tar:shop/cart:1. The shortest path that is there.
  for (std::size_t colon = where.find(':'); !fs::exists(path, error) && colon != where.npos; colon = where.find(':', colon + 1)) {
    path = where.substr(0, colon);
    tag = where.substr(colon + 1);
  }
  std::unique_ptr<ImageSource> source;
  if (fs::is_directory(path, error)) {
    TRY(source, open_image_folder(path));
  } else if (fs::is_regular_file(path, error)) {
    TRY(source, open_image_archive(path));
  } else {
    return wrong(in_quotes(where) + " is not there: name an image's archive or layout, as oci:PATH or oci:PATH:TAG");
  }
  if (!source->has("index.json") && !source->has("manifest.json"))
    return wrong(in_quotes(path) + " is no image: it has neither index.json (OCI) nor manifest.json (docker save)");
  TRY(Read read, source->has("index.json") ? read_oci(*source, tag) : read_docker(*source, tag));
  TRY_VOID(check_config(read));
  ImagePackage made{.package = {}, .held = std::move(read.held)};
  TRY(made.package.manifest, manifest_with(read, manifest));
  made.package.files = std::move(read.layers);
  for (const PackageFile& layer : made.package.files) made.package.size.count += layer.file.size.count;
  return made;
}

}  // namespace mayfly::app
