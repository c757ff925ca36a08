#include "standin.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "domain/frame.h"
#include "domain/link.h"
#include "os/ring.h"
#include "worker/seccomp.h"

namespace mayfly::security {
namespace {

struct Order {
  std::string bytes;
  std::vector<os::Fd> fds;
};

Order receive(int control) {
  Order order{std::string(domain::kMessageMax, '\0'), {}};
  auto packet = os::receive_packet(control, std::as_writable_bytes(std::span(order.bytes)));
  if (!packet || packet->size == 0) ::_exit(0);
  order.bytes.resize(packet->size);
  order.fds = std::move(packet->fds);
  return order;
}

template <class Fixed>
void say(int control, Fixed fixed, std::string_view text = {}, std::span<const int> fds = {}) {
  fixed.head.size = static_cast<std::uint32_t>(text.size());
  std::string packet(sizeof fixed, '\0');
  std::memcpy(packet.data(), &fixed, sizeof fixed);
  packet += text;
  if (!os::send_packet(control, std::as_bytes(std::span(packet)), fds)) ::_exit(2);
}

void say_hello(int control) {
  const domain::Message hello{domain::MessageKind::hello, 0};
  if (!os::send_packet(control, os::bytes_of(hello))) ::_exit(2);
}

[[noreturn]] void eat_memory() {
  for (;;) {
    void* at = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    std::memset(at, 1, 1 << 20);
  }
}

// A job may fork (its measurement of a template does): without end it comes to a limit. Its children hold on to all it had.
void fork_without_end() {
  ::prctl(PR_SET_NAME, "fork-bomb");
  int made = 0;
  for (;; ++made) {
    const long child = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0) break;
    if (child == 0) for (;;) ::poll(nullptr, 0, -1);
  }
  std::fprintf(stderr, "fork %d failed: %s\n", made + 1, std::strerror(errno));
}

class Instance {
 public:
  Instance(int control, int memory, int to_bell, int from_bell)
      : control_(control), in_(*os::open_ring(memory, 0, to_bell)), out_(*os::open_ring(memory, 1, from_bell)),
        memory_(memory), from_bell_(from_bell) {}

  [[noreturn]] void serve() {
    for (;;) {
      while (const auto frame = in_.front()) {
        domain::RequestHead head;
        std::memcpy(&head, frame->data(), sizeof head);
        if (!head.cancelled) answer(head, {reinterpret_cast<const char*>(frame->data()) + sizeof head, frame->size() - sizeof head});
        in_.pop();
      }
      out_.wake();
      if (!in_.prepare_sleep()) continue;
      if (stopping_) ::_exit(0);
      pollfd wait[] = {{control_, POLLIN, 0}, {in_.doorbell(), POLLIN, 0}};
      ::poll(wait, 2, -1);
      if (wait[0].revents) take_message();
      os::clear_doorbell(in_.doorbell());
    }
  }

 private:
  void take_message() {
    Order order = receive(control_);
    domain::BodyMessage body;
    std::memcpy(&body, order.bytes.data(), std::min(sizeof body, order.bytes.size()));
    if (body.head.kind == domain::MessageKind::stop) stopping_ = true;
    if (body.head.kind == domain::MessageKind::body) bodies_[body.ticket] = std::move(order.fds.at(0));
  }

  void answer(const domain::RequestHead& head, std::string body) {
    if (head.in_memfd) return answer_large(head);
    misbehave(head, body);
    put(domain::ReplyHead{.ticket = head.ticket, .body_size = body.size()}, body);
  }

  void answer_large(const domain::RequestHead& head) {
    while (!bodies_.contains(head.ticket)) take_message();
    const auto in = os::map_file(bodies_[head.ticket].get(), head.body_size, os::Access::read);
    const auto copy = os::make_memfd("reply", head.body_size);
    {
      const auto out = os::map_file(copy->get(), head.body_size, os::Access::write);
      std::memcpy(out->data(), in->data(), head.body_size);
    }
    if (!in->text().starts_with("unsealed") && !os::seal(*copy)) ::_exit(3);
    const int fd = copy->get();
    const auto claimed = in->text().starts_with("short") ? head.body_size * 2 : head.body_size;
    say(control_, domain::BodyMessage{.head = {domain::MessageKind::reply_body, 0}, .ticket = head.ticket, .size = claimed},
        {}, std::span(&fd, 1));
    put(domain::ReplyHead{.ticket = head.ticket, .body_size = claimed, .in_memfd = 1}, {});
  }

  void put(const domain::ReplyHead& head, std::string_view body) {
    std::byte* at = out_.reserve(sizeof head + body.size());
    if (!at) ::_exit(4);
    std::memcpy(at, &head, sizeof head);
    if (!body.empty()) std::memcpy(at + sizeof head, body.data(), body.size());
    out_.publish(sizeof head + body.size());
  }

