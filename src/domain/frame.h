// What node and instance say to each other through the shared-memory rings (os/ring.h): a head of
// fixed size, then the body. A body over kInlineMax travels in a sealed memfd instead: its file
// descriptor is sent on the control socket as a BodyMessage (domain/link.h) *before* the frame.
// The node trusts nothing that an instance wrote: it copies the head once and checks every field.
#pragma once
#include <cstdint>
#include <type_traits>

namespace mayfly::domain {

constexpr std::uint64_t kInlineMax = 64 * 1024;
constexpr std::uint64_t kStreamWindow = 256 * 1024;  // of one reply in parts: bytes that were sent and that its caller has not taken
constexpr std::uint64_t kPartMax = 32 * 1024;        // of its body in one frame

// How the body is written, and how the reply is to be.
enum class WireFormat : std::uint8_t {
  plain_json = 0,   // {"input": [[…]], …} -> {"output": [[…]], …}; behind json_size bytes of it, for code, what the caller said of
                    // the call: lines "Lambda-Runtime-…: value\r\n"
  v2_json = 1,      // Open Inference Protocol; may ask for binary outputs, then the reply is v2 binary
  v2_binary = 2,    // … with the binary tensor extension: json_size bytes of JSON, then tensors
  v2_raw = 3,       // … with Inference-Header-Content-Length: 0: the body is the only input's bytes
  http = 4,         // json_size bytes of an HTTP/1.1 head (request line or status line, headers, empty line), then the body as it is
};

// What a caller can take. `whole` is the way of every call; an instance may answer in one frame whatever it is.
enum class ReplyForm : std::uint8_t {
  whole = 0,
  parts = 1,        // as it comes, too: the program's bytes
  http_parts = 2,   // … behind an HTTP head, as of WireFormat::http
  url = 3,          // whole, and HTTP: json_size bytes of an HTTP/1.1 head, then the body. The call is an HTTP request, whose body is the
                    // frame's, to a function that takes events: what else its event says stands in the lines behind (domain/function_url.h)
  url_parts = 4,    // … and a response that the function streams comes as of http_parts
};

// Of a call that a program has from the node itself. Its host reads of it whenever something else wakes it: what the program prints,
// its end, a doorbell. It answers for the program where that can't, as for any call.
enum class DirectStep : std::uint8_t { none = 0, begun = 1, answered = 2 };

struct RequestHead {
  std::uint64_t ticket = 0;
  std::uint64_t deadline_ns = 0;  // monotonic clock; the instance skips what is past it
  std::uint64_t body_size = 0;
  std::uint64_t json_size = 0;    // v2_binary: bytes of JSON at the body's start; http: of the head; plain: of what the caller sent
  WireFormat format{};
  std::uint8_t in_memfd = 0;      // 1: the body is in the next BodyMessage's memfd, not behind this head
  std::uint8_t cancelled = 0;     // 1: no body; drop the waiting request `ticket`; one that runs: kCancelSignal (domain/link.h)
  std::uint8_t request_id[16] = {};  // a UUID's bytes, told to a function's own code; all zero: it gets one made of the ticket
  std::uint8_t wants_log = 0;     // 1: what it prints last is to come with the reply
  ReplyForm reply_form{};
  std::uint8_t taken = 0;         // 1: no body; of the reply in parts to `ticket` its caller has taken body_size bytes more
  DirectStep direct{};            // not none: no body; told to the host of a program that has calls from the node itself (direct.h)
  std::uint64_t begun_ns = 0;     // direct: monotonic, when the program was sent it
};
static_assert(sizeof(RequestHead) == 64 && std::is_trivially_copyable_v<RequestHead>);

[[nodiscard]] constexpr bool is_of_url(ReplyForm form) { return form == ReplyForm::url || form == ReplyForm::url_parts; }
[[nodiscard]] constexpr bool takes_parts(ReplyForm form) { return form != ReplyForm::whole && form != ReplyForm::url; }

// A reply is one frame (whole), or begin, any number of pieces, end. Only the last frame of it has times and a code, and gives the
// credit back. begin has a head of json_size bytes, or none; behind it, and in the others, are bytes of the body. Where the end has a
// code its body is the error, as of a whole one, and what came before is cut off there.
enum class ReplyPart : std::uint8_t { whole = 0, begin = 1, piece = 2, end = 3 };
[[nodiscard]] constexpr bool is_last(ReplyPart part) { return part == ReplyPart::whole || part == ReplyPart::end; }

struct ReplyHead {
  std::uint64_t ticket = 0;
  std::uint64_t body_size = 0;
  std::uint64_t json_size = 0;    // of a v2 binary reply: bytes of JSON at the start; http: of the head; else 0
  std::uint64_t begun_ns = 0;     // monotonic: when the instance took it from the ring
  std::uint64_t decode_ns = 0, run_ns = 0, encode_ns = 0;
  std::uint64_t cpu_ns = 0;       // CPU of the process since the last reply, this request's share of the batch
  std::uint32_t rows = 0, batch_rows = 0;
  std::uint8_t code = 0;          // 0: answered; else a Code, and the body is the message as plain text
  std::uint8_t in_memfd = 0;
  std::uint8_t function_error = 0;  // 1: code is internal, and the body is the error as the function's own code told it: a JSON
                                  // object {"errorMessage", "errorType", "stackTrace", …} of kInlineMax at most
  std::uint8_t last = 0;          // 1: the process ends after this reply; its credit is worth nothing
  std::uint32_t log_size = 0;     // bytes behind the body, or behind this head where that is in a memfd: the last lines that the program
                                  // printed in this call, where it wants them or the program has ended; at most kLastLinesMax (printed.h)
  std::uint8_t log_shared = 0;    // 1: other calls' lines may be among them: for the function's owner alone
  ReplyPart part{};
  std::uint8_t reserved[46] = {};
};
static_assert(sizeof(ReplyHead) == 128 && std::is_trivially_copyable_v<ReplyHead>);

}  // namespace mayfly::domain
