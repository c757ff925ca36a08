// Folders that instances see read-only, each by a SHA-256. packages/abcdef…: an unpacked archive of code, by the archive's; a cache: it
// is an artifact, and can be unpacked again. dependencies/abcdef…: what was installed for a package, by what decides it
// (control/node_build.cpp). A container's image is here, too: each of its layers as layer-abcdef…, which images share, and their stack,
// which its functions share, as image-abcdef… (os/stack.h). Several layers of a function of code (domain/layer.h), each unpacked as any
// archive, are merged as merge-abcdef…. A folder has its name only once it is whole and on disk.
// adopt(), stack(), merge(), drop() and collect() block and belong on a background line.
#pragma once
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace mayfly::store {

[[nodiscard]] std::string layer_name(std::string_view sha256);
[[nodiscard]] std::string image_name(const std::vector<std::string>& layers);  // the same for the same layers in the same order
[[nodiscard]] std::string merge_name(const std::vector<std::string>& layers);
constexpr const char* kImageRoot = "/root";                 // below its folder

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
  [[nodiscard]] Bytes size_of(std::string_view sha256) const;    // of all its files, each once; blocks

  // An empty folder in it, for something to be bound there; fine where it is.
  [[nodiscard]] Result<void> add_place(std::string_view sha256, const std::string& name) const;

  // An empty folder for a sandbox to write to: in a folder that only the node may enter, and open to everybody itself.
  [[nodiscard]] Result<std::string> new_folder();
  [[nodiscard]] Result<void> adopt(const std::string& folder, std::string_view sha256);  // it, or a folder in it
  void drop(const std::string& folder);
  // Of layers that are here, by the SHA-256 of their archives, the lowest first: makes their image, with what a sandbox needs to mount.
  [[nodiscard]] Result<void> stack(const std::vector<std::string>& layers);

  // Of layers of code that are here, likewise: what they hold together, a later one's files before those of an earlier.
  [[nodiscard]] Result<void> merge(const std::vector<std::string>& layers);

  // Takes away those that are not to be kept. Their files stay until the next call: an instance may read them still.
  template <class Keep>
  void collect(const Keep& keep) {
    remove_taken();
    for (const std::string& name : names())
      if (!std::ranges::all_of(archives_of(name), keep)) take_away(name);
  }

 private:
  std::vector<std::string> names() const;
  std::vector<std::string> archives_of(const std::string& name) const;
  Result<void> compose(const std::string& name, const std::vector<std::string>& layers,
                       const std::function<Result<void>(const std::string& root)>& fill);
  void take_away(const std::string& sha256);
  void remove_taken();

  std::string folder_;
  std::atomic<std::uint64_t> made_ = 0;
};

}  // namespace mayfly::store
