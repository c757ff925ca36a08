// How a program in a sandbox reaches the destinations that its function may reach: each has an address of the sandbox's own loopback,
// this listens there, and for each connection asks the node for one to the destination (domain/network.h). The node decides, connects and
// hands the socket over; bytes are carried here, so that the program never holds a socket of the machine's network, which it could
// connect anew or listen on. Nor does its host: this is a process of its own, a child of the host's, which reads nothing of what it carries
// and which a filter of its own (worker/seccomp.h) keeps from connecting, binding, listening and starting anything.
//
// Promises: at most kConnectionsMax connections and kAsksMax questions to the node at a time, the next ones wait to be accepted. A
// connection that the node does not make is reset; the node says why in the function's log. The end of one direction is passed on as that.
// Not promised: that connect() fails where the destination does: it has succeeded by then, and the first byte fails.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/listener.h"
#include "os/loop.h"
#include "os/process.h"
#include "worker/relay.h"

namespace mayfly::worker {

// Listens at the addresses, by the destinations' places in the list, and starts the process. `node`: the socket for questions. It ends with
// the process that started it.
[[nodiscard]] Result<os::Child> start_outbound(const std::vector<std::string>& addresses, os::Fd node);

constexpr std::size_t kLinkOutbound = 3;  // its place among the descriptors of a host: behind ring and doorbells
[[nodiscard]] Result<os::Fd> outbound_socket(std::span<const os::Fd> link);  // none: it may reach nothing

class Outbound final : os::Watcher {
 public:
  static constexpr std::size_t kConnectionsMax = 256, kAsksMax = 32;

  [[nodiscard]] static Result<std::unique_ptr<Outbound>> create(os::Loop& loop, std::vector<os::Listener> listeners, os::Fd node);
  ~Outbound();
  Outbound(const Outbound&) = delete;
  Outbound& operator=(const Outbound&) = delete;

  std::size_t connections() const { return relays_.size(); }
  bool node_gone() const { return !node_; }

 private:
  struct Gate final : os::Watcher {
    Gate(Outbound& o, os::Listener l, std::uint32_t d) : outbound(o), listener(std::move(l)), destination(d) {}
    void on_events(std::uint32_t) override { outbound.accept(*this); }
    Outbound& outbound;
    os::Listener listener;
    const std::uint32_t destination;
  };

  Outbound(os::Loop& loop, os::Fd node) : loop_(loop), node_(std::move(node)) {}
  void on_events(std::uint32_t events) override;   // of the node's socket
  void accept(Gate& gate);
  void listen_on();
  void listen_no_more();
  void answered(std::uint64_t number, os::Fd outside);
  void bury(std::uint64_t number);
  bool full() const { return asked_.size() >= kAsksMax || asked_.size() + relays_.size() >= kConnectionsMax; }

  os::Loop& loop_;
  os::Fd node_;
  std::vector<std::unique_ptr<Gate>> gates_;
  bool listening_ = false;
  std::uint64_t made_ = 0;
  std::map<std::uint64_t, os::Fd> asked_;          // the program's ends, while the node connects
  std::map<std::uint64_t, std::unique_ptr<Relay>> relays_;
};

}  // namespace mayfly::worker
