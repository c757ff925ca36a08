#include "worker/outbound.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "domain/network.h"
#include "worker/seccomp.h"

namespace mayfly::worker {

Result<os::Fd> outbound_socket(std::span<const os::Fd> link) {
  if (link.size() <= kLinkOutbound) return os::Fd();
  return os::duplicate(link[kLinkOutbound].get());
}

namespace {

// Until its parent ends: there is nobody to tell of an error but the log.
[[noreturn]] void carry(std::vector<os::Listener> listeners, os::Fd node, int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  ::prctl(PR_SET_NAME, "mayfly-outbound");
  std::vector<int> kept{node.get()};
  for (const os::Listener& listener : listeners) kept.push_back(listener.fd());
  os::close_all_but(std::move(kept));
  auto loop = os::Loop::create();
  const auto prepare = [&]() -> Result<std::unique_ptr<Outbound>> {
    if (!loop) return fail(loop.error());
    TRY(auto outbound, Outbound::create(*loop, std::move(listeners), std::move(node)));
    TRY_VOID(apply_outbound_filter());
    return outbound;
  };
  const auto outbound = prepare();
  if (!outbound) {
    std::fprintf(stderr, "mayfly: this function reaches nothing outside: %s\n", outbound.error().message.c_str());
    ::_exit(1);
  }
  while (!(*outbound)->node_gone() && loop->turn(std::chrono::hours(1))) {}
  ::_exit(0);
}

}  // namespace

Result<os::Child> start_outbound(const std::vector<std::string>& addresses, os::Fd node) {
  std::vector<os::Listener> listeners;
  for (const std::string& address : addresses) {
    TRY(os::Listener listener, os::Listener::create_inside(address));
    listeners.push_back(std::move(listener));
  }
  const int parent = ::getpid();
  return os::fork_child(std::move(node), [&](os::Fd socket) -> int { carry(std::move(listeners), std::move(socket), parent); });
}

Result<std::unique_ptr<Outbound>> Outbound::create(os::Loop& loop, std::vector<os::Listener> listeners, os::Fd node) {
  std::unique_ptr<Outbound> outbound(new Outbound(loop, std::move(node)));
  for (os::Listener& listener : listeners)
    outbound->gates_.push_back(
        std::make_unique<Gate>(*outbound, std::move(listener), static_cast<std::uint32_t>(outbound->gates_.size())));
  TRY_VOID(loop.watch(outbound->node_.get(), os::kReadable, *outbound));
  outbound->listen_on();
  return outbound;
}

Outbound::~Outbound() {
  listen_no_more();
  if (node_) loop_.unwatch(node_.get());
}

void Outbound::listen_on() {
  if (listening_ || full() || !node_) return;
  listening_ = true;
  for (const auto& gate : gates_)
    static_cast<void>(loop_.watch(gate->listener.fd(), os::kReadable, *gate).has_value());  // no room: as if nobody listened there
}

void Outbound::listen_no_more() {
  if (!std::exchange(listening_, false)) return;
  for (const auto& gate : gates_) loop_.unwatch(gate->listener.fd());
}

void Outbound::accept(Gate& gate) {
  while (!full()) {
    auto program = gate.listener.accept();
    if (program && !*program) return;              // nobody waits
    if (!program) break;                           // out of descriptors: one that closes makes room
    const domain::OutboundAsk ask{.number = ++made_, .destination = gate.destination};
    if (!os::send_packet(node_.get(), os::bytes_of(ask))) {
      os::close_with_reset(*program);
      continue;
    }
    asked_.emplace(ask.number, *std::move(program));
  }
  if (!asked_.empty() || !relays_.empty()) listen_no_more();  // else nothing would wake it
}

void Outbound::on_events(std::uint32_t) {
  domain::OutboundAnswer answer;
  auto packet = os::receive_packet(node_.get(), std::as_writable_bytes(std::span(&answer, 1)));
  if (!packet && packet.error().code == Code::exhausted) return;
  if (!packet || packet->size == 0) {              // the node is gone, and soon all of this
    listen_no_more();
    loop_.unwatch(node_.get());
    node_.reset();
    return;
  }
  if (packet->size != sizeof answer) return;
  answered(answer.number, answer.granted != 0 && packet->fds.size() == 1 ? std::move(packet->fds[0]) : os::Fd());
  listen_on();
}

void Outbound::answered(std::uint64_t number, os::Fd outside) {
  auto asked = asked_.extract(number);
  if (!asked) return;
  os::Fd program = std::move(asked.mapped());
  if (!outside) return os::close_with_reset(program);
  auto relay = std::make_unique<Relay>(loop_, Relay::Ends::each, [this, number] { bury(number); });
  Relay& made = *relay;
  if (!made.open(std::move(program), std::move(outside))) return;
  relays_.emplace(number, std::move(relay));
  made.pump();
}

void Outbound::bury(std::uint64_t number) {
  relays_.erase(number);
  listen_on();
}

}  // namespace mayfly::worker
