// Where a debugger of the developer's machine comes in, for a node that `mayfly dev --debug` has started: a port of 127.0.0.1 whose
// connections go to the instance that was started last. Driven by the node's loop.
//
// Promises: bytes are carried here, between the connection and one end of a pair of local sockets whose other end the instance's host gets
// (worker/inbound.h); at most kConnectionsMax at a time, the next ones wait. Where nothing runs, a connection is closed at once.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "os/listener.h"
#include "os/loop.h"
#include "worker/relay.h"

namespace mayfly::app {

class DebugDoor final : os::Watcher {
 public:
  static constexpr std::size_t kConnectionsMax = 16;
  using LetIn = std::function<Result<void>(os::Fd connection)>;  // to the host of the instance

  [[nodiscard]] static Result<std::unique_ptr<DebugDoor>> create(os::Loop& loop, std::string_view address, LetIn let_in);
  ~DebugDoor();
  DebugDoor(const DebugDoor&) = delete;
  DebugDoor& operator=(const DebugDoor&) = delete;

  const std::string& address() const { return listener_.address(); }
  std::size_t connections() const { return relays_.size(); }

 private:
  DebugDoor(os::Loop& loop, os::Listener listener, LetIn let_in)
      : loop_(loop), listener_(std::move(listener)), let_in_(std::move(let_in)) {}
  void on_events(std::uint32_t events) override;
  void listen_on();
  void bury(std::uint64_t number);

  os::Loop& loop_;
  os::Listener listener_;
  const LetIn let_in_;
  bool listening_ = false;
  std::uint64_t made_ = 0;
  std::map<std::uint64_t, std::unique_ptr<worker::Relay>> relays_;
};

}  // namespace mayfly::app
