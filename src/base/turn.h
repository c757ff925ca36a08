// The time of this turn of the loop. Whoever drives the node (os::Loop in production, a simulation in
// tests) sets it before each event; everybody else only reads it. So one turn has one time, and a
// test owns it.
#pragma once
#include "base/time.h"

namespace mayfly {

struct Turn {
  Instant now;
  WallTime wall;
};

}  // namespace mayfly
