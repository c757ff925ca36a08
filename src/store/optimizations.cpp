#include "store/optimizations.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "os/disk.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWork = "/work";
constexpr const char* kSamples = "samples";

}  // namespace

std::string Optimizations::folder_of(VersionId version) const { return folder_ + "/" + std::to_string(version.number); }

Result<std::string> Optimizations::open_work(VersionId version) const {
  const std::string work = folder_of(version) + kWork;
  TRY_VOID(os::make_folder(folder_));
  TRY_VOID(os::make_folder(folder_of(version)));
  TRY_VOID(os::make_open_folder(work));
  // Nobody runs in it now. Directories that are links are not walked into, and a link's own mode is nobody's concern.
  std::error_code error;
  for (fs::recursive_directory_iterator at(work, error), end; !error && at != end; at.increment(error)) {
    const fs::file_status status = at->symlink_status(error);
    if (error) break;
    if (fs::is_directory(status)) fs::permissions(at->path(), fs::perms(0777), error);
    else if (fs::is_regular_file(status)) fs::permissions(at->path(), fs::perms(0666), error);
  }
  if (error) return fail(Code::internal, "'" + work + "' can't be opened to its next search: " + error.message());
  return work;
}

Result<void> Optimizations::keep_samples(VersionId version, const std::string& artifact, const std::string& ending) const {
  TRY_VOID(os::make_folder(folder_));
  TRY_VOID(os::make_folder(folder_of(version)));
  const std::string place = folder_of(version) + "/" + kSamples + ending;
  TRY_VOID(os::remove_file(place));
  std::error_code error;
  fs::create_hard_link(artifact, place, error);
  if (error) return fail(Code::internal, "the samples can't be kept at '" + place + "': " + error.message());
  return {};
}

std::string Optimizations::samples_of(VersionId version) const {
  const auto names = os::list_folder(folder_of(version));
  if (!names) return "";
  const auto found = std::ranges::find_if(*names, [](const std::string& name) { return name.starts_with(kSamples); });
  return found == names->end() ? "" : folder_of(version) + "/" + *found;
}

bool Optimizations::has(VersionId version, const std::string& name) const {
  return os::open_plain(folder_of(version) + kWork + "/" + name).has_value();
}

Result<domain::FileRef> Optimizations::take(VersionId version, const std::string& name, Artifacts& into) const {
  const std::string path = folder_of(version) + kWork + "/" + name;
  TRY(const os::Fd file, os::open_plain(path));
  TRY(const auto upload, into.begin());
  std::vector<std::byte> bytes(1 << 20);
  for (;;) {
    const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(os::os_error("read", path));
    if (got == 0) return upload->finish();
    TRY_VOID(upload->append(std::span(bytes).first(static_cast<std::size_t>(got))));
  }
}

void Optimizations::drop(VersionId version) const {
  std::error_code error;
  fs::remove_all(folder_of(version), error);  // links are removed, not followed
}

void Optimizations::drop_others(const std::vector<VersionId>& kept) const {
  const auto names = os::list_folder(folder_);
  if (!names) return;
  for (const std::string& name : *names) {
    const bool wanted = std::ranges::any_of(kept, [&](VersionId id) { return std::to_string(id.number) == name; });
    std::error_code error;
    if (!wanted) fs::remove_all(folder_ + "/" + name, error);
  }
}

}  // namespace mayfly::store
