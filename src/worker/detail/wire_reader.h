// Protobuf's wire form (protobuf.dev/programming-guides/encoding), field by field: no copies, no recursion, any bytes may come. Who walks
// a message knows what its fields mean. Private to worker.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace mayfly::worker {

struct Field {
  std::uint32_t number = 0;
  std::uint64_t value = 0;       // varints
  std::string_view bytes;        // length-delimited
  bool delimited = false;
};

// Reads fields one after another; nullopt at the end, `bad` where the bytes are not the wire format.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}
  bool bad() const { return bad_; }
  std::string_view rest() const { return bytes_; }
  // Of a packed field: numbers alone.
  std::optional<std::uint64_t> number() {
    if (bytes_.empty() || bad_) return std::nullopt;
    const std::uint64_t value = varint();
    return bad_ ? std::nullopt : std::optional(value);
  }

  std::optional<Field> next() {
    if (bytes_.empty() || bad_) return std::nullopt;
    const std::uint64_t key = varint();
    Field field{.number = static_cast<std::uint32_t>(key >> 3)};
    switch (key & 7) {
      case 0: field.value = varint(); break;
      case 1: skip(8); break;
      case 2: {
        const std::uint64_t size = varint();
        if (bad_ || size > bytes_.size()) bad_ = true;
        else field.bytes = bytes_.substr(0, size), bytes_.remove_prefix(size), field.delimited = true;
        break;
      }
      case 5: skip(4); break;
      default: bad_ = true;
    }
    if (bad_ || field.number == 0) {
      bad_ = true;
      return std::nullopt;
    }
    return field;
  }

 private:
  void skip(std::size_t size) {
    if (size > bytes_.size()) bad_ = true;
    else bytes_.remove_prefix(size);
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (bytes_.empty()) break;
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
    bad_ = true;
    return 0;
  }

  std::string_view bytes_;
  bool bad_ = false;
};

}  // namespace mayfly::worker
