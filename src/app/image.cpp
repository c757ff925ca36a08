#include "app/image.h"

#include <archive_entry.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <span>

#include "app/detail/image_source.h"
#include "base/hex.h"
#include "domain/container_image.h"
#include "domain/json.h"
#include "domain/json_fields.h"
#include "domain/unpacked.h"
#include "os/digest.h"
#include "store/artifacts.h"
#include "worker/archive.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

using domain::Descriptor;
using domain::check_digest;
using domain::check_size;
using domain::text_in;
using domain::words_in;

std::unexpected<Error> wrong(std::string message) { return domain::wrong_image(std::move(message)); }
std::string in_quotes(std::string_view text) { return domain::quotes_around(text); }
std::string path_of(const Descriptor& blob) { return "blobs/sha256/" + blob.sha256; }

Result<Json> parse(const std::string& text, const std::string& what) {
  Json json = domain::parse_json<Json>(text);
  if (json.is_discarded()) return wrong(what + " of the image is not JSON");
  return json;
}

Result<std::string> read_blob(ImageSource& source, const Descriptor& said, const std::string& what) {
  TRY(std::string text, source.text(path_of(said)));
  TRY_VOID(check_size(text.size(), said, what));
  TRY_VOID(check_digest(os::sha256_hex(text), said.sha256, what));
  return text;
}

struct Read {
  std::string config;                    // as it stands there
  std::vector<PackageFile> layers;
  std::vector<os::Fd> held;
};

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
  if (paths.empty() || paths.size() > domain::kImageLayersMax)
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
    into.layers.push_back({.file = {.path = domain::layer_path(i), .sha256 = sha256, .size = {at->second.size}, .archive = true},
                           .location = at->second.location});
  }
  for (auto& [path, blob] : blobs) into.held.push_back(std::move(blob.held));
  return {};
}

Result<Read> read_oci(ImageSource& source, const std::string& tag) {
  TRY(const std::string top, source.text("index.json"));
  TRY(Descriptor at, domain::choose_image(top, {.what = "index.json", .tag = tag}));
  for (int i = 0; i < domain::kImageIndexesMax && domain::is_image_index(at.type); ++i) {
    TRY(const std::string inner, read_blob(source, at, "the index"));
    TRY(at, domain::choose_image(inner, {.what = "the index"}));
  }
  if (!domain::is_image_manifest(at.type))
    return wrong("the media type " + in_quotes(at.type) + " is not known: an image's manifest is wanted");
  TRY(const std::string text, read_blob(source, at, "the manifest"));
  TRY(const domain::ImageManifest manifest, domain::parse_image_manifest(text));
  Read read;
  TRY(read.config, read_blob(source, manifest.config, "the configuration"));
  std::vector<std::string> paths;
  for (const Descriptor& layer : manifest.layers) paths.push_back(path_of(layer));
  const auto sound = [&](std::size_t i, std::uint64_t size, const std::string& sha256) -> Result<void> {
    const std::string what = "layer " + std::to_string(i + 1);
    TRY_VOID(check_size(size, manifest.layers[i], what));
    return check_digest(sha256, manifest.layers[i].sha256, what);
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
  TRY(read.config, source.text(config));
  if (is_sha256(name)) TRY_VOID(check_digest(os::sha256_hex(read.config), name, "the configuration"));
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

// The function's manifest, with what the image says.
Result<std::string> manifest_with(const domain::ImageConfig& config, const std::string& manifest) {
  const std::map<std::string, std::string> variables(config.image.environment.begin(), config.image.environment.end());
  try {
    YAML::Node root = manifest.empty() ? YAML::Node(YAML::NodeType::Map) : YAML::Load(manifest);
    if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) return wrong("the manifest is not a mapping: write 'key: value' lines");
    YAML::Node image(YAML::NodeType::Map);
    image["entrypoint"] = config.image.entrypoint;
    image["command"] = config.image.command;
    image["environment"] = variables;
    image["directory"] = config.image.directory;
    if (!config.image.user.empty()) image["user"] = config.image.user;
    root["image"] = image;
    if (!root["runtime"]) root["runtime"] = config.runtime;
    YAML::Emitter out;
    out << root;
    return std::string(out.c_str()) + "\n";
  } catch (const YAML::Exception& e) { return wrong("the manifest is not YAML: " + std::string(e.what())); }
}

}  // namespace

std::string image_named_in(const std::string& manifest) {
  try {
    const YAML::Node root = YAML::Load(manifest);
    return root.IsMap() && root["image"] && root["image"].IsScalar() ? root["image"].as<std::string>() : std::string();
  } catch (const YAML::Exception&) { return {}; }     // whoever parses it says what is wrong
}

namespace {

Result<ImagePackage> read_it(const std::string& where, const std::string& manifest) {
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
  TRY(const domain::ImageConfig config, domain::parse_image_config(read.config, read.layers.size()));
  TRY_VOID(check_unzipped(read.layers, config.diff_ids));
  ImagePackage made{.package = {}, .held = std::move(read.held)};
  TRY(made.package.manifest, manifest_with(config, manifest));
  made.package.files = std::move(read.layers);
  for (const PackageFile& layer : made.package.files) made.package.size.count += layer.file.size.count;
  return made;
}

}  // namespace

// It is no misuse of the command, whatever is wrong with the image.
Result<ImagePackage> read_image(const std::string& where, const std::string& manifest) {
  auto read = read_it(where, manifest);
  if (!read && read.error().code == Code::invalid_argument) return fail(Code::internal, read.error().message);
  return read;
}

}  // namespace mayfly::app
