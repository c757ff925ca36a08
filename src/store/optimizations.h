// Folders of searches for smaller models (domain/optimization.h), optimizations/VERSION: `work`, which its sandbox writes to and goes on
// in after a restart, and the samples. Blocking: for a background line, or at start.
//
// What lies in `work` was written by a process that has run a stranger's model. The folder above lets nobody but the node come here,
// nothing in it is followed that is a link, and what is taken of it is copied.
#pragma once
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "store/artifacts.h"

namespace mayfly::store {

class Optimizations {
 public:
  explicit Optimizations(std::string folder) : folder_(std::move(folder)) {}

  // `work`, made where it is not there: open to whatever id its sandbox has this time, with all that an earlier one left.
  [[nodiscard]] Result<std::string> open_work(VersionId version) const;
  // A file of the artifacts, kept as long as the search takes; `ending` like ".npz".
  [[nodiscard]] Result<void> keep_samples(VersionId version, const std::string& artifact, const std::string& ending) const;
  [[nodiscard]] std::string samples_of(VersionId version) const;  // "": none
  [[nodiscard]] bool has(VersionId version, const std::string& name) const;  // a file in `work`
  [[nodiscard]] Result<domain::FileRef> take(VersionId version, const std::string& name, Artifacts& into) const;
  void drop(VersionId version) const;
  void drop_others(const std::vector<VersionId>& kept) const;

 private:
  [[nodiscard]] std::string folder_of(VersionId version) const;
  std::string folder_;
};

}  // namespace mayfly::store
