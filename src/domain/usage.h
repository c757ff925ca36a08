// What one invocation consumed: the bill and the debug record in one. Fixed size and trivially
// copyable, because the usage log appends it to mapped memory on every request.
#pragma once
#include <cstdint>
#include <type_traits>

namespace mayfly::domain {

// 0: answered; else a Code (base/result.h).
using OutcomeCode = std::uint8_t;

struct UsageRecord {
  std::uint64_t request_id_high = 0, request_id_low = 0;  // X-Request-Id where it was a UUID, else a hash of it
  std::uint64_t function = 0, version = 0;  // FunctionId, VersionId
  std::int64_t arrived_us = 0;       // calendar time
  std::uint64_t queue_us = 0;        // arrival to the instance taking it
  std::uint64_t init_us = 0;         // of a cold start that this request waited for; else 0
  std::uint64_t decode_ns = 0, run_ns = 0, encode_ns = 0;  // in the instance; run_ns is the whole batch's
  std::uint64_t total_us = 0;        // first byte in to last byte handed to the kernel
  std::uint64_t cpu_ns = 0;          // CPU time of the instance's process that this invocation caused
  std::uint64_t billed_us = 0;       // what the bill counts: time in the instance, see control/price.h
  std::uint64_t memory_bytes = 0;    // measured, of the instance
  std::uint32_t process = 0;         // which instance (ProcessId, low bits)
  std::uint32_t rows = 0, batch_rows = 0;
  std::uint32_t version_number = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  std::uint64_t reserved = 0;
  OutcomeCode outcome = 0;
  std::uint8_t cold = 0;             // 0 warm, 1 forked from a template, 2 from the artifact
  std::uint8_t format = 0;           // domain::WireFormat
  std::uint8_t kind = 0;             // 0: an invocation; 1: CPU that no invocation caused (init, idle polling), per function
  std::uint32_t checksum = 0;        // CRC32C of the bytes before it; set by the log
};
static_assert(std::is_trivially_copyable_v<UsageRecord> && sizeof(UsageRecord) == 160);

}  // namespace mayfly::domain
