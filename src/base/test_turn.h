// For tests: moves a Turn to another moment, both of its clocks together.
#pragma once
#include "base/turn.h"

namespace mayfly {

inline void jump(Turn& turn, Instant to) {
  turn.wall.since_epoch += std::chrono::microseconds(to_us(to.since_boot) - to_us(turn.now.since_boot));
  turn.now = to;
}

}  // namespace mayfly
