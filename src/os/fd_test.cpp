#include "os/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace mayfly::os {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Fd, HasOneOwner) {
  Fd a = make_eventfd().value();
  const int number = a.get();
  Fd b = std::move(a);
  EXPECT_EQ(b.get(), number);
  Fd& same = b;
  b = std::move(same);
  EXPECT_TRUE(is_open(number)) << "moved to itself";
  b = Fd();
  EXPECT_FALSE(is_open(number));
  Fd c = make_eventfd().value();
  const int released = c.release();
  c.reset();
  EXPECT_TRUE(is_open(released));
  ::close(released);
}

TEST(Fd, ErrorsNameTheCallAndTheReason) {
  errno = EMFILE;
  const Error error = os_error("open", "/tmp/x");
  EXPECT_EQ(error.code, Code::exhausted);
  EXPECT_EQ(error.message, "open /tmp/x: Too many open files");
  errno = ENOENT;
  EXPECT_EQ(os_error("open").code, Code::not_found);
}

TEST(Fd, OnlyASealedMemfdOfTheSizeIsSafe) {
  Fd fd = make_memfd("test", 100).value();
  ASSERT_EQ(::pwrite(fd.get(), "hello", 5, 0), 5);
  EXPECT_FALSE(is_sealed(fd.get(), 100));
  ASSERT_TRUE(seal(fd));
  EXPECT_TRUE(is_sealed(fd.get(), 100));
  EXPECT_TRUE(is_sealed(fd.get(), 99));
  EXPECT_FALSE(is_sealed(fd.get(), 101)) << "reading past its end would kill the reader";
  EXPECT_LT(::pwrite(fd.get(), "x", 1, 0), 0);
  EXPECT_FALSE(map_file(fd.get(), 5, Access::write));
  EXPECT_LT(::ftruncate(fd.get(), 10), 0);
  EXPECT_FALSE(is_sealed(make_eventfd()->get(), 0));
  EXPECT_FALSE(is_sealed(-1, 0));
  const Mapping mapped = map_file(fd.get(), 5, Access::read).value();
  EXPECT_EQ(mapped.text(), "hello");
}

// Anything may hold a page for a moment: here a pipe does.
TEST(Fd, SealingWaitsForNobody) {
  Fd fd = make_memfd("test", 4096).value();
  ASSERT_EQ(::pwrite(fd.get(), "hello", 5, 0), 5);
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const Fd from(pipe[0]), into(pipe[1]);
  off_t at = 0;
  ASSERT_EQ(::splice(fd.get(), &at, into.get(), nullptr, 5, 0), 5);
  EXPECT_TRUE(seal(fd));
}

TEST(Fd, AnEmptyMappingIsNone) {
  Fd fd = make_memfd("test", 0).value();
  const auto mapping = map_file(fd.get(), 0, Access::read);
  ASSERT_TRUE(mapping);
  EXPECT_FALSE(*mapping);
  EXPECT_EQ(mapping->text(), "");
}

TEST(Packets, CarryBytesAndDescriptors) {
  auto [here, there] = make_packet_pair().value();
  Fd memory = make_memfd("test", 3).value();
  ASSERT_EQ(::pwrite(memory.get(), "abc", 3, 0), 3);
  const int fds[] = {memory.get(), here.get()};
  ASSERT_TRUE(send_packet(here.get(), bytes("hello"), fds));
  memory.reset();
  std::array<std::byte, 64> into{};
  auto packet = receive_packet(there.get(), into);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->size, 5U);
  EXPECT_EQ(std::memcmp(into.data(), "hello", 5), 0);
  ASSERT_EQ(packet->fds.size(), 2U);
  EXPECT_EQ(map_file(packet->fds[0].get(), 3, Access::read)->text(), "abc");
  EXPECT_TRUE(::fcntl(packet->fds[0].get(), F_GETFD) & FD_CLOEXEC) << "does not leak into what is executed";
}

TEST(Packets, AsManyDescriptorsAsTheLimitSays) {
  auto [here, there] = make_packet_pair().value();
  Fd one = make_eventfd().value();
  const std::vector<int> fds(kPacketFdsMax, one.get());
  ASSERT_TRUE(send_packet(here.get(), bytes("x"), fds));
  std::array<std::byte, 8> into{};
  auto packet = receive_packet(there.get(), into);
  ASSERT_TRUE(packet) << packet.error().message;
  EXPECT_EQ(packet->fds.size(), kPacketFdsMax);
}

TEST(Packets, NothingThereIsNotTheEnd) {
  auto [here, there] = make_packet_pair().value();
  std::array<std::byte, 8> into{};
  const auto nothing = receive_packet(here.get(), into);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Code::exhausted);
  there.reset();
  const auto gone = receive_packet(here.get(), into);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->size, 0U);
  EXPECT_EQ(send_packet(here.get(), bytes("x")).error().code, Code::unavailable);
}

// A peer may send more than the protocol knows; its descriptors must not stay open in this process.
TEST(Packets, TooLargeIsRefusedAndLeaksNothing) {
  auto [here, there] = make_packet_pair().value();
  Fd extra = make_eventfd().value();
  const int lowest_free = make_eventfd()->get();
  const int fds[] = {extra.get()};
  std::array<std::byte, 4> small{};
  ASSERT_TRUE(send_packet(here.get(), bytes("longer than four"), fds));
  const auto packet = receive_packet(there.get(), small);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.error().code, Code::invalid_argument);
  EXPECT_EQ(make_eventfd()->get(), lowest_free);
}

TEST(Packets, MoreDescriptorsThanTheProtocolKnowsLeakNothing) {
  auto [here, there] = make_packet_pair().value();
  Fd extra = make_eventfd().value();
  const int lowest_free = make_eventfd()->get();
  // As a hostile peer would: not through send_packet, which has the limit.
  const std::vector<int> fds(kPacketFdsMax + 40, extra.get());
  char byte = 'x';
  iovec part{&byte, 1};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
  ASSERT_EQ(::sendmsg(here.get(), &message, 0), 1);
  std::array<std::byte, 8> into{};
  { EXPECT_FALSE(receive_packet(there.get(), into)); }
  EXPECT_EQ(make_eventfd()->get(), lowest_free);
}

TEST(Packets, AFullSocketSaysSo) {
  auto [here, there] = make_packet_pair().value();
  const std::string large(32768, 'x');
  Result<void> sent;
  for (int i = 0; i < 1000 && sent; ++i) sent = send_packet(here.get(), bytes(large));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::exhausted);
}

TEST(Packets, CredentialsNameTheSender) {
  auto [here, there] = make_packet_pair().value();
  ASSERT_TRUE(pass_credentials(there.get()));
  ASSERT_TRUE(send_packet(here.get(), bytes("x")));
  std::array<std::byte, 8> into{};
  EXPECT_EQ(receive_packet(there.get(), into)->pid, ::getpid());
}

TEST(Doorbell, RingsOnceHoweverOften) {
  Fd bell = make_eventfd().value();
  for (int i = 0; i < 5; ++i) ring_doorbell(bell.get());
  clear_doorbell(bell.get());
  clear_doorbell(bell.get());
  std::uint64_t count = 0;
  EXPECT_LT(::read(bell.get(), &count, sizeof count), 0) << "empty again, and does not block";
}

}  // namespace
}  // namespace mayfly::os
