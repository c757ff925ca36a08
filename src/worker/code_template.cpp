#include "worker/code_template.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "domain/link.h"
#include "os/clock.h"
#include "os/loop.h"
#include "os/port.h"
#include "os/process.h"
#include "worker/code_loop.h"
#include "worker/code_output.h"
#include "worker/code_program.h"
#include "worker/node_control.h"
#include "worker/outbound.h"

namespace mayfly::worker {
namespace {

using domain::MessageKind;
using namespace std::chrono_literals;

constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kLinkFds = 4;  // control socket, ring, two doorbells; and one to ask for connections at, where it may

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

[[noreturn]] void refuse(int control, const Error& error) {
  ::_exit(say_failed(control, error) ? 0 : 1);
}

// The node moves this host and its program into their control group, and says so.
void await_placed(int control) {
  std::array<std::byte, 4096> bytes;
  for (;;) {
    pollfd wait{.fd = control, .events = POLLIN, .revents = 0};
    ::poll(&wait, 1, -1);
    const auto packet = os::receive_packet(control, bytes);
    domain::Message head;
    if (!packet || packet->size < sizeof head) ::_exit(0);
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.kind == MessageKind::stop) ::_exit(0);
    if (head.kind == MessageKind::placed) return;
  }
}

[[noreturn]] void be_instance(std::vector<os::Fd> link, os::Fd template_socket, const domain::CodeOrder& order) {
  const int control = link[0].get();
  auto program = CodeProgram::fork(template_socket.get());
  template_socket.reset();
  const domain::Message hello{MessageKind::hello, 0};
  if (!program) {
    static_cast<void>(os::send_packet(control, os::bytes_of(hello)).has_value());
    refuse(control, program.error());
  }
  const std::array descriptors{program->pidfd().get()};
  if (!os::send_packet(control, os::bytes_of(hello), descriptors)) ::_exit(0);
  await_placed(control);
  run_forked_code(control, std::span(link).subspan(1), order, std::move(*program));
}

class CodeTemplate {
 public:
  CodeTemplate(os::Loop loop, os::Fd& control, domain::CodeOrder order, os::Fd outbound)
      : loop_(std::move(loop)), control_(control), order_(std::move(order)), outbound_node_(std::move(outbound)) {}

  [[noreturn]] void run() {
    if (const auto started = start(); !started) refuse(control_.get(), started.error());
    for (;;) {
      loop_.turn(1h);
      for (; !forks_.empty(); forks_.pop_front()) fork(forks_.front());
    }
  }

 private:
  Result<void> start() {
    TRY(auto pair, os::make_packet_pair());
    socket_ = std::move(pair.first);
    if (!order_.outbound.empty()) { TRY(outbound_, start_outbound(order_.outbound, std::move(outbound_node_))); }
    TRY(output_, CodeOutput::create(loop_, STDERR_FILENO, CodeOutput::Of::program));
    os::Command command = command_of(order_, "");
    command.arguments.emplace_back("template");
    TRY(program_, os::spawn_in_group(command, order_.folder, {output_->far(), output_->far_errors(), &pair.second}));
    output_->forget_far();
    TRY_VOID(loop_.watch(socket_.get(), os::kReadable, socket_port_));
    return loop_.watch(control_.get(), os::kReadable, control_port_);
  }

  void hear_program() {
    std::string text(kTextMax, '\0');
    const auto packet = os::receive_packet(socket_.get(), std::as_writable_bytes(std::span(text)));
    if (!packet && packet.error().code == Code::exhausted) return;
    text.resize(packet ? packet->size : 0);
    if (text != "ready") {
      output_->drain();
      os::end_group(program_);
      if (told_) ::_exit(0);  // it has ended; so does this template
      refuse(control_.get(), {Code::unimplemented, text.empty() ? "the program ended while it imported the handler's module" : text});
    }
    told_ = true;
    os::end(outbound_);  // its fork listens there from now on
    const domain::ReadyMessage ready{.threads = 1, .load_ns = ns(os::monotonic_now() - begun_),
                                     .cpu_ns = ns(os::process_cpu_now() + os::process_cpu(program_.pid))};
    if (!os::send_packet(control_.get(), os::bytes_of(ready))) end();
  }

  void hear_node() {
    std::array<std::byte, 4096> bytes;
    auto packet = os::receive_packet(control_.get(), bytes);
    if (!packet && packet.error().code == Code::exhausted) return;
    domain::Message head;
    if (!packet || packet->size < sizeof head) end();
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.kind == MessageKind::stop) end();
    const std::size_t expected = kLinkFds + (order_.outbound.empty() ? 0 : 1);
    if (head.kind == MessageKind::fork && packet->fds.size() == expected) forks_.push_back(std::move(packet->fds));
  }

  [[noreturn]] void end() {
    os::end_group(program_);
    ::_exit(0);
  }

  // A child of init, like a template of a model's. Not from inside the loop, which a child doesn't touch again.
  void fork(std::vector<os::Fd>& link) {
    if (::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr) != 0) return;  // or no room: its socket closes
    std::vector<int> kept{socket_.get()};
    for (const os::Fd& fd : link) kept.push_back(fd.get());
    os::close_all_but(std::move(kept));  // the template's own are none of its business: a copy would hide the template's end
    be_instance(std::move(link), std::move(socket_), order_);
  }

  os::Loop loop_;
  os::Fd& control_;
  const domain::CodeOrder order_;
  const Instant begun_ = os::monotonic_now();
  os::Fd socket_, outbound_node_;
  os::Child outbound_;                             // while the module is imported
  std::unique_ptr<CodeOutput> output_;
  os::Child program_;
  os::Port control_port_{[this] { hear_node(); }}, socket_port_{[this] { hear_program(); }};
  std::deque<std::vector<os::Fd>> forks_;
  bool told_ = false;
};

}  // namespace

void run_code_template(os::Fd& control, std::string_view order_json, os::Fd outbound) {
  ::signal(domain::kCancelSignal, SIG_IGN);
  auto order = domain::parse_code_order(order_json);
  if (!order) refuse(control.get(), order.error());
  auto loop = os::Loop::create();
  if (!loop) refuse(control.get(), loop.error());
  CodeTemplate(std::move(*loop), control, std::move(*order), std::move(outbound)).run();
}

}  // namespace mayfly::worker
