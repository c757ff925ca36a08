#include "store/packages.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/assert.h"
#include "base/hex.h"
#include "base/units.h"
#include "os/disk.h"
#include "os/stack.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWork = "work-", kTaken = "taken-", kLayer = "layer-", kImage = "image-", kMerge = "merge-";
constexpr const char* kLayersFile = "/layers";               // of an image, or of what was merged: its layers' SHA-256, a line each
constexpr Bytes kLayersFileMax{64 * 1024};

void remove_tree(const std::string& path) {
  std::error_code ignored;  // what stays is removed at the next start
  fs::remove_all(path, ignored);
}

std::string lines_of(const std::vector<std::string>& layers) {
  std::string all;
  for (const std::string& layer : layers) all += layer + "\n";
  return all;
}

std::string name_of(std::string_view kind, const std::vector<std::string>& layers) {
  const std::string all = lines_of(layers);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), digest.data());
  return std::string(kind) + hex_of(digest);
}

}  // namespace

std::string layer_name(std::string_view sha256) { return std::string(kLayer).append(sha256); }

std::string image_name(const std::vector<std::string>& layers) {
  return name_of(kImage, layers);
}
std::string merge_name(const std::vector<std::string>& layers) { return name_of(kMerge, layers); }

Result<std::unique_ptr<Packages>> Packages::open(const std::string& folder) {
  auto packages = std::make_unique<Packages>(folder);
  TRY_VOID(os::make_folder(packages->folder_));
  TRY(const auto names, os::list_folder(packages->folder_));
  for (const std::string& name : names)
    if (name.starts_with(kWork) || name.starts_with(kTaken)) remove_tree(packages->folder_ + "/" + name);
  return packages;
}

bool Packages::has(std::string_view sha256) const { return os::is_there(path_of(sha256)); }

bool Packages::has_for_now(std::string_view sha256) const { return os::touch_file(path_of(sha256)); }

Result<std::string> Packages::read(std::string_view sha256, const std::string& path, Bytes size_max) const {
  return os::read_below(path_of(sha256), path, size_max);
}

Bytes Packages::size_of(std::string_view sha256) const {
  return os::size_below(path_of(sha256));
}

Result<void> Packages::add_place(std::string_view sha256, const std::string& name) const {
  const std::string path = path_of(sha256) + "/" + name;
  if (os::is_there(path)) return {};
  return os::make_visible_folder(path);
}

std::string Packages::path_of(std::string_view sha256) const { return folder_ + "/" + std::string(sha256); }

bool Packages::holds(std::string_view sha256, const std::string& path) const { return os::is_below(path_of(sha256), path); }

std::vector<std::string> Packages::names_in(std::string_view sha256, const std::string& folder) const {
  return os::names_below(path_of(sha256), folder);
}

Result<std::string> Packages::new_folder() {
  const std::string path = folder_ + "/" + std::string(kWork) + std::to_string(++made_);
  TRY_VOID(os::make_open_folder(path));  // whoever unpacks has an id of its own; `folder_` lets nobody else come here
  return path;
}

Result<void> Packages::adopt(const std::string& folder, std::string_view sha256) {
  TRY_VOID(os::close_folder(folder));
  if (has(sha256)) {
    drop(folder);
    return {};
  }
  TRY_VOID(os::rename_file(folder, path_of(sha256)));
  return os::sync_folder(folder_);
}

// A new folder whose root `fill` makes of others, and which says which.
Result<void> Packages::compose(const std::string& name, const std::vector<std::string>& layers,
                               const std::function<Result<void>(const std::string& root)>& fill) {
  if (has(name)) return {};
  TRY(const std::string folder, new_folder());
  const auto build = [&]() -> Result<void> {
    const std::string root = folder + kImageRoot;
    TRY_VOID(os::make_folder(root));
    TRY_VOID(fill(root));
    TRY_VOID(os::let_all_run(root));
    return os::replace_by_file(folder, kLayersFile + 1, lines_of(layers));
  };
  auto built = build();
  if (built) built = adopt(folder, name);
  else drop(folder);
  return built;
}

Result<void> Packages::stack(const std::vector<std::string>& layers) {
  return compose(image_name(layers), layers, [&](const std::string& root) -> Result<void> {
    std::vector<std::string> folders;
    for (const std::string& layer : layers) folders.push_back(path_of(layer_name(layer)));
    TRY_VOID(os::stack_folders(folders, root));
    for (const char* mounted : {"dev", "proc", "sys", "tmp", "run", "etc"}) TRY_VOID(os::replace_by_folder(root, mounted));
    TRY_VOID(os::replace_by_file(root + "/etc", "hosts", "127.0.0.1 localhost mayfly\n::1 localhost ip6-localhost\n"));
    return os::replace_by_file(root + "/etc", "resolv.conf", "");
  });
}

Result<void> Packages::merge(const std::vector<std::string>& layers) {
  return compose(merge_name(layers), layers, [&](const std::string& root) {
    std::vector<std::string> folders;
    for (const std::string& layer : layers) folders.push_back(path_of(layer));
    return os::merge_folders(folders, root);
  });
}

void Packages::drop(const std::string& folder) {
  ASSERT(folder.starts_with(folder_ + "/"), "only what new_folder() made is dropped");
  remove_tree(folder);
}

std::vector<std::string> Packages::names() const {
  auto names = os::list_folder(folder_);
  if (!names) return {};
  std::erase_if(*names, [](const std::string& name) { return name.starts_with(kWork) || name.starts_with(kTaken); });
  return *std::move(names);
}

// What it was unpacked from. None: nobody knows, and it is made again.
std::vector<std::string> Packages::archives_of(const std::string& name) const {
  if (name.starts_with(kLayer)) return {name.substr(kLayer.size())};
  if (!name.starts_with(kImage) && !name.starts_with(kMerge)) return {name};
  const auto text = os::read_file(path_of(name) + kLayersFile, kLayersFileMax);
  std::vector<std::string> layers;
  for (std::size_t at = 0, end = 0; text && (end = text->find('\n', at)) != text->npos; at = end + 1)
    layers.push_back(text->substr(at, end - at));
  return layers.empty() ? std::vector<std::string>{""} : layers;
}

void Packages::take_away(const std::string& sha256) {
  static_cast<void>(os::rename_file(path_of(sha256), folder_ + "/" + std::string(kTaken) + std::to_string(++made_)).has_value());
}

void Packages::remove_taken() {
  const auto names = os::list_folder(folder_);
  if (!names) return;
  for (const std::string& name : *names)
    if (name.starts_with(kTaken)) remove_tree(folder_ + "/" + name);
}

}  // namespace mayfly::store
