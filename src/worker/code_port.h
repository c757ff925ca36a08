// The Runtime API's HTTP/1.1 on a loopback socket, and on one that our own runtimes are started with, which costs less a call:
// connections of the one program that this process hosts. Reads requests with
// base/http_parser.h, a whole body each, and hands them to whoever drives it (worker/code_loop.h); writes what is answered.
//
// Promises: requests of one connection are handed on one at a time, in order; a body over the limit is read and dropped, so
// that the connection goes on; a connection that is gone is told once, unless it waits for nothing.
// Not promised: fairness or patience between connections. They are the function's own, and so is the memory they take.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/http_parser.h"
#include "base/result.h"
#include "os/listener.h"
#include "os/loop.h"
#include "worker/runtime_api.h"

namespace mayfly::worker {

class CodePort final : os::Watcher {
 public:
  struct Handlers {
    std::function<void(ConnectionId, RuntimeRequest&&)> request;  // answer() it, now or later
    std::function<void(ConnectionId)> left;                       // it had an answer to come
    // Of requests with a chunked body, where given: may its body come as it is read? Then piece() has it, and request() none. While
    // piece() says false no more is read, until resume().
    std::function<bool(ConnectionId, std::string_view path, std::span<const HttpHeader>)> streams;
    std::function<bool(ConnectionId, std::string_view)> piece;
    // Where given: request() will not come. Its body is none that can be read, or came as it was read and its connection broke off.
    std::function<void(ConnectionId, std::string_view path, const std::string& why)> broke_off;
  };
  static constexpr std::size_t kConnectionsMax = 64;

  [[nodiscard]] static Result<std::unique_ptr<CodePort>> create(os::Loop& loop, std::string_view address, std::uint64_t body_max,
                                                                Handlers handlers);
  ~CodePort();
  CodePort(const CodePort&) = delete;
  CodePort& operator=(const CodePort&) = delete;

  const std::string& address() const { return listener_.address(); }
  [[nodiscard]] Result<void> adopt(os::Fd connected);   // a socket that doesn't block, as if it had been accepted
  void answer(ConnectionId to, RuntimeReply&& reply);  // nothing where it is gone
  void resume(ConnectionId from);
  // What has arrived, now: its sender is dead and there will be no more.
  void read_all();

 private:
  struct Connection;

  CodePort(os::Loop& loop, os::Listener listener, std::uint64_t body_max, Handlers handlers);
  void on_events(std::uint32_t events) override;
  void accept_all();
  void bury();                                         // connections that broke; never from inside one of them

  os::Loop& loop_;
  os::Listener listener_;
  const std::uint64_t body_max_;
  const Handlers handlers_;
  ConnectionId connections_made_ = 0;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections_;
};

}  // namespace mayfly::worker
