// Writes the head of an answer into a buffer that is reused. The date is formatted once a second.
#pragma once
#include <charconv>
#include <string>
#include <string_view>

#include "base/time.h"

namespace mayfly::gateway::detail {

[[nodiscard]] std::string_view reason_phrase(int status);

class ReplyHead {
 public:
  static constexpr std::uint64_t kNoLength = ~std::uint64_t{0};  // chunked, or to the end of the connection

  // The buffer's content is replaced by status line, Date and what is given; add() more, then end().
  void begin(Instant now, int status);
  void add(std::string_view name, std::string_view value) { buffer_.append(name).append(": ").append(value).append("\r\n"); }
  void add_length(std::uint64_t length);
  void add_lines(std::string_view lines) { buffer_.append(lines); }
  void end() { buffer_.append("\r\n"); }
  void append_body(std::string_view body) { buffer_.append(body); }
  std::string_view bytes() const { return buffer_; }

 private:
  std::string buffer_;
  std::string ok_, date_;          // "HTTP/1.1 200 OK\r\nDate: …\r\n", "Date: …\r\n"
  Instant date_until_{};
};

}  // namespace mayfly::gateway::detail
