#include "os/fd.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/assert.h"

namespace mayfly::os {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Mapping::reset() {
  if (at_) ::munmap(at_, size_);
  at_ = nullptr;
  size_ = 0;
}

Error os_error(std::string_view call, std::string_view what) {
  const int error = errno;
  Code code = Code::internal;
  if (error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN)
    code = Code::exhausted;
  if (error == ENOENT) code = Code::not_found;
  if (error == EACCES || error == EPERM) code = Code::permission_denied;
  if (error == EPIPE || error == ECONNRESET || error == ECONNREFUSED) code = Code::unavailable;
  std::string message(call);
  if (!what.empty()) message.append(" ").append(what);
  return {code, message + ": " + std::strerror(error)};
}

Result<Fd> duplicate(int fd) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(os_error("F_DUPFD_CLOEXEC"));
  return copy;
}

Result<Fd> make_memfd(const char* name, std::uint64_t size) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail(os_error("memfd_create"));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return fail(os_error("ftruncate"));
  return fd;
}

Result<void> seal(const Fd& memfd) {
  // Not F_SEAL_WRITE: to be sure that no device writes either, the kernel waits until nobody else holds any of the pages, which takes
  // 130 us on an idle machine, 12 ms on a busy one, and fails with EBUSY at times.
  if (::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail(os_error("F_ADD_SEALS"));
  return {};
}

bool is_sealed(int fd, std::uint64_t size) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  struct stat status {};
  return seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) && (seals & F_SEAL_SHRINK) && ::fstat(fd, &status) == 0 &&
         status.st_size >= 0 && static_cast<std::uint64_t>(status.st_size) >= size;
}

Result<Fd> make_eventfd() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail(os_error("eventfd"));
  return fd;
}

void ring_doorbell(int eventfd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(eventfd, &one, sizeof one);  // full means: already rung
}

void clear_doorbell(int eventfd) {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(eventfd, &count, sizeof count);
}

Result<std::pair<Fd, Fd>> make_packet_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return fail(os_error("socketpair"));
  std::pair<Fd, Fd> pair{Fd(fds[0]), Fd(fds[1])};
  if (::fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return fail(os_error("O_NONBLOCK"));
  const int room = 1 << 18;  // a LoadOrder with all its files fits
  for (const int fd : fds) ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  return pair;
}

bool is_packet_socket(int fd) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_SEQPACKET && option(SO_ACCEPTCONN) == 0;
}

Result<void> send_packet(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
  ASSERT(fds.size() <= kPacketFdsMax, "too many descriptors for one packet");
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPacketFdsMax)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    std::memset(control, 0, CMSG_SPACE(fds.size_bytes()));
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return {};
    if (errno != EINTR) return fail(os_error("sendmsg"));
  }
}

Result<Packet> receive_packet(int socket, std::span<std::byte> into) {
  iovec part{into.data(), into.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPacketFdsMax) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = 0;
  do size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  if (size < 0) {
    if (errno == EAGAIN) return fail(Code::exhausted, "nothing to receive");
    if (errno == ECONNRESET) return Packet{};
    return fail(os_error("recvmsg"));
  }
  Packet packet{.size = static_cast<std::size_t>(size)};
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET) continue;
    if (head->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
        packet.fds.emplace_back(fd);
      }
    } else if (head->cmsg_type == SCM_CREDENTIALS) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(head), sizeof sender);
      packet.pid = sender.pid;
    }
  }
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) return fail(Code::invalid_argument, "a packet larger than the protocol allows");
  return packet;
}

std::int64_t receive_packet_now(int socket, std::span<char> into) {
  for (;;) {
    const ssize_t size = ::recv(socket, into.data(), into.size(), MSG_DONTWAIT);
    if (size >= 0) return size;
    if (errno != EINTR) return errno == EAGAIN ? kNoPacket : 0;
  }
}

std::int64_t send_packet_now(int socket, std::span<const std::byte> head, std::string_view body) {
  iovec parts[2] = {{const_cast<std::byte*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  for (;;) {
    const ssize_t size = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0) return size;
    if (errno != EINTR) return errno == EAGAIN || errno == ENOBUFS ? kNoPacket : 0;
  }
}

Result<void> pass_credentials(int socket) {
  const int on = 1;
  if (::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return fail(os_error("SO_PASSCRED"));
  return {};
}

Result<Mapping> map_file(int fd, std::uint64_t size, Access access) {
  if (size == 0) return Mapping();
  const int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  // For reading, private and shared pages are the same pages; but before Linux 6.7 a write-sealed memfd refuses MAP_SHARED.
  void* at = ::mmap(nullptr, size, protection, access == Access::read ? MAP_PRIVATE : MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return fail(os_error("mmap"));
  return Mapping(at, size);
}

}  // namespace mayfly::os
