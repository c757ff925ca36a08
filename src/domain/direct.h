// What the node and a runtime of ours say to each other where a call goes to the program itself, past its host (docs/decisions/0033):
// packets on a unix SOCK_SEQPACKET socket. The ring's frames (frame.h) tell the host of each such call, and nobody wakes it for one.
//
//   host ── first of all ─►  program   DirectStart, the function's ARN behind it
//   node ─────────────────►  program   DirectCall, then the event, then the lines of what the caller said, as in a frame
//   program ──────────────►  node      DirectAnswer: any number of pieces, then the end; bytes of the answer behind each
//
// One call at a time. Integers are little-endian, as this machine's are. The node trusts nothing that a program wrote.
#pragma once
#include <cstdint>
#include <type_traits>

#include "domain/frame.h"

namespace mayfly::domain {

constexpr std::uint64_t kDirectSaidMax = 8 * 1024;        // bytes of what the caller said; with more a call goes by the host
constexpr std::uint64_t kDirectAnswerMax = 6 * 1024 * 1024 + 100;  // of an answer, AWS Lambda's own limit; of an error kInlineMax
constexpr std::uint64_t kDirectPieceMax = 48 * 1024;      // bytes in one packet

struct DirectStart {
  std::uint64_t ticket = 0;            // 0: no call
  std::uint64_t answer_max = kDirectAnswerMax;
};

struct DirectCall {
  std::uint64_t ticket = 0;            // not 0; comes back with the answer
  std::uint64_t time_left_ns = 0;      // from now on
  std::uint8_t request_id[16] = {};    // a UUID's bytes
  std::uint32_t event_size = 0;
  std::uint32_t reserved = 0;
};

enum class DirectKind : std::uint32_t { response = 0, error = 1, piece = 2 };  // the first two: the end

struct DirectAnswer {
  std::uint64_t ticket = 0;
  DirectKind kind{};
  std::uint32_t reserved = 0;
};

constexpr std::uint64_t kDirectCallMax = sizeof(DirectCall) + kInlineMax + kDirectSaidMax;

static_assert(sizeof(DirectStart) == 16 && sizeof(DirectCall) == 40 && sizeof(DirectAnswer) == 16);
static_assert(std::is_trivially_copyable_v<DirectCall> && std::is_trivially_copyable_v<DirectAnswer>);

}  // namespace mayfly::domain
