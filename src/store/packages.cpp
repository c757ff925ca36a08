#include "store/packages.h"

#include <algorithm>
#include <filesystem>

#include "base/assert.h"
#include "os/disk.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWork = "work-", kTaken = "taken-";

void remove_tree(const std::string& path) {
  std::error_code ignored;  // what stays is removed at the next start
  fs::remove_all(path, ignored);
}

}  // namespace

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
