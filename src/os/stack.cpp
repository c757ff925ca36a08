#include "os/stack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "os/disk.h"
#include "os/fd.h"

namespace mayfly::os {
namespace {

constexpr int kDepthMax = 128;                        // deeper than what is unpacked; each level holds two descriptors
constexpr std::string_view kGone = ".wh.", kGoneAll = ".wh..wh..opq", kOther = ".wh..wh.";
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

std::unexpected<Error> wrong(std::string what) {
  return fail(Code::invalid_argument, "the layers can't be stacked: " + std::move(what));
}

Result<Fd> open_in(const Fd& folder, const std::string& name) {
  Fd fd(::openat(folder.get(), name.c_str(), kFolder));
  if (!fd) return fail(os_error("open", name));
  return fd;
}

Result<Fd> open_top(const std::string& path) {
  Fd fd(::open(path.c_str(), kFolder));
  if (!fd) return fail(os_error("open", path));
  return fd;
}

Result<std::vector<std::string>> names_in(const Fd& folder) { return list_folder("/proc/self/fd/" + std::to_string(folder.get())); }

// With all that is in it; fine where it is not there.
Result<void> remove_in(const Fd& folder, const std::string& name, int depth = 0) {
  if (depth > kDepthMax) return wrong("'" + name.substr(0, 200) + "' is too deep");
  if (::unlinkat(folder.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail(os_error("unlink", name));
  {
    TRY(const Fd below, open_in(folder, name));
    TRY(const auto names, names_in(below));
    for (const std::string& each : names) TRY_VOID(remove_in(below, each, depth + 1));
  }
  if (::unlinkat(folder.get(), name.c_str(), AT_REMOVEDIR) != 0) return fail(os_error("rmdir", name));
  return {};
}

Result<void> make_folder_in(const Fd& into, const std::string& name) {
  struct stat what {};
  if (::fstatat(into.get(), name.c_str(), &what, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISDIR(what.st_mode)) return {};
    TRY_VOID(remove_in(into, name));
  }
  if (::mkdirat(into.get(), name.c_str(), 0755) != 0) return fail(os_error("mkdir", name));
  if (::fchmodat(into.get(), name.c_str(), 0755, 0) != 0) return fail(os_error("chmod", name));  // whatever the umask
  return {};
}

Result<void> copy_file(const Fd& from, const Fd& into, const std::string& name, const struct stat& what) {
  const Fd in(::openat(from.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  const Fd out(::openat(into.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!in || !out) return fail(os_error("open", name));
  std::vector<std::byte> block(256 * 1024);
  for (ssize_t got = 0; (got = ::read(in.get(), block.data(), block.size())) != 0;) {
    if (got < 0) return fail(os_error("read", name));
    TRY_VOID(write_all(out.get(), std::span(block).first(static_cast<std::size_t>(got)), name));
  }
  const std::array<timespec, 2> times{what.st_atim, what.st_mtim};
  if (::futimens(out.get(), times.data()) != 0 || ::fchmod(out.get(), what.st_mode & 0777) != 0) return fail(os_error("fchmod", name));
  return {};
}

Result<void> copy_link(const Fd& from, const Fd& into, const std::string& name) {
  std::array<char, PATH_MAX> text{};
  const ssize_t size = ::readlinkat(from.get(), name.c_str(), text.data(), text.size() - 1);
  if (size < 0) return fail(os_error("readlink", name));
  if (::symlinkat(text.data(), into.get(), name.c_str()) != 0) return fail(os_error("symlink", name));
  return {};
}

Result<void> put(const Fd& from, const Fd& into, const std::string& name, const struct stat& what) {
  TRY_VOID(remove_in(into, name));
  if (::linkat(from.get(), name.c_str(), into.get(), name.c_str(), 0) == 0) return {};
  if (errno != EXDEV && errno != EMLINK && errno != EPERM) return fail(os_error("link", name));
  return S_ISLNK(what.st_mode) ? copy_link(from, into, name) : copy_file(from, into, name, what);
}

Result<void> take_away(const Fd& into, const std::vector<std::string>& names) {
  if (std::ranges::binary_search(names, kGoneAll)) {
    TRY(const auto all, names_in(into));
    for (const std::string& each : all) TRY_VOID(remove_in(into, each));
  }
  for (const std::string& name : names) {
    if (!name.starts_with(kGone) || name.starts_with(kOther)) continue;
    const std::string gone = name.substr(kGone.size());
    if (gone.empty() || gone == "." || gone == "..") return wrong("the whiteout '" + name + "' names no file");
    TRY_VOID(remove_in(into, gone));
  }
  return {};
}

Result<void> apply(const Fd& layer, const Fd& into, bool whiteouts, int depth) {
  if (depth > kDepthMax) return wrong("folders are more than " + std::to_string(kDepthMax) + " deep");
  TRY(const auto names, names_in(layer));
  if (whiteouts) TRY_VOID(take_away(into, names));
  for (const std::string& name : names) {
    if (whiteouts && name.starts_with(kGone)) continue;
    struct stat what {};
    if (::fstatat(layer.get(), name.c_str(), &what, AT_SYMLINK_NOFOLLOW) != 0) return fail(os_error("stat", name));
    if (S_ISDIR(what.st_mode)) {
      TRY_VOID(make_folder_in(into, name));
      TRY(const Fd from, open_in(layer, name));
      TRY(const Fd to, open_in(into, name));
      TRY_VOID(apply(from, to, whiteouts, depth + 1));
    } else if (S_ISREG(what.st_mode) || S_ISLNK(what.st_mode)) {
      TRY_VOID(put(layer, into, name, what));
    } else {
      return wrong("'" + name.substr(0, 200) + "' is neither a file, a folder nor a link");
    }
  }
  return {};
}

Result<void> apply_all(const std::vector<std::string>& layers, const std::string& into, bool whiteouts) {
  TRY(const Fd to, open_top(into));
  for (const std::string& layer : layers) {
    TRY(const Fd from, open_top(layer));
    TRY_VOID(apply(from, to, whiteouts, 0));
  }
  return {};
}

}  // namespace

Result<void> stack_folders(const std::vector<std::string>& layers, const std::string& into) { return apply_all(layers, into, true); }
Result<void> merge_folders(const std::vector<std::string>& layers, const std::string& into) { return apply_all(layers, into, false); }

Result<void> replace_by_folder(const std::string& root, const std::string& name) {
  TRY(const Fd folder, open_top(root));
  return make_folder_in(folder, name);
}

Result<void> replace_by_file(const std::string& root, const std::string& name, const std::string& text) {
  TRY(const Fd folder, open_top(root));
  TRY_VOID(remove_in(folder, name));
  const Fd file(::openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file) return fail(os_error("open", name));
  TRY_VOID(write_all(file.get(), std::as_bytes(std::span(text)), name));
  if (::fchmod(file.get(), 0644) != 0) return fail(os_error("fchmod", name));
  return {};
}

}  // namespace mayfly::os
