#include "os/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

namespace mayfly::os {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;
constexpr std::size_t kFoldersMax = 1000;

}  // namespace

Result<FolderWatch> FolderWatch::create(const std::string& folder, std::string_view left_out) {
  Fd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return fail(os_error("inotify_init1"));
  FolderWatch watch(std::move(fd), folder, std::string(left_out));
  TRY_VOID(watch.watch_folders());
  return watch;
}

// Again for those that are watched already, which changes nothing.
Result<void> FolderWatch::watch_folders() {
  if (::inotify_add_watch(fd_.get(), folder_.c_str(), kEvents) < 0) return fail(os_error("inotify_add_watch", folder_));
  std::error_code error;
  std::size_t count = 1;
  for (fs::recursive_directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    if (!at->is_directory(error) || at->is_symlink(error)) continue;
    if (is_left_out(at->path().filename().string())) {
      at.disable_recursion_pending();
      continue;
    }
    if (++count > kFoldersMax) return fail(Code::exhausted, "'" + folder_ + "' has more than 1000 folders: too many to watch");
    static_cast<void>(::inotify_add_watch(fd_.get(), at->path().c_str(), kEvents));  // removed meanwhile: an event says so
  }
  return {};
}

bool FolderWatch::take() {
  bool changed = false, folders = false;
  alignas(inotify_event) std::array<char, 16 * 1024> bytes;
  for (ssize_t size = 0; (size = ::read(fd_.get(), bytes.data(), bytes.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event{};
      std::memcpy(&event, bytes.data() + at, sizeof event);
      const std::string_view name = event.len > 0 ? std::string_view(bytes.data() + at + sizeof event) : std::string_view();
      at += sizeof event + event.len;
      const bool folder = (event.mask & IN_ISDIR) != 0;
      if ((event.mask & IN_IGNORED) || is_left_out(name)) continue;
      if ((event.mask & IN_CREATE) && !folder) continue;  // it is written and closed next
      folders = folders || folder;
      changed = true;
    }
  }
  if (folders) static_cast<void>(watch_folders());
  return changed;
}

}  // namespace mayfly::os
