// Which calls of a function are kept as samples: a share of them, at most so many and so large in all, spread evenly over all that came
// (J. S. Vitter's algorithm R, ACM TOMS 11, 1985, 37-57). Decides and counts; who asks writes. No clock, no disk.
#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "domain/recording.h"
#include "store/recordings.h"

namespace mayfly::control {

constexpr std::uint64_t kRecordedCallMax = 16ULL << 20;     // bytes of one; larger calls are passed over
constexpr std::uint64_t kRecordedPendingMax = 64ULL << 20;  // copied and not yet written, of all functions; beyond it calls are passed over

class Recorder {
 public:
  struct State {
    domain::RecordingPolicy policy;
    std::uint64_t seen = 0;                // calls that were looked at
    std::uint64_t held = 0;                // bytes of what is kept
    std::vector<std::uint64_t> sizes;      // by place; 0: nothing is there
    bool full = false;                     // so large in all that no place is added
  };
  struct Place {
    std::uint64_t number = 0, seen = 0;
  };

  explicit Recorder(std::uint64_t seed) : random_(seed) {}

  void begin(FunctionId function, const domain::RecordingPolicy& policy, const std::vector<store::KeptCall>& there);
  void end(FunctionId function) { states_.erase(function); }
  [[nodiscard]] const State* find(FunctionId function) const;

  // Where a call of so many bytes is to be kept, and takes the place of what was there; nothing: it is not.
  [[nodiscard]] std::optional<Place> choose(FunctionId function, std::uint64_t size);
  void written(std::uint64_t size) { pending_ -= size; }    // of what was chosen: its copy is gone
  void lost(FunctionId function, std::uint64_t place);      // … and is not on the disk

 private:
  Random random_;
  std::uint64_t pending_ = 0;
  std::unordered_map<FunctionId, State> states_;
};

}  // namespace mayfly::control
