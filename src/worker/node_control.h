// A serving process's end of its control socket (domain/link.h), beside the frames in the rings: the node says stop, and bodies that
// are too large for a frame go both ways in sealed memfds, each before its frame.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::worker {

class NodeControl {
 public:
  explicit NodeControl(int socket) : socket_(socket) {}

  int socket() const { return socket_; }
  bool stopping() const { return stopping_; }
  [[nodiscard]] bool read();  // a packet, if there is one; false: the node is gone
  // The body of the call whose frame is read now; waits for it. Nothing: the node is gone, or it sent another call's.
  [[nodiscard]] std::optional<os::Fd> take_body(std::uint64_t ticket);
  // A reply's. False where this process has no memory for it, or the node is gone.
  [[nodiscard]] bool send_body(std::uint64_t ticket, std::string_view body) const;
  [[nodiscard]] os::Fd take_debugger();  // a connection that came; none: no more

 private:
  const int socket_;
  std::deque<std::pair<std::uint64_t, os::Fd>> bodies_;  // by ticket, as they came
  std::deque<os::Fd> debuggers_;
  bool stopping_ = false;
};

// FailedMessage with the error's text, cut to text_max bytes, and what the program printed last. False: the node is gone.
[[nodiscard]] bool say_failed(int control, const Error& error, std::size_t text_max = 4096, std::string_view log = {});

}  // namespace mayfly::worker
