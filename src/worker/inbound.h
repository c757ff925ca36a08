// The way in for a debugger: connections that the node's owner was asked for, each carried to the one port of the sandbox's loopback where
// the program's debugger listens. The node hands over its end of a pair of local sockets and carries the other side itself
// (app/debug_door.h), so that nothing of the machine's network is in the sandbox. Driven by the loop of the program's host.
//
// Promises: only where the order says so (domain::CodeOrder::debug_port), which only `mayfly dev --debug` makes a node do; at most
// kConnectionsMax connections, further ones are closed. Bytes are moved as they come and never looked at.
#pragma once
#include <cstdint>
#include <map>
#include <memory>

#include "os/fd.h"
#include "os/loop.h"
#include "worker/relay.h"

namespace mayfly::worker {

class Inbound {
 public:
  static constexpr std::size_t kConnectionsMax = 16;

  Inbound(os::Loop& loop, int port) : loop_(loop), port_(port) {}
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;

  void carry(os::Fd connection);   // where nobody listens, it is closed
  std::size_t connections() const { return relays_.size(); }

 private:
  os::Loop& loop_;
  const int port_;
  std::uint64_t made_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Relay>> relays_;
};

}  // namespace mayfly::worker
