#include "os/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>

namespace mayfly::os {
namespace {

Error disk_error(std::string_view call, const std::string& path) {
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
    return {Code::exhausted, "the disk is full: cannot write " + path + " (" + std::strerror(errno) +
                                 "); make room, or move the data directory to a larger disk"};
  if (errno == EEXIST) return {Code::conflict, std::string(call) + " " + path + ": it exists already"};
  if (errno == EROFS) return {Code::permission_denied, std::string(call) + " " + path + ": the file system is read-only"};
  return os_error(call, path);
}

Result<std::string> read_all(const Fd& fd, const std::string& path, Bytes size_max) {
  std::string text;
  char block[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(disk_error("read", path));
    if (got == 0) return text;
    text.append(block, static_cast<std::size_t>(got));
    if (text.size() > size_max.count) return fail(Code::invalid_argument, path + " is larger than " + to_text(size_max));
  }
}

}  // namespace

Result<Fd> open_file(const std::string& path, OpenMode mode) {
  const int flags = mode == OpenMode::read ? O_RDONLY : mode == OpenMode::read_write ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail(disk_error("open", path));
  return fd;
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(disk_error("write", path));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::string> read_at(const std::string& path, std::uint64_t offset, std::size_t size_max) {
  TRY(const Fd file, open_file(path, OpenMode::read));
  std::string bytes(size_max, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + size, bytes.size() - size, static_cast<off_t>(offset + size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(os_error("pread", path));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

Result<std::string> read_file(const std::string& path, Bytes size_max) {
  TRY(const Fd fd, open_file(path, OpenMode::read));
  return read_all(fd, path, size_max);
}

void start_writeback(int fd, std::uint64_t offset, std::uint64_t size) {
  ::sync_file_range(fd, static_cast<off64_t>(offset), static_cast<off64_t>(size), SYNC_FILE_RANGE_WRITE);
}

Result<void> sync_file(int fd, const std::string& path) {
  if (::fdatasync(fd) != 0) return fail(disk_error("fdatasync", path));
  return {};
}

Result<void> sync_folder(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(disk_error("open", path));
  if (::fsync(fd.get()) != 0) return fail(disk_error("fsync", path));
  return {};
}

Result<void> reserve_space(int fd, std::uint64_t size, const std::string& path) {
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size));  // does not set errno
  if (error == 0) return {};
  errno = error;
  return fail(disk_error("posix_fallocate", path));
}

Result<void> cut_file(int fd, std::uint64_t size, const std::string& path) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return fail(disk_error("ftruncate", path));
  return {};
}

Result<FileStatus> file_status(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return fail(disk_error("stat", path));
  return FileStatus{{static_cast<std::uint64_t>(status.st_size)},
                    {std::chrono::seconds(status.st_mtim.tv_sec) + std::chrono::microseconds(status.st_mtim.tv_nsec / 1000)}};
}

bool touch_file(const std::string& path) { return ::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0; }

Result<void> make_read_only(int fd, const std::string& path) {
  if (::fchmod(fd, 0400) != 0) return fail(disk_error("fchmod", path));
  return {};
}

Result<void> let_all_run(const std::string& path) {
  if (::chmod(path.c_str(), 0555) != 0) return fail(disk_error("chmod", path));
  return {};
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return fail(disk_error("rename", to));
  return {};
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail(disk_error("unlink", path));
  return {};
}

Result<void> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  struct stat status {};
  const int error = errno;
  if (error == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  if (error == EEXIST) return fail(Code::conflict, path + " is not a folder: name another, or move it away");
  errno = error;
  return fail(disk_error("mkdir", path));
}

bool is_there(const std::string& path) {
  struct stat what {};
  return ::lstat(path.c_str(), &what) == 0;
}

namespace {

Fd open_below(const std::string& folder, const std::string& path, std::uint64_t flags) {
  const Fd root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
}

}  // namespace

bool is_below(const std::string& folder, const std::string& path) {
  return static_cast<bool>(open_below(folder, path, O_PATH | O_NOFOLLOW));
}

Bytes size_below(const std::string& folder) {
  namespace fs = std::filesystem;
  Bytes all;
  std::set<std::pair<dev_t, ino_t>> several;              // those with other names
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    struct stat what {};
    if (::lstat(at->path().c_str(), &what) != 0 || !S_ISREG(what.st_mode)) continue;
    if (what.st_nlink > 1 && !several.emplace(what.st_dev, what.st_ino).second) continue;
    all.count += static_cast<std::uint64_t>(what.st_size);
  }
  return all;
}

std::vector<std::string> names_below(const std::string& folder, const std::string& path) {
  const Fd open = open_below(folder, path, O_RDONLY | O_DIRECTORY);
  if (!open) return {};
  return list_folder("/proc/self/fd/" + std::to_string(open.get())).value_or(std::vector<std::string>{});
}

Result<std::string> read_below(const std::string& folder, const std::string& path, Bytes size_max) {
  const Fd fd = open_below(folder, path, O_RDONLY | O_NONBLOCK);  // whatever it is, opening it must not wait
  struct stat what {};
  if (!fd || ::fstat(fd.get(), &what) != 0 || !S_ISREG(what.st_mode)) return fail(Code::not_found, "there is no file " + path);
  return read_all(fd, path, size_max);
}

Result<Fd> open_plain(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file) return fail(disk_error("open", path));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return fail(Code::not_found, "'" + path + "' is no file");
  return file;
}

Result<void> make_open_folder(const std::string& path) {
  TRY_VOID(make_folder(path));
  if (::chmod(path.c_str(), 0777) != 0) return fail(disk_error("chmod", path));
  return {};
}

Result<void> make_visible_folder(const std::string& path) {
  TRY_VOID(make_folder(path));
  if (::chmod(path.c_str(), 0755) != 0) return fail(disk_error("chmod", path));
  return {};
}

Result<void> close_folder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder) return fail(disk_error("open", path));
  if (::fchmod(folder.get(), 0755) != 0) return fail(disk_error("fchmod", path));
  // Its files are many, and a torn one would look whole: all that the file system holds goes to the disk.
  if (::syncfs(folder.get()) != 0) return fail(disk_error("syncfs", path));
  return {};
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) return fail(disk_error("opendir", path));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

Result<Fd> lock_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail(disk_error("open", path));
  char text[32] = {};
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(disk_error("flock", path));
    const ssize_t got = ::pread(fd.get(), text, sizeof text - 1, 0);
    std::string holder(text, static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(Code::conflict, "another node" + (holder.empty() ? std::string() : " (process " + holder + ")") + " holds " + path +
                                    ": stop it, or use another data directory");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  // A pid that can't be written costs a detail of a message, not the lock.
  if (::ftruncate(fd.get(), 0) == 0) [[maybe_unused]] const ssize_t written = ::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return fd;
}

}  // namespace mayfly::os
