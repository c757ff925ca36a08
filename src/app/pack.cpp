#include "app/pack.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "worker/archive.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kEndings = {".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"};
constexpr std::size_t kEntriesMax = 500'000;       // as the node unpacks

struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using worker::Archive;
using worker::reason_of;

std::unexpected<Error> wrong(std::string message) { return fail(Code::invalid_argument, std::move(message)); }

bool is_left_out(const fs::path& relative) {
  const std::string name = relative.filename().string();
  return (name.starts_with('.') && name != ".python_packages") || name == "__pycache__" || is_manifest(relative.string());
}

// Relative paths, sorted.
Result<std::vector<fs::path>> list(const fs::path& root) {
  std::vector<fs::path> paths;
  std::error_code error;
  fs::recursive_directory_iterator at(root, error), end;
  for (; !error && at != end; at.increment(error)) {
    const fs::path relative = at->path().lexically_relative(root);
    if (is_left_out(relative)) {
      if (at->is_directory() && !at->is_symlink()) at.disable_recursion_pending();
      continue;
    }
    if (paths.size() == kEntriesMax)
      return wrong("the folder '" + root.string() + "' has more than 500,000 entries: is it the right one?");
    paths.push_back(relative);
  }
  if (error) return wrong("the folder '" + root.string() + "' can't be read: " + error.message());
  std::ranges::sort(paths);
  return paths;
}

Result<void> copy_file(archive* out, const fs::path& path, std::uint64_t size) {
  TRY(const os::Fd file, open_file(path.string()));
  std::vector<char> block(256 * 1024);
  std::uint64_t done = 0;
  for (ssize_t got = 0; (got = ::read(file.get(), block.data(), block.size())) != 0; done += static_cast<std::uint64_t>(got)) {
    if (got < 0) return wrong("'" + path.string() + "' can't be read: check its permissions");
    if (archive_write_data(out, block.data(), static_cast<std::size_t>(got)) < 0)
      return wrong("'" + path.string() + "': " + reason_of(out));
  }
  if (done != size) return wrong("'" + path.string() + "' changed while it was read: deploy again once nothing writes it");
  return {};
}

Result<void> add(archive* out, const fs::path& root, const fs::path& relative) {
  const fs::path path = root / relative;
  std::error_code error;
  const fs::file_status what = fs::symlink_status(path, error);
  const bool runs = (what.permissions() & (fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec)) != fs::perms::none;
  const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), relative.c_str());
  std::uint64_t size = 0;
  if (fs::is_symlink(what)) {
    const fs::path to = fs::read_symlink(path, error);
    const fs::path below = (relative.parent_path() / to).lexically_normal();
    if (to.is_absolute() || below.empty() || *below.begin() == "..")
      return wrong("the link '" + path.string() + "' leaves the folder (to " + to.string() + "): put a copy in its place");
    archive_entry_set_filetype(entry.get(), AE_IFLNK);
    archive_entry_set_symlink(entry.get(), to.c_str());
  } else if (fs::is_directory(what)) {
    archive_entry_set_filetype(entry.get(), AE_IFDIR);
  } else if (fs::is_regular_file(what)) {
    size = fs::file_size(path, error);
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
  } else {
    return wrong("'" + path.string() + "' is neither a file nor a folder nor a link: remove it");
  }
  if (error) return wrong("'" + path.string() + "' can't be read: " + error.message());
  archive_entry_set_perm(entry.get(), runs ? 0755 : 0644);
  // A fixed time, after 1980, the first that zip knows: programs that ask for it see one, and the bytes stay the same.
  archive_entry_set_mtime(entry.get(), 499'162'500, 0);
  if (archive_write_header(out, entry.get()) < ARCHIVE_WARN) return wrong("'" + path.string() + "': " + reason_of(out));
  return fs::is_regular_file(what) ? copy_file(out, path, size) : Result<void>();
}

}  // namespace

Result<os::Fd> nameless_file() {
  const char* folder = std::getenv("TMPDIR");
  const std::string where = folder && *folder ? folder : "/tmp";
  os::Fd file(::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  std::string path = where + "/mayfly-package-XXXXXX";
  file = os::Fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) return fail(os::os_error("mkostemp", path));
  ::unlink(path.c_str());
  return file;
}

bool is_archive(const std::string& path) {
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return path.ends_with(ending); });
}

Result<Packed> pack_folder(const std::string& folder) {
  std::setlocale(LC_CTYPE, "C.UTF-8");  // else the library has no names for files beyond ASCII
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) return wrong("'" + folder + "' can't be opened: " + error.message());
  TRY(const std::vector<fs::path> paths, list(root));
  if (paths.empty()) return wrong("the folder '" + folder + "' is empty: put the function's code into it");
  Packed packed;
  TRY(packed.file, nameless_file());
  const Archive out(archive_write_new());
  archive_write_set_format_pax_restricted(out.get());
  archive_write_add_filter_zstd(out.get());
  archive_write_set_filter_option(out.get(), "zstd", "compression-level", "1");
  if (archive_write_open_fd(out.get(), packed.file.get()) != ARCHIVE_OK) return wrong(reason_of(out.get()));
  for (const fs::path& path : paths) TRY_VOID(add(out.get(), root, path));
  if (archive_write_close(out.get()) != ARCHIVE_OK) return wrong("the package can't be written: " + reason_of(out.get()));
  const off_t size = ::lseek(packed.file.get(), 0, SEEK_END);
  if (size < 0) return fail(os::os_error("lseek"));
  packed.entry = {.file = {.path = "package.tar.zst", .sha256 = {}, .size = {static_cast<std::uint64_t>(size)}, .archive = true},
                  .location = "/proc/self/fd/" + std::to_string(packed.file.get())};
  return packed;
}

Result<std::string> manifest_in(const std::string& path) {
  const auto opened = worker::open_archive(path);
  if (!opened) return wrong("'" + path + "' is neither a zip nor a tar archive, or is damaged: " + opened.error().message);
  archive* const in = opened->get();
  archive_entry* entry = nullptr;
  bool azure = false;
  while (archive_read_next_header(in, &entry) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    azure = azure || (name && (name == kAzureSign || name == "./" + std::string(kAzureSign)));
    if (!name || !is_manifest(name)) continue;
    std::string text(kManifestMax + 1, '\0');
    const la_ssize_t got = archive_read_data(in, text.data(), text.size());
    if (got < 0) return wrong("'" + path + "' is damaged: " + reason_of(in));
    if (static_cast<std::size_t>(got) > kManifestMax) return wrong(std::string(name) + " in '" + path + "' has more than 64 KiB");
    text.resize(static_cast<std::size_t>(got));
    return text;
  }
  return std::string(azure ? kAzureManifest : "");
}

}  // namespace mayfly::app
