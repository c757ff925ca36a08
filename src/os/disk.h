// Files as the store needs them: what is said to be on disk is on disk, and a full disk is one Error
// (Code::exhausted) that names the file and what to do. Blocking: called on a pool thread, or at start.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "os/fd.h"

namespace mayfly::os {

enum class OpenMode {
  read,
  read_write,   // exists
  create_new,   // for writing and reading; conflict where it exists
};

struct FileStatus {
  Bytes size;
  WallTime changed;  // of its bytes, or touch()
};

[[nodiscard]] Result<Fd> open_file(const std::string& path, OpenMode mode);
[[nodiscard]] Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path);
[[nodiscard]] Result<std::string> read_file(const std::string& path, Bytes size_max);
[[nodiscard]] Result<std::string> read_at(const std::string& path, std::uint64_t offset, std::size_t size_max);  // "" behind its end
// Asks the kernel to begin writing this part to the disk, without waiting: a later sync is short.
void start_writeback(int fd, std::uint64_t offset, std::uint64_t size);
[[nodiscard]] Result<void> sync_file(int fd, const std::string& path);
[[nodiscard]] Result<void> sync_folder(const std::string& path);  // entries made, renamed and removed in it
// Space for so many bytes, zero: a mapping of it can't meet a full disk later.
[[nodiscard]] Result<void> reserve_space(int fd, std::uint64_t size, const std::string& path);
[[nodiscard]] Result<void> cut_file(int fd, std::uint64_t size, const std::string& path);

[[nodiscard]] Result<FileStatus> file_status(const std::string& path);  // not_found where there is none
bool touch_file(const std::string& path);                               // false where there is none
[[nodiscard]] Result<void> make_read_only(int fd, const std::string& path);
// Everybody may read it, and run it as a program.
[[nodiscard]] Result<void> let_all_run(const std::string& path);
[[nodiscard]] Result<void> rename_file(const std::string& from, const std::string& to);
[[nodiscard]] Result<void> remove_file(const std::string& path);        // fine where there is none
[[nodiscard]] Result<void> make_folder(const std::string& path);        // fine where it is; readable by its owner only
[[nodiscard]] Result<std::vector<std::string>> list_folder(const std::string& path);  // names, sorted, without "." and ".."

[[nodiscard]] bool is_there(const std::string& path);                   // whatever it is; a link is not followed
// In a stranger's folder, whose links may lead anywhere: what lies outside is not there.
[[nodiscard]] bool is_below(const std::string& folder, const std::string& path);
[[nodiscard]] Bytes size_below(const std::string& folder);  // of all files in it and below, each once, however many names it has
[[nodiscard]] std::vector<std::string> names_below(const std::string& folder, const std::string& path);  // of a folder's entries
// not_found where there is no such file.
[[nodiscard]] Result<std::string> read_below(const std::string& folder, const std::string& path, Bytes size_max);
// A file of such a folder, read-only; what is a link, a folder, a pipe or a device is none.
[[nodiscard]] Result<Fd> open_plain(const std::string& path);
// A folder that others than the node write to, until close_folder(): then all that is in it is on the disk.
[[nodiscard]] Result<void> make_open_folder(const std::string& path);
[[nodiscard]] Result<void> close_folder(const std::string& path);
[[nodiscard]] Result<void> make_visible_folder(const std::string& path);  // for all to look into, for the node to write

// Held until the Fd closes or the process dies; children that exec do not keep it. Error: conflict, with
// the process that holds it.
[[nodiscard]] Result<Fd> lock_file(const std::string& path);

}  // namespace mayfly::os
