#include "worker/unpack.h"

#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "os/fd.h"
#include "worker/archive.h"

namespace mayfly::worker {
namespace {

constexpr std::size_t kPathMax = 4000;
constexpr int kDepthMax = 100;

std::unexpected<Error> refuse(std::string what) { return fail(Code::invalid_argument, "the package was not unpacked: " + std::move(what)); }

std::unexpected<Error> not_an_archive(const std::string& reason) {
  return refuse("it is neither a zip nor a tar archive, or is damaged (" + reason + ")");
}

std::string in_quotes(std::string_view path) { return "'" + std::string(path.substr(0, 200)) + "'"; }

// Of a path, how deep it ends below the folder; below 0 where it leaves it on the way.
int depth_of(std::string_view path, int depth) {
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    if (part == "..") --depth;
    else if (!part.empty() && part != ".") ++depth;
    if (depth < 0) return -1;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return depth;
}

Result<void> check_path(std::string_view path, std::string_view what) {
  if (path.starts_with('/') || depth_of(path, 0) < 0 || path.find("/../") != path.npos || path.starts_with("../") || path.ends_with("/.."))
    return refuse(std::string(what) + " " + in_quotes(path) + " leads out of the package");
  if (path.size() > kPathMax || depth_of(path, 0) > kDepthMax) return refuse("the path " + in_quotes(path) + "… is too long or too deep");
  return {};
}

// What it may be, and where it leads.
Result<void> check_entry(archive_entry* entry, std::string_view path, bool layer) {
  TRY_VOID(check_path(path, "the path"));
  if (const char* to = archive_entry_hardlink(entry)) return check_path(to, "the hard link " + in_quotes(path) + " to");
  const auto kind = archive_entry_filetype(entry);
  if (kind == AE_IFREG || kind == AE_IFDIR) return {};
  if (kind != AE_IFLNK) return refuse(in_quotes(path) + " is a device, a socket or a pipe: a package has files, folders and links");
  if (layer) return {};                               // nothing is written through it, here or when layers are stacked
  const char* text = archive_entry_symlink(entry);
  const std::string_view to = text ? text : "";
  const std::size_t slash = path.rfind('/');
  const int depth = slash == path.npos ? 0 : depth_of(path.substr(0, slash), 0);
  if (to.empty() || to.starts_with('/') || depth_of(to, depth) < 0)
    return refuse("the link " + in_quotes(path) + " leads out of the package, to " + in_quotes(to));
  return {};
}

// Everybody may read it; what ran as a program still does. AWS's custom runtimes are started by this name.
void set_mode(archive_entry* entry, std::string_view path) {
  const bool runs = (archive_entry_perm(entry) & 0111) != 0 || archive_entry_filetype(entry) == AE_IFDIR || path == "bootstrap";
  archive_entry_set_perm(entry, runs ? 0755 : 0644);
}

class Unpacker {
 public:
  Unpacker(Archive in, const UnpackLimits& limits) : limits_(limits), in_(std::move(in)), out_(archive_write_disk_new()) {}

  Result<void> run() {
    archive_write_disk_set_options(out_.get(), ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                                   ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
    archive_entry* entry = nullptr;
    int got = 0;
    while ((got = archive_read_next_header(in_.get(), &entry)) != ARCHIVE_EOF) {
      if (got < ARCHIVE_WARN) return not_an_archive(reason_of(in_.get()));
      TRY_VOID(take(entry));
    }
    if (entries_ == 0 && !limits_.layer) return refuse("it is empty: put the function's files into it");
    if (archive_write_close(out_.get()) != ARCHIVE_OK) return refuse(reason_of(out_.get()));
    return {};
  }

 private:
  Result<void> take(archive_entry* entry) {
    const char* utf8 = archive_entry_pathname_utf8(entry);
    const char* text = utf8 ? utf8 : archive_entry_pathname(entry);
    if (!text) return refuse("an entry has no name that can be read");
    std::string path = text;
    while (path.starts_with("./")) path.erase(0, path.find_first_not_of('/', 1));
    while (path.ends_with('/')) path.pop_back();
    if (path.empty() || path == ".") return {};
    if (++entries_ > limits_.entries_max) return refuse("it has more than " + std::to_string(limits_.entries_max) + " entries");
    TRY_VOID(check_entry(entry, path, limits_.layer));
    archive_entry_copy_pathname(entry, path.c_str());
    set_mode(entry, path);
    if (archive_write_header(out_.get(), entry) < ARCHIVE_WARN) return refuse(in_quotes(path) + ": " + reason_of(out_.get()));
    if (archive_entry_filetype(entry) == AE_IFREG) TRY_VOID(copy(path));
    if (archive_write_finish_entry(out_.get()) < ARCHIVE_WARN) return refuse(in_quotes(path) + ": " + reason_of(out_.get()));
    return {};
  }

  Result<void> copy(const std::string& path) {
    std::uint64_t end = 0;
    for (;;) {
      const void* block = nullptr;
      std::size_t size = 0;
      la_int64_t at = 0;
      const int got = archive_read_data_block(in_.get(), &block, &size, &at);
      if (got == ARCHIVE_EOF) break;
      if (got < ARCHIVE_WARN) return refuse(in_quotes(path) + " is damaged: " + reason_of(in_.get()));
      end = std::max(end, static_cast<std::uint64_t>(at) + size);
      if (bytes_ + end > limits_.bytes_max)
        return fail(Code::exhausted, "the package was not unpacked: it holds more than the " + to_text(Bytes{limits_.bytes_max}) +
                                         " that an archive of its size may: is it one made to fill disks?");
      if (archive_write_data_block(out_.get(), block, size, at) < ARCHIVE_WARN)
        return refuse(in_quotes(path) + ": " + reason_of(out_.get()));
    }
    bytes_ += end;
    return {};
  }

  const UnpackLimits limits_;
  const Archive in_, out_;
  std::uint64_t entries_ = 0, bytes_ = 0;
};

}  // namespace

Result<void> unpack_archive(const std::string& archive, const std::string& folder, const UnpackLimits& limits) {
  std::setlocale(LC_CTYPE, "C.UTF-8");  // else the library has no names for files beyond ASCII
  ::umask(0022);
  if (::chdir(folder.c_str()) != 0) return fail(os::os_error("chdir", folder));
  auto in = open_archive(archive);
  if (!in) return not_an_archive(in.error().message);
  return Unpacker(std::move(*in), limits).run();
}

}  // namespace mayfly::worker
