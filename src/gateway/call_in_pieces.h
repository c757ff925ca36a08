// A call whose answer may come in pieces (domain/frame.h, ReplyPart): what comes is written at once, held while the client does not read,
// and told to the instance as taken once the kernel has it. The calls of gateway/inference.h and gateway/function_url.h are such.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/http_server.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

struct CallInPieces : serve::ReplySink, ExchangeOwner {
  void begin(const Responder& responder, std::uint64_t number) {
    to = responder;
    ticket = {};
    use = number;
    held.clear();
    untaken = 0;
  }
  // Any of the three may find that the client has left: then `use` is another after it.
  void write(serve::Invoker& invoker, std::string_view bytes);
  void drained(serve::Invoker& invoker);               // from on_drained()
  virtual void put(std::string_view bytes) { to.write(bytes); }  // as they are, or framed

  Responder to;
  Ticket ticket;
  std::uint64_t use = 0;                               // counts; 0: free
  std::string held;                                    // until the client reads
  std::uint64_t untaken = 0;                           // bytes that were written, and that the instance was not told of

 protected:
  ~CallInPieces() = default;

 private:
  void write_now(serve::Invoker& invoker, std::string_view bytes);
};

}  // namespace mayfly::gateway
