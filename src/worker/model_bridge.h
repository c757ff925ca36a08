// How a program that only knows host and port reaches the node's models: a loopback port in the sandbox, whose connections are
// carried to the unix socket that the node bound into it. Bytes are moved as they come and never looked at; what may be asked
// there is the node's to say (gateway/model_door.h). Driven by the host process's loop (worker/code_loop.h).
//
// Promises: at most kConnectionsMax connections, the next ones wait to be accepted; when one side closes, what it sent is delivered and
// the other side is closed. Each is a Relay, with that one's limits.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "os/listener.h"
#include "os/loop.h"
#include "worker/relay.h"

namespace mayfly::worker {

class ModelBridge final : os::Watcher {
 public:
  static constexpr std::size_t kConnectionsMax = 128;

  [[nodiscard]] static Result<std::unique_ptr<ModelBridge>> create(os::Loop& loop, std::string socket);
  ~ModelBridge();
  ModelBridge(const ModelBridge&) = delete;
  ModelBridge& operator=(const ModelBridge&) = delete;

  const std::string& address() const { return listener_.address(); }
  std::size_t connections() const { return pairs_.size(); }

 private:
  ModelBridge(os::Loop& loop, os::Listener listener, std::string socket);
  void on_events(std::uint32_t events) override;   // of the listening socket
  void listen_on();
  void bury(std::uint64_t number);

  os::Loop& loop_;
  os::Listener listener_;
  const std::string socket_;
  bool listening_ = false;
  std::uint64_t pairs_made_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Relay>> pairs_;
};

}  // namespace mayfly::worker
