// For tests: a client on the same loop as the server under test. Every wait turns the loop and has an end.
#pragma once
#include <fcntl.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "os/listener.h"
#include "os/loop.h"

namespace mayfly::gateway::detail {

using std::chrono::milliseconds;

class Client {
 public:
  Client(os::Loop& loop, const std::string& address) : loop_(loop), fd_(*os::connect_to(address)) {
    ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  }

  // Sends all of it, turning the loop where the socket is full; false: the server closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const os::Moved moved = os::send(fd_.get(), bytes);
      if (moved == os::kPeerGone) return false;
      if (moved > 0) bytes.remove_prefix(static_cast<std::size_t>(moved));
      loop_.turn(milliseconds(moved > 0 ? 0 : 1));
    }
    return true;
  }
  // Turns the loop until so many bytes are there, the server closed, or the time is over.
  std::string read(std::size_t wanted = std::string::npos, Duration wait = milliseconds(3000)) {
    const Instant until = loop_.refresh_now() + wait;
    while (received.size() < wanted && !closed && loop_.now() < until) {
      loop_.turn(milliseconds(1));
      char buffer[65536];
      for (;;) {
        const os::Moved got = os::receive(fd_.get(), buffer);
        if (got > 0) received.append(buffer, static_cast<std::size_t>(got));
        if (got == 0 || got == os::kPeerGone) closed = true;
        if (got <= 0) break;
      }
    }
    return std::exchange(received, {});
  }
  // Until this is in what was received.
  std::string read_until(std::string_view mark, Duration wait = milliseconds(2000)) {
    std::string all;
    const Instant until = loop_.refresh_now() + wait;
    while (all.find(mark) == std::string::npos && !closed && loop_.now() < until) all += read(1, milliseconds(20));
    return all;
  }
  void leave() { fd_.reset(); }
  int fd() const { return fd_.get(); }

  bool closed = false;
  std::string received;

 private:
  os::Loop& loop_;
  os::Fd fd_;
};

}  // namespace mayfly::gateway::detail
