// ASSERT(condition, "what that means"): a bug stops the process with a message, in release too.
// For what can happen to a correct program (bad input, a full disk, a dead peer) use Result.
#pragma once
#include <cstdio>
#include <cstdlib>

#define ASSERT(condition, meaning)                                                                        \
  do {                                                                                                    \
    if (!(condition)) [[unlikely]] {                                                                      \
      std::fprintf(stderr, "mayfly: bug at %s:%d: %s (%s)\n", __FILE__, __LINE__, meaning, #condition);   \
      std::abort();                                                                                       \
    }                                                                                                     \
  } while (false)
