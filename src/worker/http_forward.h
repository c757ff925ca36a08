// The client's side of a program that serves HTTP/1.1 on loopback: requests out, answers in, over connections that are kept and
// used again. Driven by worker/http_host.h on its loop. Requests are bytes that whoever gives them has made; answers are read by
// base/http_reader.h, whole, or for who takes Parts as they come: where more is to come than is there already, or soon where its
// length says that it is small.
//
// Promises: one outcome for each request (maybe from inside send(), where it can't even begin), or none after drop();
// a connection that the program closed while it was idle is not used again; a request whose kept connection closes before a byte of
// its answer is sent once more, on a new one, where its method may be repeated (RFC 9110, 9.2.2). Not promised: order.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/loop.h"
#include "worker/forward.h"

namespace mayfly::worker {

class HttpForward final : public Forward {
 public:
  // address: "127.0.0.1:8080". Of answers up to answer_max bytes are taken.
  HttpForward(os::Loop& loop, std::string address, std::uint64_t answer_max);
  ~HttpForward() override;

  void probe(std::function<void(bool)> then) override;
  void send(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts = {}) override;
  void resume(std::uint64_t ticket) override;
  void drop(std::uint64_t ticket) override;            // its connection closes

 private:
  struct Connection;

  Connection& connect();
  Connection* take_idle();
  void send_new(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts);
  void bury();

  os::Loop& loop_;
  const std::string address_;
  const std::uint64_t answer_max_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace mayfly::worker
