// TCP on loopback, or a unix socket in the file system: a listening socket, and the calls on its connections that a protocol
// needs, all non-blocking. Knows no protocol and owns no state. Any address but loopback is refused: there are no
// keys and no TLS yet.
//
// Results of moving bytes are plain numbers, as these run for every request: see Moved.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "os/fd.h"
#include "os/loop.h"

namespace mayfly::os {

class Listener {
 public:
  // "127.0.0.1:8080", "[::1]:8080", "localhost:8080"; port 0: any free one.
  [[nodiscard]] static Result<Listener> create(std::string_view address);
  // The same at any address, for a sandbox that has a network of its own: nobody else reaches it there.
  [[nodiscard]] static Result<Listener> create_inside(std::string_view address);
  // A unix socket at this path, which must not be there. Any process that reaches the file may connect, whatever its ids: who may
  // is said by the folder that it lies in. The file stays when the listener goes.
  [[nodiscard]] static Result<Listener> create_local(const std::string& path);
  int fd() const { return fd_.get(); }
  const std::string& address() const { return address_; }  // with the port that it really has, or the path
  // The next connection. exhausted: out of descriptors or memory; Fd() (none): nobody waits.
  [[nodiscard]] Result<Fd> accept();

 private:
  static Result<Listener> create(std::string_view address, bool inside);
  Listener(Fd fd, std::string address) : fd_(std::move(fd)), address_(std::move(address)) {}
  Fd fd_;
  std::string address_;
};

// Bytes moved (receive: 0 is the end), or one of these.
using Moved = std::int64_t;
constexpr Moved kWouldBlock = -1, kPeerGone = -2;

[[nodiscard]] Moved receive(int socket, std::span<char> into);
[[nodiscard]] Moved send(int socket, std::string_view bytes);
[[nodiscard]] Moved send(int socket, std::string_view first, std::string_view second);
// From a file, starting at `offset`; moves the offset.
[[nodiscard]] Moved send_file(int socket, int file, std::uint64_t& offset, std::uint64_t bytes);
void shut_writing(int socket);
void close_with_reset(Fd& socket);  // whoever is at the other end is told that it broke
// Appends to a file; an error where not all of it fits.
[[nodiscard]] Result<void> append(int file, std::string_view bytes);

// Two ends of one local stream; neither blocks.
[[nodiscard]] Result<std::pair<Fd, Fd>> make_stream_pair();

// A client's side, for tests and tools: connected, blocking.
[[nodiscard]] Result<Fd> connect_to(std::string_view address);

// Connected to a unix socket, non-blocking. unavailable where nobody listens, exhausted where too many wait already.
[[nodiscard]] Result<Fd> connect_local(const std::string& path);

// A client's side that doesn't block: wait until it is writable, then ask whether it is connected.
[[nodiscard]] Result<Fd> begin_connect(std::string_view address);
[[nodiscard]] bool is_connected(int socket);

// From the kernel's generator.
[[nodiscard]] std::uint64_t random_seed();

}  // namespace mayfly::os
