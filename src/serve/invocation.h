// One call of a function, as every protocol states it: HTTP, gRPC, the CLI and triggers all become an
// Invocation, and all get an InvocationReply.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/frame.h"
#include "os/fd.h"

namespace mayfly::serve {

struct TraceId {                   // W3C Trace Context; zeros: the caller sent none
  std::uint64_t high = 0, low = 0;
  friend bool operator==(const TraceId&, const TraceId&) = default;
};

struct Invocation {
  std::string_view function;       // name
  std::string_view qualifier;      // alias, version number or "$LATEST"; "" is the alias "live"
  domain::WireFormat format{};
  std::uint64_t json_size = 0;     // see domain::RequestHead
  std::string body;                // up to domain::kInlineMax bytes, moved in; or:
  os::Fd body_memfd;               // sealed, of body_size bytes
  std::uint64_t body_size = 0;
  std::uint64_t context_size = 0;  // of a plain one: bytes at the body's end that say something of the call (domain/frame.h)
  Instant arrived;                 // first byte of the request
  Duration timeout{};              // wanted by the caller; 0: the function's own. The shorter of the two holds
  std::uint64_t request_id_high = 0, request_id_low = 0;
  TraceId trace;
  bool wants_log = false;          // the reply is to bring what the code printed in this call
  domain::ReplyForm reply_form{};  // what its sink takes
};

// How a call went in time; zeros for phases that it did not reach.
struct Phases {
  Duration queue{}, init{}, decode{}, run{}, encode{};
  int cold = 0;                    // 0: warm; 1: forked from a template; 2: started from the artifact
};

struct InvocationReply {
  bool ok = false;
  bool begins = false;             // where ok: `body` is the begin, pieces and an end follow
  Error error;                     // where !ok
  bool died = false;               // where !ok: with the instance that ran it
  bool not_started = false;        // where !ok: no instance could start
  bool function_error = false;     // the function's own code failed: `body` is how it told so, a JSON object
  std::string_view body;           // inline: valid during the call only; or:
  os::Fd body_memfd;
  std::uint64_t body_size = 0;
  std::uint64_t json_size = 0;     // of a v2 binary reply, or of an HTTP reply's head; else 0
  int version = 0;                 // number of the version that answered; 0 where none did
  Phases phases;
  std::string log;                 // what the code printed last in this call, or in the start that failed: for whoever asked. At most 4 KiB
  Bytes memory;                    // measured, of the instance
};

// For who has the whole of it: the body, sealed in a memfd where it is too large for a frame.
[[nodiscard]] Result<void> put_body(Invocation& call, std::string body);
// Wherever it is; at most so many bytes of it.
[[nodiscard]] std::string body_text(const InvocationReply& reply, std::uint64_t size_max);

class ReplySink {
 public:
  // Exactly once for each invoke() whose ticket was not cancelled; maybe from inside invoke() itself (a refusal).
  virtual void on_reply(Ticket ticket, InvocationReply&& reply) = 0;
  // Where that one `begins`, which it does only for who asked for parts: any number of pieces, then one end, which is not ok
  // where what came is not all. At most domain::kStreamWindow bytes come that were not told as taken().
  virtual void on_piece(Ticket, std::string_view) {}
  virtual void on_end(Ticket, InvocationReply&&) {}

 protected:
  ~ReplySink() = default;
};

// The door to the functions for protocols. Implemented by serve::Dispatcher.
class Invoker {
 public:
  // Queues the call. The sink must live until the reply or cancel(). Bodies over the function's limit, unknown
  // names and full queues are refused at once, through the sink.
  virtual Ticket invoke(Invocation&& call, ReplySink& sink) = 0;
  // The caller has gone: no reply will come, the work is dropped where it can be.
  virtual void cancel(Ticket ticket) = 0;
  // The last byte of the reply was handed to the kernel (or the caller left): closes the usage record.
  virtual void sent(Ticket ticket, Instant when, std::uint64_t bytes) = 0;

  // Of a reply in parts so many bytes more are dealt with: more may come.
  virtual void taken(Ticket, std::uint64_t) {}

  // The number of the version that this call would go to now, where that is a program that speaks HTTP; else 0.
  [[nodiscard]] virtual int http_version(std::string_view, std::string_view) { return 0; }

 protected:
  ~Invoker() = default;
};

}  // namespace mayfly::serve
