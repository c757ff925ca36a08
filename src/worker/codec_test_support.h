// For the codec's tests: a body with the padding that decoding wants, filled with what would mislead a parser that
// reads too far; and short ways to decode.
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "os/ring.h"
#include "worker/codec.h"

namespace mayfly::worker {

// In memory of exactly this size, so that the sanitizer sees a byte too many.
class PaddedBody {
 public:
  explicit PaddedBody(std::string_view text) : size_(text.size()), bytes_(text.size() + os::kPadding) {
    std::memcpy(bytes_.data(), text.data(), text.size());
    constexpr std::string_view kMisleading = "1,1]}\"1\\";
    for (std::size_t i = 0; i < os::kPadding; ++i) bytes_[size_ + i] = static_cast<std::byte>(kMisleading[i % kMisleading.size()]);
    bytes_.shrink_to_fit();
  }
  std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }

 private:
  std::size_t size_;
  std::vector<std::byte> bytes_;
};

struct Decoded {
  PaddedBody body;
  DecodeMemory memory;
  Result<DecodedRequest> request;

  template <class T>
  std::vector<T> values(std::size_t input = 0) const {
    const auto data = request->inputs.at(input).data;
    std::vector<T> out(data.size() / sizeof(T));
    std::memcpy(out.data(), data.data(), data.size());
    return out;
  }
  std::vector<std::string> strings(std::size_t input = 0) const {
    const auto views = request->inputs.at(input).strings;
    return {views.begin(), views.end()};
  }
  const std::vector<std::int64_t>& shape(std::size_t input = 0) const { return request->inputs.at(input).shape; }
  std::string error() const { return request ? "" : request.error().message; }
};

inline Decoded decode_text(const domain::Signature& signature, domain::WireFormat format, std::string_view text,
                           std::uint64_t json_size = 0) {
  Decoded out{PaddedBody(text), {}, {}};
  Decoder decoder(signature);
  out.request = decoder.decode(format, out.body.bytes(), json_size, out.memory);
  return out;
}

}  // namespace mayfly::worker
