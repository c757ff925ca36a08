// AWS's event stream encoding (application/vnd.amazon.eventstream), as Lambda's InvokeWithResponseStream answers: a row of messages,
// each its length, its headers, a payload and two checksums (CRC-32 of the first bytes, and of all). Pure; written, never read.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace mayfly::gateway {

constexpr std::string_view kEventStreamType = "application/vnd.amazon.eventstream";

[[nodiscard]] std::uint32_t crc32(std::string_view bytes, std::uint32_t before = 0);  // ISO 3309, as of gzip

// Appends a message of that kind: PayloadChunk, whose payload is bytes, or InvokeComplete, whose is JSON.
void add_event(std::string& out, std::string_view type, std::string_view content_type, std::string_view payload);

// A payload as messages of 1 MiB at most; nothing of an empty one.
void add_payload(std::string& out, std::string_view bytes);
struct InvokeComplete {
  std::string_view error_code, error_details, log_result;  // "": left out
};
void add_complete(std::string& out, const InvokeComplete& end);

}  // namespace mayfly::gateway
