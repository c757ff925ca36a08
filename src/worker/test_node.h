// For tests: the node's end of one instance's link. Sends frames, takes replies; knows nothing of the model.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "domain/frame.h"
#include "domain/link.h"
#include "os/clock.h"
#include "os/ring.h"

namespace mayfly::worker {

using namespace std::chrono_literals;

struct TestReply {
  domain::ReplyHead head;
  std::string body, log;
};

struct TestRequest {
  std::uint64_t ticket = 0;
  std::string body;
  domain::WireFormat format = domain::WireFormat::plain_json;
  std::uint64_t deadline_ns = ~0ULL >> 1;
  bool in_memfd = false;
  std::string context;  // behind the body: what the caller said of the call
  bool wants_log = false;
  std::uint8_t id = 0;  // 1 to 255: the last byte of its request id; 0: it has none
};

// What node and instance share. The instance's side takes it over in the child of a fork.
struct TestLink {
  os::Fd memory, request_bell, reply_bell, node_socket, instance_socket;

  TestLink() : memory(os::make_ring_memory().value()), request_bell(os::make_eventfd().value()), reply_bell(os::make_eventfd().value()) {
    std::tie(node_socket, instance_socket) = os::make_packet_pair().value();
  }
};

class TestNode {
 public:
  explicit TestNode(TestLink& link)
      : socket_(link.node_socket), requests_(os::open_ring(link.memory.get(), 0, link.request_bell.get()).value()),
        replies_(os::open_ring(link.memory.get(), 1, link.reply_bell.get()).value()) {}

  // Written, not yet announced: wake() does that. Several then wait together.
  [[nodiscard]] bool write(TestRequest request) {
    const std::size_t json_size = request.body.size();
    request.body += request.context;
    domain::RequestHead head{.ticket = request.ticket, .deadline_ns = request.deadline_ns, .body_size = request.body.size(),
                             .json_size = json_size, .format = request.format, .in_memfd = request.in_memfd,
                             .wants_log = request.wants_log};
    head.request_id[15] = request.id;
    if (request.in_memfd) send_memfd(request);
    const std::string_view body = request.in_memfd ? std::string_view() : request.body;
    std::byte* at = requests_.reserve(sizeof head + body.size());
    if (!at) return false;
    std::memcpy(at, &head, sizeof head);
    std::ranges::copy(std::as_bytes(std::span(body)), at + sizeof head);
    requests_.publish(sizeof head + body.size());
    return true;
  }
  void cancel(std::uint64_t ticket) { write({.ticket = ticket, .cancelled = 1}); }
  void write(const domain::RequestHead& head) {
    std::byte* at = requests_.reserve(sizeof head);
    ASSERT_NE(at, nullptr);
    std::memcpy(at, &head, sizeof head);
    requests_.publish(sizeof head);
  }
  void wake() { requests_.wake(); }
  void send(const TestRequest& request) {
    ASSERT_TRUE(write(request));
    wake();
  }
  void stop() { ASSERT_TRUE(os::send_packet(socket_.get(), os::bytes_of(domain::Message{domain::MessageKind::stop, 0}))); }

  std::optional<TestReply> reply(Duration wait = 20s) {
    const Instant end = os::monotonic_now() + wait;
    while (os::monotonic_now() < end) {
      if (const auto frame = replies_.front()) {
        TestReply reply;
        std::memcpy(&reply.head, frame->data(), sizeof reply.head);
        const auto all = frame->subspan(sizeof reply.head);
        reply.body.assign(reinterpret_cast<const char*>(all.data()), all.size());
        if (reply.head.log_size > reply.body.size()) {
          ADD_FAILURE() << "more lines than bytes";
          return std::nullopt;
        }
        reply.log = reply.body.substr(reply.body.size() - reply.head.log_size);
        reply.body.resize(reply.body.size() - reply.head.log_size);
        replies_.pop();
        if (reply.head.in_memfd) reply.body = receive_memfd(reply.head);
        EXPECT_EQ(reply.body.size(), reply.head.body_size);
        return reply;
      }
      if (replies_.prepare_sleep()) {
        pollfd bell{.fd = replies_.doorbell(), .events = POLLIN, .revents = 0};
        // For all of the wait: a reply that is not announced must not be found by looking again.
        const int rung = ::poll(&bell, 1, static_cast<int>(std::max<std::int64_t>(1, to_us(end - os::monotonic_now()) / 1000)));
        if (rung == 0) return std::nullopt;
        os::clear_doorbell(replies_.doorbell());
        replies_.cancel_sleep();
      }
    }
    return std::nullopt;
  }
  // That many, by ticket; a second reply for a ticket is a failure.
  std::map<std::uint64_t, TestReply> replies(std::size_t count) {
    std::map<std::uint64_t, TestReply> all;
    while (all.size() < count) {
      auto one = reply();
      if (!one) {
        ADD_FAILURE() << "only " << all.size() << " of " << count << " replies came";
        break;
      }
      EXPECT_TRUE(all.emplace(one->head.ticket, *one).second) << "two replies for " << one->head.ticket;
    }
    return all;
  }

 private:
  void send_memfd(const TestRequest& request) {
    const os::Fd memfd = os::make_memfd("body", request.body.size()).value();
    ASSERT_EQ(::pwrite(memfd.get(), request.body.data(), request.body.size(), 0), static_cast<ssize_t>(request.body.size()));
    ASSERT_TRUE(os::seal(memfd));
    const domain::BodyMessage message{.ticket = request.ticket, .size = request.body.size()};
    const std::array fds{memfd.get()};
    ASSERT_TRUE(os::send_packet(socket_.get(), os::bytes_of(message), fds));
  }
  std::string receive_memfd(const domain::ReplyHead& head) {
    domain::BodyMessage message;
    auto packet = os::receive_packet(socket_.get(), std::as_writable_bytes(std::span(&message, 1)));
    if (!packet || packet->fds.size() != 1 || message.ticket != head.ticket || !os::is_sealed(packet->fds[0].get(), head.body_size)) {
      ADD_FAILURE() << "a large reply without its sealed memfd";
      return {};
    }
    return std::string(os::map_file(packet->fds[0].get(), head.body_size, os::Access::read).value().text());
  }

  os::Fd& socket_;
  os::Ring requests_, replies_;
};

}  // namespace mayfly::worker
