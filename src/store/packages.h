// Unpacked archives of code, by the archive's SHA-256: packages/abcdef…, a folder each, which instances see read-only. A cache: the
// archive is an artifact, and can be unpacked again. A folder has its name only once it is whole and on disk.
// adopt(), drop() and collect() block and belong on a background line.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::store {

class Packages {
 public:
  // Makes packages/ in `folder` and removes what is left there of another life: unpacked halves, and what was collected.
  [[nodiscard]] static Result<std::unique_ptr<Packages>> open(const std::string& folder);
  explicit Packages(std::string folder) : folder_(std::move(folder)) {}

  [[nodiscard]] bool has(std::string_view sha256) const;
  [[nodiscard]] std::string path_of(std::string_view sha256) const;
  [[nodiscard]] bool holds(std::string_view sha256, const std::string& path) const;  // the path of a file, as in the archive
  [[nodiscard]] std::vector<std::string> names_in(std::string_view sha256, const std::string& folder) const;

  // An empty folder for a sandbox to write to: in a folder that only the node may enter, and open to everybody itself.
  [[nodiscard]] Result<std::string> new_folder();
  [[nodiscard]] Result<void> adopt(const std::string& folder, std::string_view sha256);
  void drop(const std::string& folder);

  // Takes away those whose archive is gone, by `has_archive`. Their files stay until the next call: an instance may read them still.
  template <class Has>
  void collect(const Has& has_archive) {
    remove_taken();
    for (const std::string& sha256 : names())
      if (!has_archive(sha256)) take_away(sha256);
  }

 private:
  std::vector<std::string> names() const;
  void take_away(const std::string& sha256);
  void remove_taken();

  std::string folder_;                     // …/packages
  std::atomic<std::uint64_t> made_ = 0;
};

}  // namespace mayfly::store