  void misbehave(const domain::RequestHead& head, const std::string& body) {
    if (body.starts_with("late ")) {
      ::usleep(100'000);
      return misbehave(head, body.substr(5));
    }
    if (body == "crash") *reinterpret_cast<volatile int*>(8) = 1;
    if (body == "abort") std::abort();
    if (body == "exit") ::_exit(7);
    if (body == "spin") for (;;) asm volatile("" ::: "memory");
    if (body == "eat") eat_memory();
    if (body == "log") std::fputs("a line of the model's own\n", stderr);
    if (body == "socket") ::syscall(SYS_socket, 2, 1, 0);
    if (body == "flood") for (int i = 0; i < 100'000; ++i) std::fputs("again and again and again\n", stderr);
    if (body == "lying size") put(domain::ReplyHead{.ticket = head.ticket, .body_size = 1 << 30}, "x");
    if (body == "lying json") put(domain::ReplyHead{.ticket = head.ticket, .body_size = 1, .json_size = 2}, "x");
    if (body == "bad code") put(domain::ReplyHead{.ticket = head.ticket, .body_size = 1, .code = 77}, "x");
    if (body == "no body") put(domain::ReplyHead{.ticket = head.ticket, .body_size = 9, .in_memfd = 1}, {});
    if (body == "bad message") say(control_, domain::ReadyMessage{.head = {static_cast<domain::MessageKind>(99), 0}, .credit = 1});
    if (body == "gift") {
      const int fd = memory_;
      say(control_, domain::FailedMessage{.head = {domain::MessageKind::log, 0}}, {}, std::span(&fd, 1));
    }
    if (body == "overrun") overrun(1, &os::RingIndex::produced, ~0ULL - 64);
    if (body == "rewind") overrun(0, &os::RingIndex::consumed, 1ULL << 40);
    if (body == "shrink") shrink();
  }

  // An index that can't be: past every bound, or before the start.
  [[noreturn]] void overrun(int direction, std::atomic<std::uint64_t> os::RingIndex::*which, std::uint64_t value) {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory_, 0);
    ((static_cast<os::RingIndex*>(at) + direction)->*which).store(value);
    os::ring_doorbell(from_bell_);
    for (;;) ::poll(nullptr, 0, 1000);
  }

  // The node's mapping would be left without memory.
  void shrink() {
    if (::ftruncate(memory_, 0) == 0) ::_exit(9);
    std::fprintf(stderr, "the ring can't be shrunk: %s\n", std::strerror(errno));
  }

  int control_;
  os::Ring in_, out_;
  int memory_, from_bell_;
  bool stopping_ = false;
  std::unordered_map<std::uint64_t, os::Fd> bodies_;
};

[[noreturn]] void run_instance(int control, std::vector<os::Fd> fds, std::size_t first) {
  if (!worker::apply_role_filter(domain::Role::instance)) ::_exit(5);
  say(control, domain::ReadyMessage{.head = {domain::MessageKind::ready, 0}, .credit = 8, .threads = 1});
  Instance(control, fds.at(first).get(), fds.at(first + 1).get(), fds.at(first + 2).get()).serve();
}

// What it inherited of the node's link to the template is of no use to a child: it closes all but its own.
[[noreturn]] void run_template(int control) {
  if (!worker::apply_role_filter(domain::Role::template_)) ::_exit(5);
  say(control, domain::ReadyMessage{.head = {domain::MessageKind::ready, 0}, .credit = 1, .threads = 1});
  for (;;) {
    Order order = receive(control);
    domain::Message head;
    std::memcpy(&head, order.bytes.data(), sizeof head);
    if (head.kind == domain::MessageKind::stop) ::_exit(0);
    if (head.kind != domain::MessageKind::fork) continue;
    if (::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) != 0) continue;
    ::close(control);
    const int own = order.fds.at(0).get();
    say_hello(own);
    run_instance(own, std::move(order.fds), 1);
  }
}

}  // namespace

void run_standin(os::Fd control) {
  say_hello(control.get());
  Order order = receive(control.get());
  domain::LoadOrder load;
  std::memcpy(&load, order.bytes.data(), sizeof load);
  const std::string_view name = load.model_name;
  if (name == "crash at load") std::abort();
  if (name == "never ready") for (;;) ::pause();
  if (name == "eat at load") eat_memory();
  if (name == "refuses") return say(control.get(), domain::FailedMessage{.head = {domain::MessageKind::failed, 0}, .code = 1},
           "not a model");
  if (name == "bad credit") return say(control.get(), domain::ReadyMessage{.head = {domain::MessageKind::ready, 0}, .credit = 0});
  if (name == "forks") {
    if (!worker::apply_role_filter(domain::Role::check)) ::_exit(5);
    fork_without_end();
    return say(control.get(), domain::ReadyMessage{.head = {domain::MessageKind::ready, 0}, .credit = 1}, "forked");
  }
  if (name == "job") return say(control.get(), domain::ReadyMessage{.head = {domain::MessageKind::ready, 0}, .credit = 1},
           R"({"result": 1})");
  if (load.role == domain::Role::template_) run_template(control.get());
  run_instance(control.get(), std::move(order.fds), 0);
}

}  // namespace mayfly::security
