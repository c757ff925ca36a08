// Folders that instances see read-only, each by a SHA-256. packages/abcdef…: an unpacked archive of code, by the archive's; a cache: it
// is an artifact, and can be unpacked again. dependencies/abcdef…: what was installed for a package, by what decides it
// (control/node_build.cpp). A folder has its name only once it is whole and on disk.
// adopt(), drop() and collect() block and belong on a background line.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace mayfly::store {

class Packages {
 public:
  // Makes `folder` and removes what is left there of another life: unpacked halves, and what was collected.
  [[nodiscard]] static Result<std::unique_ptr<Packages>> open(const std::string& folder);
  explicit Packages(std::string folder) : folder_(std::move(folder)) {}

  [[nodiscard]] bool has(std::string_view sha256) const;
  [[nodiscard]] bool has_for_now(std::string_view sha256) const;  // … and it stays for another hour, whoever names it
  [[nodiscard]] std::string path_of(std::string_view sha256) const;
  [[nodiscard]] bool holds(std::string_view sha256, const std::string& path) const;  // the path of a file, as in the archive
  [[nodiscard]] std::vector<std::string> names_in(std::string_view sha256, const std::string& folder) const;

  [[nodiscard]] Result<std::string> read(std::string_view sha256, const std::string& path, Bytes size_max) const;  // not_found
  // An empty folder in it, for something to be bound there; fine where it is.
  [[nodiscard]] Result<void> add_place(std::string_view sha256, const std::string& name) const;

  // An empty folder for a sandbox to write to: in a folder that only the node may enter, and open to everybody itself.
  [[nodiscard]] Result<std::string> new_folder();
  [[nodiscard]] Result<void> adopt(const std::string& folder, std::string_view sha256);  // it, or a folder in it
  void drop(const std::string& folder);

  // Takes away those that are not to be kept. Their files stay until the next call: an instance may read them still.
  template <class Keep>
  void collect(const Keep& keep) {
    remove_taken();
    for (const std::string& sha256 : names())
      if (!keep(sha256)) take_away(sha256);
  }

 private:
  std::vector<std::string> names() const;
  void take_away(const std::string& sha256);
  void remove_taken();

  std::string folder_;
  std::atomic<std::uint64_t> made_ = 0;
};

}  // namespace mayfly::store
