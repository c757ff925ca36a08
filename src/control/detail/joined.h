// Work that several versions ask for and that is done once: the first to ask does it, the others wait for its end.
#pragma once
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace mayfly::control {

class Joined {
 public:
  // True: nobody else does it.
  [[nodiscard]] bool join(const std::string& what, VersionId version) {
    std::vector<VersionId>& waiting = waiting_[what];
    waiting.push_back(version);
    return waiting.size() == 1;
  }
  // It has ended: who asked, the first first. Some of them may be gone.
  [[nodiscard]] std::vector<VersionId> take(const std::string& what) {
    auto taken = waiting_.extract(what);
    return taken ? std::move(taken.mapped()) : std::vector<VersionId>();
  }

 private:
  std::unordered_map<std::string, std::vector<VersionId>> waiting_;
};

}  // namespace mayfly::control
