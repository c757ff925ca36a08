// Whether anything in a folder, or below it, has changed: files written, made, moved or removed. What begins with a dot, and what a
// name's owner leaves out, is not looked at. A descriptor for the loop; says that something changed, not what.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::os {

class FolderWatch {
 public:
  [[nodiscard]] static Result<FolderWatch> create(const std::string& folder, std::string_view left_out);
  int fd() const { return fd_.get(); }
  // True if something has changed since the last time; folders that were made meanwhile are watched from then on.
  [[nodiscard]] bool take();

 private:
  FolderWatch(Fd fd, std::string folder, std::string left_out)
      : fd_(std::move(fd)), folder_(std::move(folder)), left_out_(std::move(left_out)) {}
  bool is_left_out(std::string_view name) const { return name.starts_with('.') || name == left_out_; }
  [[nodiscard]] Result<void> watch_folders();

  Fd fd_;
  std::string folder_, left_out_;
};

}  // namespace mayfly::os
