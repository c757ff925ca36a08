// Calls that are kept as samples (domain/recording.h): a file each, recordings/FUNCTION/PLACE, readable by the node's user alone. Not
// synced: a machine that dies may lose the last of them. Blocking: for a background line, or at start. Knows no policy: who calls says
// what is where.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"

namespace mayfly::store {

struct KeptCall {
  std::uint64_t place = 0, size = 0;  // size: of its file
  std::uint64_t seen = 0;             // as domain::RecordedCall
};

class Recordings {
 public:
  explicit Recordings(std::string folder) : folder_(std::move(folder)) {}

  // Appears whole, by a rename, in place of what was there.
  [[nodiscard]] Result<void> keep(FunctionId function, std::uint64_t place, const std::string& head, const std::string& body) const;
  [[nodiscard]] std::vector<KeptCall> list(FunctionId function) const;      // by place; what can't be read is left out
  [[nodiscard]] Result<std::string> read(FunctionId function) const;        // all, one after the other
  [[nodiscard]] Result<void> forget(FunctionId function) const;
  void forget_others(const std::vector<FunctionId>& kept) const;            // of functions that are gone

 private:
  [[nodiscard]] std::string folder_of(FunctionId function) const;
  std::string folder_;
};

}  // namespace mayfly::store
