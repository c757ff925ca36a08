// How long an idle function keeps its last instance, and when to start one before the next call: the
// hybrid histogram of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020). A histogram of the
// function's own idle gaps gives the 5th percentile (nobody came sooner: start one just before) and the
// 99th (nobody came later: stop waiting). Too few gaps, or gaps all over the place, say nothing: then
// the fallback holds.
//
// What differs from the paper: a start costs milliseconds, not seconds, so bins grow by a factor from
// 10 ms to 4 h instead of 1-minute steps; leaving early to come back pays only beyond unload_min; and
// counts are halved when they are many, so that the recent weeks weigh more. Who owns it: one per
// function, created with its second call; a value of 176 bytes.
#pragma once
#include <array>
#include <cstdint>

#include "base/time.h"

namespace mayfly::autoscale {

// Counted from the moment the function fell idle. Without pre_warm: kept for keep_alive. With it: goes at
// once, comes back at pre_warm, and is kept for keep_alive from there.
struct KeepWindow {
  Duration keep_alive{};
  Duration pre_warm{};       // 0: none
  bool learned = false;      // false: the fallback
};

struct KeepAlivePolicy {
  Duration fallback = std::chrono::seconds(60);
  Duration least = std::chrono::seconds(10);       // of keep_alive, whatever the gaps say
  Duration most = std::chrono::minutes(10);
  Duration unload_min = std::chrono::seconds(60);  // a pre-warm sooner than this is not worth the restart
  double margin = 0.1;       // earlier than the 5th and later than the 99th percentile by this part, as in the paper
  int samples_min = 10;
  double variation_min = 1;  // of the bins' counts: below, the gaps are spread too evenly (the paper has 2 for 240 equal bins)
};

class KeepAlive {
 public:
  static constexpr int kBins = 80;
  static constexpr Duration kLow = std::chrono::milliseconds(10);
  static constexpr Duration kHigh = std::chrono::hours(4);

  void add(Duration gap);                  // from the last answer to the next arrival
  [[nodiscard]] KeepWindow window(const KeepAlivePolicy& policy) const;
  [[nodiscard]] int samples() const { return total_ + beyond_; }
  // The edge below which this part of the gaps within range lies, rounded down or up to a bin's edge.
  [[nodiscard]] Duration percentile(double part, bool up) const;

 private:
  std::array<std::uint16_t, kBins> counts_{};
  int total_ = 0;                          // of counts_
  int beyond_ = 0;                         // longer than kHigh
};
static_assert(sizeof(KeepAlive) <= 256, "ten thousand functions have one each");

}  // namespace mayfly::autoscale
