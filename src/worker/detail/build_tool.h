// What builds of every language do (worker/build.h): a tool of the machine is run with a bounded time and an eye on the disk, its
// lines are told as progress and kept for its error; folders of the build and of the package are read, copied and hashed. Blocks; its
// process does nothing else.
#pragma once
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "domain/build.h"

namespace mayfly::worker {

[[nodiscard]] std::string at_build(std::string_view name);
[[nodiscard]] std::string at_package(std::string_view name);
[[nodiscard]] bool is_there(const std::string& path);  // no link is followed
[[nodiscard]] Result<std::string> read_text(const std::string& path);
[[nodiscard]] Result<void> write_text(const std::string& path, std::string_view text);
[[nodiscard]] Result<void> make_folder(const std::string& path);  // with its parents; fine where it is
[[nodiscard]] Result<void> copy_tree(const std::string& from, const std::string& to);
[[nodiscard]] Result<std::string> hash_of(const std::string& path);  // "sha256:…" of a file

// std::filesystem's errors are exceptions or codes; here a code is one Error.
template <class Act>
Result<void> with_files(const std::string& what, Act act) {
  std::error_code error;
  act(error);
  if (!error) return {};
  const bool full = error == std::errc::no_space_on_device;
  return fail(full ? Code::exhausted : Code::internal, what + ": " + error.message());
}

class BuildTool {
 public:
  BuildTool(const domain::BuildOrder& order, std::string name);
  void set(std::string entry);  // "NAME=value" of its environment
  [[nodiscard]] Result<void> run(std::vector<std::string> arguments, const std::string& folder);
  // … and what it said, up to 200,000 lines.
  [[nodiscard]] Result<std::vector<std::string>> ask(std::vector<std::string> arguments, const std::string& folder);
  [[nodiscard]] std::unexpected<Error> refuse(Error error) const;  // with its last lines

 private:
  Result<void> check_disk() const;
  std::unexpected<Error> explain(int status) const;
  bool read_lines(int from);
  void take_line();

  const domain::BuildOrder& order_;
  const std::string name_;
  const Instant until_;
  std::vector<std::string> environment_;
  std::deque<std::string> lines_;
  std::vector<std::string>* heard_ = nullptr;
  std::string line_;
  bool closed_ = false;
};

// Of each kind: installs into the folder's `tree`, and says what that is.
[[nodiscard]] Result<std::vector<domain::Dependency>> build_pip(const domain::BuildOrder& order, BuildTool& tool);
[[nodiscard]] Result<std::vector<domain::Dependency>> build_npm(const domain::BuildOrder& order, BuildTool& tool);
[[nodiscard]] Result<std::vector<domain::Dependency>> build_maven(const domain::BuildOrder& order, BuildTool& tool);
[[nodiscard]] Result<std::vector<domain::Dependency>> build_go(const domain::BuildOrder& order, BuildTool& tool);

}  // namespace mayfly::worker
