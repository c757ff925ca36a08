// The client's side of a program that serves HTTP/2 on loopback, without TLS and without asking first ("h2c with prior knowledge", RFC
// 9113, 3.3; Knative's port name h2c): requests out, answers in, as streams of one connection. Driven by worker/http_host.h on its
// loop. Frames and headers' compression are libnghttp2's.
//
// Promises: those of worker/http_forward.h. A request that the program says it has not begun (GOAWAY, REFUSED_STREAM), or whose kept
// connection closes before a byte of its answer where its method may be repeated, is sent once more, on a new connection. An answer has
// at most 64 KiB of headers and as many bytes as are taken; one that breaks the rules of its stream alone fails by itself, one that
// breaks those of the connection fails all that are on it. Answers are read whole; their trailers are dropped, and no push is taken.
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

class H2Forward final : public Forward {
 public:
  // address: "127.0.0.1:8080". Of answers up to answer_max bytes are taken.
  H2Forward(os::Loop& loop, std::string address, std::uint64_t answer_max);
  ~H2Forward() override;

  void probe(std::function<void(bool)> then) override;
  void send(std::uint64_t ticket, std::string_view bytes, Done done, Parts parts = {}) override;
  void drop(std::uint64_t ticket) override;            // its stream is reset

 private:
  struct Call;
  class Connection;

  Connection& usable();
  Connection& connect();
  void send_call(std::unique_ptr<Call> call);
  void bury();

  os::Loop& loop_;
  const std::string address_;
  const std::uint64_t answer_max_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace mayfly::worker
