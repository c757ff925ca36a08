#include "gateway/aws_chunked.h"

#include <algorithm>
#include <charconv>

#include "base/http.h"

namespace mayfly::gateway {
namespace {

constexpr std::uint64_t kChunkMax = std::uint64_t{1} << 40;

std::unexpected<Error> broken(const char* what) {
  return fail(Code::invalid_argument, std::string("the body is not aws-chunked as it says: ") + what);
}

constexpr std::array<std::array<std::uint32_t, 256>, 4> tables() {
  std::array<std::array<std::uint32_t, 256>, 4> made{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320U : 0U);
    made[0][i] = value;
  }
  for (std::size_t k = 1; k < 4; ++k)
    for (std::size_t i = 0; i < 256; ++i) made[k][i] = (made[k - 1][i] >> 8) ^ made[0][made[k - 1][i] & 255];
  return made;
}
constexpr auto kTables = tables();

}  // namespace

Result<void> AwsChunked::take(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    if (at_ == At::end) return broken("there is more behind its end");
    if (at_ == At::bytes) {
      const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      out.append(bytes.substr(0, size));
      bytes.remove_prefix(size);
      left_ -= size;
      if (left_ == 0) at_ = At::after;
      continue;
    }
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    if (line_.size() + end > kLineMax) return broken("a line is too long");
    line_.append(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (bytes.data()[-1] != '\n') return {};                 // the line goes on
    if (!line_.ends_with('\r')) return broken("a line does not end with CR LF");
    line_.pop_back();
    TRY_VOID(line_done());
    line_.clear();
  }
  return {};
}

Result<void> AwsChunked::line_done() {
  if (at_ == At::after) {
    if (!line_.empty()) return broken("a chunk is longer than its size");
    at_ = At::size;
    return {};
  }
  if (at_ == At::size) {
    const std::string_view size = std::string_view(line_).substr(0, line_.find(';'));
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), left_, 16);
    if (error != std::errc() || end != size.data() + size.size() || left_ > kChunkMax) return broken("a chunk's size is no number");
    at_ = left_ > 0 ? At::bytes : At::trailer;
    return {};
  }
  if (line_.empty()) {
    at_ = At::end;
    return {};
  }
  trailer_bytes_ += line_.size();
  const std::size_t colon = line_.find(':');
  if (trailer_bytes_ > kTrailersMax || colon == line_.npos || !is_header_name(std::string_view(line_).substr(0, colon)))
    return broken("a trailer is no header");
  const std::size_t value = line_.find_first_not_of(' ', colon + 1);
  trailers_[lower_case(line_.substr(0, colon))] = value == line_.npos ? "" : line_.substr(value);
  return {};
}

void Crc32::add(std::string_view bytes) {
  std::size_t i = 0;
  const auto at = [&](std::size_t k) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[k])); };
  for (; i + 4 <= bytes.size(); i += 4) {
    const std::uint32_t word = state_ ^ (at(i) | at(i + 1) << 8 | at(i + 2) << 16 | at(i + 3) << 24);
    state_ = kTables[3][word & 255] ^ kTables[2][(word >> 8) & 255] ^ kTables[1][(word >> 16) & 255] ^ kTables[0][word >> 24];
  }
  for (; i < bytes.size(); ++i) state_ = (state_ >> 8) ^ kTables[0][(state_ ^ at(i)) & 255];
}

std::string Crc32::bytes() const {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value() >> shift & 255);
  return text;
}

}  // namespace mayfly::gateway
