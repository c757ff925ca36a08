// The body of an upload as AWS's SDKs frame it ("aws-chunked", Signature Calculations for Streaming, Amazon S3's API reference): sizes in
// hexadecimal, bytes, and trailers behind a chunk of none; and CRC-32 (IEEE 802.3), by which they check it. Pure; bytes are foreign.
// Promises: takes bytes in any pieces; a size line or the trailers are at most kLineMax and kTrailersMax bytes; no chunk's bytes are held.
// Signatures of chunks are read over: who wants them checked must not let such a body in.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::gateway {

class AwsChunked {
 public:
  static constexpr std::size_t kLineMax = 512, kTrailersMax = 4096;

  // Appends to `out` what of the body is in it.
  [[nodiscard]] Result<void> take(std::string_view bytes, std::string& out);
  // Whether it was all there.
  [[nodiscard]] bool complete() const { return at_ == At::end; }
  // By name, in lower case.
  const std::map<std::string, std::string, std::less<>>& trailers() const { return trailers_; }

 private:
  enum class At : std::uint8_t { size, bytes, after, trailer, end };
  Result<void> line_done();

  At at_ = At::size;
  std::uint64_t left_ = 0;           // of the chunk
  std::string line_;
  std::size_t trailer_bytes_ = 0;
  std::map<std::string, std::string, std::less<>> trailers_;
};

class Crc32 {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::string bytes() const;   // four, the highest first, as its base64 is made
  std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = ~std::uint32_t{0};
};

}  // namespace mayfly::gateway
