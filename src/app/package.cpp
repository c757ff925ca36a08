#include "app/package.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <sstream>

#include "base/hex.h"
#include "domain/link.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr std::array kManifestNames = {"function.yaml", "function.yml", "function.json"};
constexpr int kDepthMax = 16;

std::unexpected<Error> wrong(std::string message) { return fail(Code::internal, std::move(message)); }

Result<std::string> read_manifest(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return wrong("'" + path.string() + "' can't be read: " + error.message());
  if (size > kManifestMax) return wrong("'" + path.string() + "' has " + to_text(Bytes{size}) + ": a manifest has at most 64 KiB");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return wrong("'" + path.string() + "' can't be read: check its permissions");
  return text.str();
}

bool inside(const fs::path& root, const fs::path& path) {
  const auto [end, at] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return end == root.end();
}

Result<void> add_file(Package& package, const fs::path& location, const std::string& name) {
  if (package.files.size() >= domain::kFilesMax)
    return wrong("the folder has more than " + std::to_string(domain::kFilesMax) + " files: keep only the model and what it reads in it");
  if (name.size() >= domain::kPathMax)
    return wrong("the path '" + name + "' has " + std::to_string(name.size()) + " bytes: at most " + std::to_string(domain::kPathMax - 1) +
                 " are allowed");
  std::error_code error;
  const auto size = fs::file_size(location, error);
  if (error) return wrong("'" + location.string() + "' can't be read: " + error.message());
  package.files.push_back({.file = {.path = name, .sha256 = {}, .size = {size}}, .location = location.string()});
  package.size.count += size;
  return {};
}

// Links are followed only to what lies inside the folder, and only to files.
Result<void> add_entry(Package& package, const fs::path& root, const fs::directory_entry& entry, const std::string& name) {
  std::error_code error;
  if (entry.is_symlink(error)) {
    const fs::path target = fs::canonical(entry.path(), error);
    if (error) return wrong("the link '" + entry.path().string() + "' points nowhere: " + error.message() + ": remove it");
    if (!inside(root, target))
      return wrong("the link '" + entry.path().string() + "' leaves the folder (to " + target.string() + "): put a copy in its place");
    if (fs::is_directory(target, error))
      return wrong("the link '" + entry.path().string() + "' points to a folder: put a copy in its place");
  }
  if (!entry.is_regular_file(error)) return wrong("'" + entry.path().string() + "' is neither a file nor a folder: remove it");
  return add_file(package, entry.path(), name);
}

Result<void> add_folder(Package& package, const fs::path& root, const fs::path& folder, const std::string& prefix, int depth) {
  if (depth > kDepthMax) return wrong("'" + folder.string() + "' is more than " + std::to_string(kDepthMax) + " folders deep: flatten it");
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with('.')) continue;
    if (entries.size() >= 10'000) return wrong("'" + folder.string() + "' has more than 10,000 entries: is it the right folder?");
    entries.push_back(*at);
  }
  if (error) return wrong("the folder '" + folder.string() + "' can't be read: " + error.message());
  std::sort(entries.begin(), entries.end());
  for (const auto& entry : entries) {
    const std::string name = prefix + entry.path().filename().string();
    if (is_manifest(name)) continue;
    if (entry.is_directory(error) && !entry.is_symlink(error)) {
      if (entry.path().filename() == "__pycache__") continue;
      TRY_VOID(add_folder(package, root, entry.path(), name + "/", depth + 1));
    } else {
      TRY_VOID(add_entry(package, root, entry, name));
    }
  }
  return {};
}

}  // namespace

bool is_manifest(std::string_view name) { return std::find(kManifestNames.begin(), kManifestNames.end(), name) != kManifestNames.end(); }

Result<Package> read_package(const std::string& path) {
  std::error_code error;
  const fs::path at = fs::canonical(path, error);
  if (error) return wrong("'" + path + "' can't be opened: " + error.message() + ": name a model file or a folder with function.yaml");
  Package package;
  if (fs::is_regular_file(at, error)) {
    if (is_manifest(at.filename().string()))
      return read_package(at.parent_path().string());
    TRY_VOID(add_file(package, at, fs::path(path).filename().string()));
    return package;
  }
  if (!fs::is_directory(at, error))
    return wrong("'" + path + "' is neither a file nor a folder: name a model file or a folder with function.yaml");
  for (const char* name : kManifestNames) {
    if (!fs::exists(at / name, error)) continue;
    TRY(package.manifest, read_manifest(at / name));
    break;
  }
  TRY_VOID(add_folder(package, at, at, "", 0));
  if (package.files.empty()) return wrong("the folder '" + path + "' has no model: put model.onnx into it, beside function.yaml");
  return package;
}

Result<std::string> read_manifest_of(const std::string& path) {
  std::error_code error;
  for (const char* name : kManifestNames)
    if (fs::path at = fs::path(path) / name; fs::is_regular_file(at, error)) return read_manifest(at);
  return std::string(fs::is_regular_file(fs::path(path) / kAzureSign, error) ? kAzureManifest : "");
}

Result<os::Fd> open_file(const std::string& location) {
  os::Fd file(::open(location.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) return wrong("'" + location + "' can't be opened: " + std::strerror(errno));
  return file;
}

Result<std::string> hash_file(int file, const std::function<void(std::uint64_t)>& progress) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return wrong("SHA-256 is not available: is OpenSSL installed completely?");
  std::string buffer(256 * 1024, '\0');
  std::uint64_t done = 0;
  while (true) {
    const ssize_t count = ::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return wrong(std::string("the file can't be read: ") + std::strerror(errno));
    if (count == 0) break;
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(count));
    done += static_cast<std::uint64_t>(count);
    progress(done);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  return hex_of(std::span(digest).first(size));
}

Result<std::string> with_overrides(const std::string& manifest, const Overrides& overrides) {
  if (!overrides.any()) return manifest;
  try {
    YAML::Node root = manifest.empty() ? YAML::Node(YAML::NodeType::Map) : YAML::Load(manifest);
    if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) return wrong("the manifest is not a mapping: write 'key: value' lines");
    if (overrides.min) root["scaling"]["min"] = *overrides.min;
    if (overrides.max) root["scaling"]["max"] = *overrides.max;
    if (!overrides.memory.empty()) root["resources"]["memory"] = overrides.memory;
    if (!overrides.timeout.empty()) root["resources"]["timeout"] = overrides.timeout;
    if (!overrides.runtime.empty()) root["runtime"] = overrides.runtime;
    if (!overrides.handler.empty()) root["handler"] = overrides.handler;
    if (!overrides.target.empty()) root["handler"] = overrides.target;
    if (!overrides.signature.empty()) root["environment"]["FUNCTION_SIGNATURE_TYPE"] = overrides.signature;
    for (const auto& [name, value] : overrides.environment) root["environment"][name] = value;
    if (!overrides.layers.empty()) root["layers"] = overrides.layers;
    YAML::Emitter out;
    out << root;
    return std::string(out.c_str()) + "\n";
  } catch (const YAML::Exception& e) { return wrong("the manifest is not YAML: " + std::string(e.what())); }
}

}  // namespace mayfly::app
