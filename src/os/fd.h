// A file descriptor with one owner, and the small kernel objects that node and sandboxes share:
// memfds, eventfds, socket pairs that carry descriptors. Errors name the call and errno's text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly::os {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) { reset(); fd_ = std::exchange(other.fd_, -1); }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

[[nodiscard]] Result<Fd> duplicate(int fd);        // close on exec

// "memfd_create: Too many open files", as an Error; `what` says on what: a path, a name.
[[nodiscard]] Error os_error(std::string_view call, std::string_view what = {});

// Memory as a file, sized, zero, sealable. Grows on touch; nothing on disk.
[[nodiscard]] Result<Fd> make_memfd(const char* name, std::uint64_t size);
// No more writing, shrinking or growing, for whoever gets it. A writable mapping from before stays one: whoever seals drops his.
[[nodiscard]] Result<void> seal(const Fd& memfd);
// True if it is a memfd sealed against shrinking and writing, of at least this size: safe to map and read. Who sealed it may still write
// by a mapping that he kept: bytes of a stranger are read once, or copied.
[[nodiscard]] bool is_sealed(int fd, std::uint64_t size);

[[nodiscard]] Result<Fd> make_eventfd();           // non-blocking, close on exec
void ring_doorbell(int eventfd);                   // wakes whoever waits on it
void clear_doorbell(int eventfd);

// A pair of connected SOCK_SEQPACKET sockets: first non-blocking (the node's), second blocking.
[[nodiscard]] Result<std::pair<Fd, Fd>> make_packet_pair();

// One end of such a pair: nothing that a name leads to, or that another address family would do with what it is sent.
[[nodiscard]] bool is_packet_socket(int fd);

struct Packet {
  std::size_t size = 0;       // of the bytes; 0: the peer is gone
  std::vector<Fd> fds;
  int pid = 0;                // of the sender as this process sees it, if the socket passes credentials
};
constexpr std::size_t kPacketFdsMax = 80;  // the kernel takes up to 253

// Both are EINTR-proof. send: Code::exhausted where the socket's buffer is full (non-blocking sockets only),
// unavailable where the peer is gone. receive: exhausted where nothing is there.
[[nodiscard]] Result<void> send_packet(int socket, std::span<const std::byte> bytes, std::span<const int> fds = {});
[[nodiscard]] Result<Packet> receive_packet(int socket, std::span<std::byte> into);
// Without descriptors, and never waiting, though whoever has the other end may have said of the socket that it blocks. Bytes of the
// packet (more than there is room for are cut off), 0: the peer is gone; or kNoPacket: nothing is there, or there is no room.
constexpr std::int64_t kNoPacket = -1;
[[nodiscard]] std::int64_t receive_packet_now(int socket, std::span<char> into);
[[nodiscard]] std::int64_t send_packet_now(int socket, std::span<const std::byte> head, std::string_view body);
[[nodiscard]] Result<void> pass_credentials(int socket);  // SO_PASSCRED: receive_packet then fills in pid

template <class T>
std::span<const std::byte> bytes_of(const T& value) { return std::as_bytes(std::span(&value, 1)); }

// A mapping with one owner.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* at, std::size_t size) : at_(static_cast<std::byte*>(at)), size_(size) {}
  Mapping(Mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) { reset(); at_ = std::exchange(other.at_, nullptr); size_ = std::exchange(other.size_, 0); }
    return *this;
  }
  ~Mapping() { reset(); }
  std::byte* data() const { return at_; }
  std::size_t size() const { return size_; }
  explicit operator bool() const { return at_ != nullptr; }
  std::string_view text() const { return {reinterpret_cast<const char*>(at_), size_}; }
  void reset();

 private:
  std::byte* at_ = nullptr;
  std::size_t size_ = 0;
};

enum class Access { read, write };
// The first `size` bytes of a file, shared; size 0 gives an empty Mapping.
[[nodiscard]] Result<Mapping> map_file(int fd, std::uint64_t size, Access access);

}  // namespace mayfly::os
