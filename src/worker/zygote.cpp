#include "worker/zygote.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "domain/link.h"
#include "worker/node_control.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

class Zygote {
 public:
  Zygote(os::Fd socket, os::Fd children, const ProcessEntry& entry)
      : socket_(std::move(socket)), children_(std::move(children)), entry_(entry), ids_(find_outside_ids()) {}

  // Until the node closes its end.
  void serve() {
    for (;;) {
      std::array<pollfd, 2> wait{{{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                {.fd = children_.get(), .events = POLLIN, .revents = 0}}};
      ::poll(wait.data(), wait.size(), -1);
      if (wait[1].revents) reap();
      if (wait[0].revents && !take_order()) return;
    }
  }

 private:
  bool take_order() {
    std::vector<std::byte> bytes(sizeof(domain::SandboxOrder) + kBindsTextMax);
    auto packet = os::receive_packet(socket_.get(), bytes);
    domain::SandboxOrder order;
    std::memcpy(&order, bytes.data(), sizeof order);
    if (!packet && packet.error().code != Code::invalid_argument) return true;  // a passing shortage
    if (packet && packet->size == 0) return false;
    const std::size_t size = packet ? packet->size : 0;
    const std::span<const std::byte> behind = std::span(bytes).first(size).subspan(std::min(size, sizeof order));
    const auto pid = packet ? follow(order, behind, packet->fds) : Result<int>(fail(packet.error()));
    if (!pid) {
      say(domain::SandboxMade{.head = {domain::MessageKind::sandbox_failed, 0}, .sandbox = order.sandbox}, pid.error().message);
      return true;
    }
    sandboxes_.emplace(*pid, order.sandbox);
    say(domain::SandboxMade{.sandbox = order.sandbox, .init_pid = *pid}, {});
    return true;
  }

  Result<int> follow(const domain::SandboxOrder& order, std::span<const std::byte> behind, std::vector<os::Fd>& fds) {
    if (order.head.kind != domain::MessageKind::make_sandbox || order.head.size != behind.size() || fds.size() != 3)
      return fail(Code::internal, "the zygote did not understand an order");
    TRY(auto outside, read_outside({reinterpret_cast<const char*>(behind.data()), behind.size()}));
    return make_sandbox({.number = order.sandbox, .memory_max = order.memory_max, .control = std::move(fds[0]),
                         .status = std::move(fds[1]), .log = std::move(fds[2]), .binds = std::move(outside.binds),
                         .hosts = std::move(outside.hosts), .machine_network = order.machine_network != 0, .user = std::move(outside.user)},
                        ids_, entry_);
  }

  void reap() {
    signalfd_siginfo info{};
    [[maybe_unused]] const auto got = ::read(children_.get(), &info, sizeof info);
    int status = 0;
    for (int pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto found = sandboxes_.find(pid);
      if (found == sandboxes_.end()) continue;
      say(domain::SandboxEnded{.sandbox = found->second, .wait_status = status}, {});
      sandboxes_.erase(found);
    }
  }

  template <class Report>
  void say(Report report, std::string_view text) {
    report.head.size = static_cast<std::uint32_t>(text.size());
    std::string packet(sizeof report, '\0');
    std::memcpy(packet.data(), &report, sizeof report);
    packet += text;
    // Nothing to do where it fails: the node is gone, and the next receive says so.
    [[maybe_unused]] const auto sent = os::send_packet(socket_.get(), std::as_bytes(std::span(packet)));
  }

  os::Fd socket_, children_;
  const ProcessEntry& entry_;
  OutsideIds ids_;
  std::unordered_map<int, std::uint64_t> sandboxes_;  // by init's pid
};

}  // namespace

int refuse_to_serve(const os::Fd& socket, const Error& error) {
  [[maybe_unused]] const bool sent = say_failed(socket.get(), error, error.message.size());
  return 1;
}

int run_zygote(os::Fd socket, const ProcessEntry& entry) {
  ::prctl(PR_SET_NAME, "mayfly-zygote");
  ::malloc_trim(0);  // the allocator reads its settings from files when first used: now, not behind a filter
  if (const auto prepared = prepare_filters(); !prepared) return refuse_to_serve(socket, prepared.error());
  sigset_t child_ended;
  ::sigemptyset(&child_ended);
  ::sigaddset(&child_ended, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_ended, nullptr);
  os::Fd children(::signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!children) return refuse_to_serve(socket, os::os_error("signalfd"));
  const domain::Message hello{domain::MessageKind::hello, 0};
  if (!os::send_packet(socket.get(), os::bytes_of(hello))) return 0;
  Zygote(std::move(socket), std::move(children), entry).serve();
  return 0;
}

}  // namespace mayfly::worker
