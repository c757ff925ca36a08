// Reads HTTP/1.1 and 1.0 requests: the head, and chunked bodies. Strict, because what two programs read
// differently is how requests are smuggled; docs/decisions/0010-http-parser.md says why it is our own.
// Pure: bytes in, values out; whoever reads the socket owns the buffers (gateway/detail/connection.h, worker/code_port.h).
//
// Promises: the verdict over some bytes doesn't depend on how they were split; nothing is allocated;
// every view points into the bytes that were given. Refused are: both Content-Length and
// Transfer-Encoding, either of them twice, lengths that are not plain digits, encodings but chunked, folded
// lines, space before a colon, bare CR or LF, control characters, no Host or several, HTTP/0.9.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/http.h"

namespace mayfly {

constexpr std::size_t kHeadMax = 16 * 1024;   // request line and headers
constexpr std::size_t kHeadersMax = 100;

struct HttpRequestHead {
  Method method{};
  std::string_view method_text;  // as sent, also where it is `other`
  std::string_view path;       // begins with '/' ("*" for OPTIONS *)
  std::string_view query;
  std::span<const HttpHeader> headers;
  std::uint64_t length = 0;    // Content-Length
  bool http_1_0 = false;
  bool keep_alive = true;      // what the client wants, or its version's default
  bool chunked = false;
  bool expects_continue = false;
  bool has_body() const { return chunked || length > 0; }
};

struct HeadVerdict {
  enum Kind : std::uint8_t { complete, incomplete, refused } kind = incomplete;
  int status = 0;              // of a refusal
  std::size_t used = 0;        // bytes of the head, where complete
  const char* reason = "";     // of a refusal: a sentence without a full stop
};

// `storage` has room for kHeadersMax; head.headers points into it.
[[nodiscard]] HeadVerdict parse_head(std::string_view bytes, std::span<HttpHeader> storage, HttpRequestHead& head);

// For a head that comes in pieces: whether parse_head() can decide by now. `scanned` starts at 0 and remembers
// what has been looked at, so that a head that comes byte by byte costs no more than one that comes whole.
[[nodiscard]] bool head_is_decided(std::string_view bytes, std::size_t& scanned);

class ChunkDecoder {
 public:
  enum class Step : std::uint8_t { data, more, end, refused };
  struct Out {
    Step step{};
    std::size_t used = 0;      // bytes to drop from the front of what was given
    std::string_view data;     // step data: part of the body, inside what was given
  };
  // The next piece. `more`: everything was used, give more. Trailers are checked and dropped.
  [[nodiscard]] Out next(std::string_view bytes);
  const char* reason() const { return reason_; }

 private:
  enum class State : std::uint8_t { size_first, size, extension, size_lf, data, data_cr, data_lf, line_first, line, line_lf, end_lf };
  bool take(char c);           // false: refused
  bool refuse(const char* reason) { reason_ = reason; return false; }

  State state_ = State::size_first;
  std::uint8_t digits_ = 0;
  bool finished_ = false;
  std::uint32_t extra_ = 0;    // bytes of extensions and trailers so far
  std::uint64_t left_ = 0;     // of this chunk
  const char* reason_ = "";
};

}  // namespace mayfly
