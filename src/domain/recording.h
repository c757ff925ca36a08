// Calls of a function that are kept as samples: how many, as its owner set it, and the bytes of one as they lie on disk and travel to
// whoever asks for them. Off unless it is set. Control keeps them (control/recorder.h), worker/recorded.h makes tensors of them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "domain/frame.h"
#include "domain/function.h"

namespace mayfly::domain {

constexpr std::string_view kRecording = "recording";  // the kind of its setting; key ""
constexpr int kRecordedCallsMax = 100'000;
constexpr Bytes kRecordedBytesMax = 512_MiB;

struct RecordingPolicy {
  int calls = 0;             // kept at most
  double share = 1;          // of the calls, that are looked at
  Bytes size_max = 64_MiB;   // of all that are kept
  friend bool operator==(const RecordingPolicy&, const RecordingPolicy&) = default;
};

[[nodiscard]] std::optional<RecordingPolicy> recording_of(const Function& function);
[[nodiscard]] std::string to_document(const RecordingPolicy& policy);
// Error invalid_argument: a number that is out of its range, or a word that is none.
[[nodiscard]] Result<RecordingPolicy> parse_recording(std::string_view document);

struct RecordedCall {
  std::uint64_t seen = 0;    // the so-many-th that was looked at
  std::uint32_t version = 0; // its number
  WireFormat format{};
  std::uint64_t json_size = 0;
  std::string_view body;
  friend bool operator==(const RecordedCall&, const RecordedCall&) = default;
};

constexpr std::size_t kRecordedHead = 40;
[[nodiscard]] std::string head_of(const RecordedCall& call);  // kRecordedHead bytes, which stand before the body
// One after the other; bodies point into `bytes`, which may be anything. Error data_loss: they are no such calls, or cut short.
[[nodiscard]] Result<std::vector<RecordedCall>> read_calls(std::string_view bytes);

}  // namespace mayfly::domain
