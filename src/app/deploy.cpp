// mayfly deploy: reads the package, uploads what the node lacks, deploys, and follows until it is ready.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <map>

#include "app/commands.h"
#include "app/image.h"
#include "app/pack.h"
#include "app/sam.h"
#include "app/upload.h"
#include "domain/image_reference.h"
#include "domain/json.h"
#include "domain/manifest.h"
#include "os/clock.h"

namespace mayfly::app {
namespace {

Result<void> hash_package(const Context& context, Package& package) {
  Progress progress(context.terminal, "reading", os::monotonic_now());
  std::uint64_t before = 0;
  for (PackageFile& file : package.files) {
    if (!file.file.sha256.empty()) continue;             // a layer of an image
    TRY(const os::Fd fd, open_file(file.location));
    std::uint64_t size = 0;
    TRY(file.file.sha256, hash_file(fd.get(), [&](std::uint64_t done) {
          size = done;
          progress.show(before + done, package.size.count, os::monotonic_now());
        }));
    file.file.size = {size};
    before += size;
  }
  return {};
}

}  // namespace

Result<void> upload_file(const Context& context, const PackageFile& file) {
  TRY(const HttpReply known, context.client.call({.method = "HEAD", .path = "/api/artifacts/" + file.file.sha256}));
  if (known.ok()) return {};
  if (known.status != 404) return fail(error_of(known));
  TRY(const os::Fd fd, open_file(file.location));
  Progress progress(context.terminal, "uploading " + printable(file.file.path), os::monotonic_now());
  TRY(const HttpReply reply, context.client.upload("/api/artifacts", fd.get(), file.file.size.count, [&](std::uint64_t sent) {
    progress.show(sent, file.file.size.count, os::monotonic_now());
  }));
  TRY_VOID(check(reply));
  const Json json = domain::parse_json<Json>(reply.body);
  if (!json.is_object() || json.value("sha256", "") != file.file.sha256)
    return fail(Code::internal, "'" + file.location + "' changed while it was uploaded: deploy again once nothing writes it");
  return {};
}

Result<void> hash_and_upload(const Context& context, PackageFile& file) {
  Package one{.manifest = {}, .files = {file}, .size = file.file.size};
  TRY_VOID(hash_package(context, one));
  file = one.files[0];
  return upload_file(context, file);
}

namespace {

constexpr Duration kFollowMax = std::chrono::minutes(15);
constexpr Duration kDeployMax = std::chrono::hours(2);  // builds wait for one another, and take as long as the node lets them

// Code has no file that could name it: its folder does.
std::string name_of(const DeployOptions& options, const std::string& manifest) {
  const auto read = domain::parse_manifest(manifest);
  if (!options.name.empty() || !read || !read->is_code() || !read->name.empty()) return options.name;
  if (options.path.starts_with(domain::kPullPrefix)) {
    const auto image = domain::parse_image_reference(options.path);
    return image ? image->repository.substr(image->repository.rfind('/') + 1) : "";
  }
  std::error_code error;
  std::string path = options.path;
  if (path.starts_with(kImagePrefix)) path = path.substr(0, path.find(':', kImagePrefix.size())).substr(kImagePrefix.size());
  std::string name = std::filesystem::canonical(path, error).filename().string();
  if (is_archive(name)) name.resize(name.find('.'));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

Json order_of(const DeployOptions& options, const Package& package) {
  Json order = Json::object();
  if (const std::string name = name_of(options, package.manifest); !name.empty()) order["name"] = name;
  if (!package.manifest.empty()) order["manifest"] = package.manifest;
  order["files"] = Json::array();
  for (const PackageFile& file : package.files) {
    order["files"].push_back({{"path", file.file.path}, {"sha256", file.file.sha256}, {"size", file.file.size.count}});
    if (file.file.archive) order["files"].back()["archive"] = true;
  }
  order["alias"] = options.no_alias ? Json() : Json(options.alias);
  if (options.force) order["force"] = true;
  return order;
}

// Looks until the version is compiled and tuned, or won't be.
Result<Json> follow_version(const Context& context, Json version) {
  const std::string path =
      "/api/functions/" + encode(version.value("function", "")) + "/versions/" + std::to_string(version.value("version", 0));
  Progress progress(context.terminal, version.value("function", ""), os::monotonic_now());
  const Instant begun = os::monotonic_now();
  const bool unchanged = version.value("unchanged", false);
  for (Duration wait = std::chrono::milliseconds(20);; wait = std::min<Duration>(wait * 3 / 2, std::chrono::milliseconds(250))) {
    const std::string stage = version.value("stage", "");
    if (stage == "ready" || stage == "failed" || version.contains("compile_error")) break;
    if (os::monotonic_now() - begun > kFollowMax)
      return fail(Code::internal, "the version is '" + stage + "' after 15 minutes; it serves as uploaded meanwhile: see 'mayfly logs " +
                                      version.value("function", "") + "'");
    progress.say(stage + "…", os::monotonic_now());
    pause(wait);
    TRY(version, context.client.get(path));
  }
  version["unchanged"] = unchanged;
  return version;
}

// What a deploy waits for, where that is dependencies that are installed: what their tool says last.
std::function<void()> tell_builds(const Context& context, const std::string& function, Progress& progress) {
  return [&context, &progress, function] {
    const auto builds = context.client.get("/api/builds");
    if (!builds) return;
    const Json list = builds->value("builds", Json::array());
    const Json* shown = nullptr;
    for (const Json& build : list)
      if (!shown || build.value("function", "") == function) shown = &build;
    if (shown)
      progress.say("installing dependencies (" + shown->value("kind", "") + "): " +
                       printable(shown->value("line", "").empty() ? "waits for another build" : shown->value("line", "")),
                   os::monotonic_now());
  };
}

void print_version(const Context& context, const Json& version, const DeployOptions& options) {
  const Terminal& terminal = context.terminal;
  const std::string name = version.value("function", "");
  const std::string stage = version.value("stage", "");
  const Json& signature = version.at("signature");
  const Json manifest = version.value("manifest", Json::object());
  const std::string runtime = manifest.value("runtime", "");
  std::string text = terminal.paint(Tone::good, "→") + " " + terminal.paint(Tone::strong, name) + ", version " +
                     std::to_string(version.value("version", 0)) + ": ";
  if (runtime.empty())
    text += "inputs " + tensors_text(signature.value("inputs", Json::array())) + ", outputs " +
            tensors_text(signature.value("outputs", Json::array()));
  else text += printable(runtime + " " + manifest.value("handler", ""));
  text += ", " + to_text(Bytes{version.value("size", std::uint64_t{0})});
  if (const auto compiled = version.find("compiled"); compiled != version.end() && compiled->is_object()) {
    char ms[32];
    std::snprintf(ms, sizeof ms, "%.0f ms", compiled->value("compile_ms", 0.0));
    text += std::string(", compiled in ") + ms;
  }
  if (const Json had = version.value("dependencies", Json()); had.is_object())
    text += ", " + plural(had.value("count", std::uint64_t{0}), had.value("kind", "") + " package");
  text += ", " + terminal.paint(stage == "ready" ? Tone::good : Tone::warn, stage);
  if (version.value("unchanged", false)) text += " (nothing was new: this is the newest version; --force makes another)";
  if (version.contains("compile_error"))
    text += "\n  " + terminal.paint(Tone::warn, "not compiled") + ": " + printable(version.value("compile_error", "")) +
            "; it serves as uploaded";
  if (version.contains("weights_note"))
    text += "\n  " + terminal.paint(Tone::warn, "note") + ": " + printable(version.value("weights_note", ""));
  for (const Json& note : version.value("notes", Json::array()))
    text += "\n  " + terminal.paint(Tone::warn, "note") + ": " + printable(note.get<std::string>());
  print(text + "\n");
  if (!terminal.out_is_terminal || stage == "failed") return;
  const std::string target = options.no_alias          ? name + ":" + std::to_string(version.value("version", 0))
                             : options.alias == "live" ? name
                                                       : name + ":" + options.alias;
  if (const auto body = sample_body(signature, "plain"); body && body->size() <= 400)
    print(terminal.paint(Tone::faint, "  try: mayfly invoke " + target + " --data '" + *body + "'") + "\n");
}

}  // namespace

namespace {

// Of a manifest in a folder, the path is from there.
Result<Package> read_image_of(const DeployOptions& options, const std::string& named, const std::string& manifest, ImagePackage& image) {
  if (!named.starts_with(kImagePrefix))
    return fail(Code::invalid_argument, "image: '" + named.substr(0, 200) +
                                            "' is no image: write image: oci:PATH, or docker://HOST/NAME:TAG");
  const std::filesystem::path path = named.substr(kImagePrefix.size());
  const std::filesystem::path from = manifest.empty() ? "" : options.path;
  TRY(image, read_image((from / path).string(), manifest));
  Package package = std::move(image.package);
  TRY(package.manifest, with_overrides(package.manifest, options.overrides));
  return package;
}

// The node pulls it: what is sent is the manifest that names it.
Result<Package> pulled_image(const DeployOptions& options, const std::string& named, const std::string& manifest) {
  const auto image = domain::parse_image_reference(named);
  if (!image) return fail(image.error());
  Package package;
  TRY(package.manifest, with_overrides(manifest.empty() ? "image: \"" + named + "\"\n" : manifest, options.overrides));
  return package;
}

// Code is sent as one archive, a model file by file: the node shares those among versions. The manifest is what the command line
// makes of it.
Result<Package> read_any(const DeployOptions& options, std::optional<Packed>& packed, ImagePackage& image) {
  std::error_code error;
  if (options.path.starts_with(kImagePrefix)) return read_image_of(options, options.path, "", image);
  if (options.path.starts_with(domain::kPullPrefix)) return pulled_image(options, options.path, "");
  if (is_archive(options.path) && std::filesystem::is_regular_file(options.path, error)) {
    Package package;
    TRY(const std::string manifest, manifest_in(options.path));
    TRY(package.manifest, with_overrides(manifest, options.overrides));
    package.size.count = std::filesystem::file_size(options.path, error);
    const std::string name = std::filesystem::path(options.path).filename().string();
    package.files.push_back({.file = {.path = name, .size = package.size, .archive = true}, .location = options.path});
    return package;
  }
  TRY(const std::string manifest, read_manifest_of(options.path));
  const std::string named = image_named_in(manifest);
  if (named.starts_with(domain::kPullPrefix)) return pulled_image(options, named, manifest);
  if (!named.empty()) return read_image_of(options, named, manifest, image);
  TRY(std::string whole, with_overrides(manifest, options.overrides));
  if (const auto read = domain::parse_manifest(whole); read && read->is_code() && std::filesystem::is_directory(options.path, error)) {
    TRY(packed, pack_folder(options.path));
    return Package{.manifest = std::move(whole), .files = {packed->entry}, .size = packed->entry.file.size};
  }
  TRY(Package package, read_package(options.path));
  TRY(package.manifest, with_overrides(package.manifest, options.overrides));
  return package;
}

}  // namespace

Result<Json> deploy_version(const Context& context, const DeployOptions& options) {
  std::optional<Packed> packed;
  ImagePackage image;
  TRY(Package package, read_any(options, packed, image));
  TRY_VOID(hash_package(context, package));
  for (const PackageFile& file : package.files) TRY_VOID(upload_file(context, file));
  const Json order = order_of(options, package);
  Json version;
  {
    Progress progress(context.terminal, order.value("name", ""), os::monotonic_now());
    TRY(version, context.client.json({.method = "POST",
                                      .path = "/api/functions",
                                      .body = order.dump(-1, ' ', false, Json::error_handler_t::replace),
                                      .headers = {"Content-Type: application/json"},
                                      .wait_max = kDeployMax,
                                      .waiting = tell_builds(context, order.value("name", ""), progress)}));
  }
  if (!options.no_wait) { TRY(version, follow_version(context, std::move(version))); }
  return version;
}

namespace {

// A new one, or the one that is there with what the template says now.
Result<std::string> make_url(const Context& context, const SamFunction& function) {
  Call call{.method = "POST", .path = "/2021-10-31/functions/" + encode(function.name) + "/url", .body = function.url,
            .headers = {"Content-Type: application/json"}};
  TRY(HttpReply reply, context.client.call(call));
  if (reply.status == 409) {
    call.method = "PUT";
    TRY(reply, context.client.call(call));
  }
  const Json json = domain::parse_json<Json>(reply.body);
  if (!json.is_object()) return fail(Code::internal, "the node answers " + std::to_string(reply.status));
  if (reply.ok()) return json.value("FunctionUrl", "");
  return fail(Code::invalid_argument, json.value("message", json.value("Message", "the node answers " + std::to_string(reply.status))));
}

// Each function of a template; the first that can't be deployed ends it.
Result<void> deploy_template(const Context& context, const DeployOptions& options, const std::string& file) {
  if (!options.name.empty() || options.overrides.any())
    return fail(Code::invalid_argument, "'" + file + "' is a template of functions, which says their names and settings: give none here");
  TRY(const SamTemplate whole, read_sam(file));
  for (const std::string& note : whole.notes)
    std::fprintf(stderr, "%s: %s\n", context.terminal.paint(Tone::warn, "note").c_str(), printable(note).c_str());
  std::map<std::string, std::string> published;          // by their logical ids
  for (const SamLayer& layer : whole.layers) {
    TRY(const Json version, publish_layer_version(context, layer.name, layer.path, layer.description));
    published[layer.resource] = layer.name + ":" + std::to_string(version.value("version", 0));
    if (!context.json) std::fprintf(stderr, "layer %s\n", published[layer.resource].c_str());
  }
  for (const SamFunction& function : whole.functions) {
    DeployOptions one = options;
    one.path = function.path;
    one.name = function.name;
    one.overrides = {.memory = function.memory, .timeout = function.timeout, .runtime = function.runtime, .handler = function.handler,
                     .environment = function.environment};
    for (const SamLayerRef& layer : function.layers)
      one.overrides.layers.push_back(layer.resource.empty() ? layer.text : published.at(layer.resource));
    if (const auto done = deploy(context, one); !done) return fail(done.error().code, function.resource + ": " + done.error().message);
    if (function.url.empty()) continue;
    const auto url = make_url(context, function);
    if (!url) return fail(url.error().code, function.resource + ".FunctionUrlConfig: " + url.error().message);
    if (!context.json) print("  its URL: " + printable(*url) + "\n");
  }
  return {};
}

}  // namespace

Result<void> deploy(const Context& context, const DeployOptions& options) {
  if (const std::string file = find_sam(options.path); !file.empty()) return deploy_template(context, options, file);
  TRY(const Json version, deploy_version(context, options));
  if (context.json) print_json(version);
  else print_version(context, version, options);
  if (version.value("stage", "") == "failed")
    return fail(Code::internal, "version " + std::to_string(version.value("version", 0)) + " of '" + version.value("function", "") +
                                    "' failed: see 'mayfly logs " + version.value("function", "") + "'");
  return {};
}

}  // namespace mayfly::app
