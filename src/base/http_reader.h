// Reads HTTP/1.1 responses from bytes as they come: for the client of the commands, the load generator and the
// host of a program that serves HTTP (worker/http_forward.h). A pure state machine: fed bytes, it says when the head is complete,
// hands the body on, and says when the response has ended. Limits: 64 KiB of head; a wrong response is an error and final.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

constexpr std::size_t kResponseHeadMax = 64 * 1024;

class HttpReader {
 public:
  // no_body: of a HEAD request, whose answer has lengths but no bytes.
  void begin(bool no_body = false);
  // Takes bytes up to the end of the response; gives how many it took. `body` gets the body's bytes, in order.
  [[nodiscard]] Result<std::size_t> feed(std::string_view bytes, const std::function<void(std::string_view)>& body);
  // The peer closed: true where that is how this response ends, false where it was cut off.
  [[nodiscard]] bool closed();

  bool head_done() const { return state_ != State::head; }
  bool done() const { return state_ == State::done; }
  bool untouched() const { return state_ == State::head && head_.empty(); }
  bool keep_alive() const { return keep_alive_; }
  int status() const { return status_; }
  std::string_view head_text() const { return head_; }  // status line and headers, without the empty line
  [[nodiscard]] std::string_view header(std::string_view name) const;  // any case; "" where there is none

 private:
  enum class State { head, length, until_close, chunk_size, chunk, chunk_end, trailer, done };
  Result<void> read_head();
  Result<std::size_t> feed_head(std::string_view bytes);
  Result<std::size_t> feed_line(std::string_view bytes);
  Result<void> take_line();

  State state_ = State::head;
  std::string head_;        // status line and headers
  std::string line_;        // of chunked coding, while incomplete
  std::uint64_t left_ = 0;  // bytes of the body or the chunk
  int status_ = 0;
  bool keep_alive_ = true;
  bool no_body_ = false;
};

}  // namespace mayfly
