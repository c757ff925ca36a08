// How the host of a program that serves HTTP sends it requests (worker/http_host.h): over HTTP/1.1 (worker/http_forward.h) or HTTP/2
// (worker/h2_forward.h). To the host both are the same: requests and heads of answers are HTTP/1.1's text, as the frames have them.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"

namespace mayfly::worker {

class Forward {
 public:
  struct Answer {
    std::string_view head;   // status line and headers, each ended by CR LF; without the empty line
    std::string_view body;   // both: valid during the call. Where begins() was called: no head, and what has come since
  };
  // Of an answer that is passed on as it comes; who can't do so gives it whole.
  struct Parts {
    std::function<void(std::string_view head, std::string_view body)> begins;  // as of an Answer; more follows
    std::function<void(std::string_view body)> piece;
    std::function<bool()> full;                        // nothing is read while it is, until resume()
  };
  using Done = std::function<void(Result<Answer>)>;

  Forward() = default;
  virtual ~Forward() = default;
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;

  // Whether somebody listens by now; what was connected for it is used for the first request.
  virtual void probe(std::function<void(bool)> then) = 0;
  // `bytes`: head and body, valid until `done` or drop(ticket).
  virtual void send(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts = {}) = 0;
  virtual void resume(std::uint64_t) {}
  // Nobody waits for it any more: the program may notice.
  virtual void drop(std::uint64_t ticket) = 0;
};

// Of a request: whether sending it twice does what once does (RFC 9110, 9.2.2).
[[nodiscard]] inline bool may_repeat(std::string_view request) {
  for (const std::string_view method : {"GET ", "HEAD ", "PUT ", "DELETE ", "OPTIONS "})
    if (request.starts_with(method)) return true;
  return false;
}

}  // namespace mayfly::worker
