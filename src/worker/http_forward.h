// The client's side of a program that serves HTTP/1.1 on loopback: requests out, answers in, over connections that are kept and
// used again. Driven by worker/http_host.h on its loop. Requests are bytes that whoever gives them has made; answers are read by
// base/http_reader.h, whole.
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

namespace mayfly::worker {

class HttpForward {
 public:
  struct Answer {
    std::string_view head;   // status line and headers, each ended by CR LF; without the empty line
    std::string_view body;   // both: valid during the call
  };
  using Done = std::function<void(Result<Answer>)>;

  // address: "127.0.0.1:8080". Of answers up to answer_max bytes are taken.
  HttpForward(os::Loop& loop, std::string address, std::uint64_t answer_max);
  ~HttpForward();
  HttpForward(const HttpForward&) = delete;
  HttpForward& operator=(const HttpForward&) = delete;

  // Whether somebody listens by now; what was connected for it is used for the first request.
  void probe(std::function<void(bool)> then);
  // `bytes`: head and body, valid until `done` or drop(ticket).
  void send(std::uint64_t ticket, std::string_view bytes, Done done);
  // Nobody waits for it any more: its connection closes, which the program may notice.
  void drop(std::uint64_t ticket);

 private:
  struct Connection;

  Connection& connect();
  Connection* take_idle();
  void send_new(std::uint64_t ticket, std::string_view bytes, Done done);
  void bury();

  os::Loop& loop_;
  const std::string address_;
  const std::uint64_t answer_max_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace mayfly::worker
