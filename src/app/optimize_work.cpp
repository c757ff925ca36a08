#include "app/optimize_work.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "domain/json.h"
#include "os/digest.h"
#include "os/disk.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kState = "state.json";
constexpr Bytes kStateMax = 16_MiB;
constexpr const char* kCompiledEnding = ".ort";

std::string name_of(const std::string& output) { return fs::path(output).filename().string(); }

Result<void> write_file(const std::string& path, const std::string& text) {
  const std::string part = path + ".part";
  TRY_VOID(os::remove_file(part));
  TRY(const os::Fd file, os::open_file(part, os::OpenMode::create_new));
  TRY_VOID(os::write_all(file.get(), std::as_bytes(std::span(text)), part));
  TRY_VOID(os::sync_file(file.get(), part));
  return os::rename_file(part, path);
}

}  // namespace

OptimizeWork::OptimizeWork(std::string output, std::string key, os::Fd lock)
    : output_(std::move(output)), key_(std::move(key)), lock_(std::move(lock)) {
  folder_ = (fs::path(output_).parent_path() / ("." + name_of(output_) + ".optimize")).string();
}

Result<OptimizeWork> OptimizeWork::open(const std::string& output, const std::string& key) {
  const std::string folder = (fs::path(output).parent_path() / ("." + name_of(output) + ".optimize")).string();
  TRY_VOID(os::make_folder(folder));
  auto lock = os::lock_file(folder + "/lock");
  if (!lock) {
    if (lock.error().code != Code::conflict) return fail(lock.error());
    return fail(Code::conflict, "another 'mayfly optimize' is making '" + output + "': wait for it, or name another output with -o");
  }
  OptimizeWork work(output, key, std::move(*lock));
  const auto text = os::read_file(folder + "/" + kState, kStateMax);
  const Json state = text ? domain::parse_json<Json>(*text) : Json();
  if (state.is_object() && state.value("key", "") == key) {
    for (const Json& json : state.value("rows", Json::array()))
      if (auto row = row_from_json(json)) work.done_.push_back(std::move(*row));
    return work;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename() != "lock") fs::remove_all(entry.path(), error);
  return work;
}

OptimizeWork::~OptimizeWork() {
  std::error_code error;
  if (lock_ && !stays_) fs::remove_all(folder_, error);
}

Result<void> OptimizeWork::keep(const OptimizeRow& row) {
  std::erase_if(done_, [&](const OptimizeRow& other) { return other.recipe == row.recipe; });
  done_.push_back(row);
  Json rows = Json::array();
  for (const OptimizeRow& each : done_) rows.push_back(to_json(each));
  return write_file(folder_ + "/" + kState, Json{{"key", key_}, {"rows", std::move(rows)}}.dump());
}

Result<std::string> OptimizeWork::folder_of(const std::string& recipe) const {
  const std::string folder = folder_ + "/" + os::sha256_hex(recipe).substr(0, 16);
  TRY_VOID(os::make_folder(folder));
  return folder;
}

std::string OptimizeWork::model_of(const std::string& recipe) const {
  return folder_ + "/" + os::sha256_hex(recipe).substr(0, 16) + "/" + name_of(output_);
}

std::string OptimizeWork::compiled_of(const std::string& recipe) const {
  return fs::path(model_of(recipe)).replace_extension(kCompiledEnding).string();
}

Result<void> OptimizeWork::take(const std::string& recipe, const std::string& original) {
  const std::string model = model_of(recipe), data = model + ".data", compiled = compiled_of(recipe);
  std::error_code error;
  const fs::perms as_original = fs::status(original, error).permissions();
  for (const std::string& path : {model, data, compiled})
    if (!error && os::is_there(path)) fs::permissions(path, as_original, error);
  if (error) return fail(Code::internal, "'" + model + "' can't get the permissions of the original: " + error.message());
  TRY_VOID(os::remove_file(output_ + ".data"));  // of an older model by this name, which is replaced
  if (os::is_there(data)) TRY_VOID(os::rename_file(data, output_ + ".data"));
  TRY_VOID(os::rename_file(model, output_));
  if (os::is_there(compiled)) TRY_VOID(os::rename_file(compiled, fs::path(output_).replace_extension(kCompiledEnding).string()));
  return {};
}

void OptimizeWork::forget_files(const std::string& recipe) const {
  std::error_code error;
  fs::remove_all(folder_ + "/" + os::sha256_hex(recipe).substr(0, 16), error);
}

}  // namespace mayfly::app
