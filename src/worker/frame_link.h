// The node's frames at the end of a process that hosts user code: takes calls from one ring with their large bodies from the control
// socket, writes replies into the other, says ready or failed once. Driven by worker/code_loop.h or worker/http_host.h on its loop;
// knows no program. Promises: a call's bytes are its own, copied out of the ring or mapped; a reply that has no room ends the link
// (with the credit that was granted there always is room, or the node does not keep to it).
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "domain/frame.h"
#include "os/fd.h"
#include "os/ring.h"
#include "worker/node_control.h"

namespace mayfly::worker {

// The call's id as it came; zeros where none did.
[[nodiscard]] std::pair<std::uint64_t, std::uint64_t> head_id(const domain::RequestHead& head);

class FrameLink {
 public:
  struct Call {
    domain::RequestHead head;
    std::string small;
    std::optional<os::Mapping> large;
    std::string_view bytes() const { return large ? large->text() : std::string_view(small); }
    std::string take_bytes() { return large ? std::string(large->text()) : std::move(small); }  // once
  };

  FrameLink(int control, os::Ring in, os::Ring out) : control_(control), in_(std::move(in)), out_(std::move(out)) {}

  int control_socket() const { return control_.socket(); }
  int doorbell() const { return in_.doorbell(); }  // to be watched by its edges: nobody clears it
  bool stopping() const { return control_.stopping(); }
  bool empty() { return in_.empty(); }

  [[nodiscard]] bool read_control() { return control_.read(); }
  [[nodiscard]] os::Fd take_debugger() { return control_.take_debugger(); }
  // Gives every call that waits, and every cancel, until none is there. False: the node is gone or broke the protocol. `direct`: of
  // calls that the program has from the node itself; false: that can't be.
  [[nodiscard]] bool take(const std::function<void(Call&&)>& call, const std::function<void(std::uint64_t ticket)>& cancel,
                          const std::function<void(std::uint64_t ticket, std::uint64_t bytes)>& taken = {},
                          const std::function<bool(const domain::RequestHead&)>& direct = {});

  // `direct`: what comes with it (domain/link.h), or nothing.
  [[nodiscard]] bool say_ready(std::uint32_t credit, Duration load, Duration cpu, std::span<const int> direct = {});
  [[nodiscard]] bool say_failed(const Error& error, std::string_view log = {}) {
    return worker::say_failed(control_.socket(), error, 4096, log);
  }
  // Sizes and memfd are filled in; false: the link is no good any more. `log`: what goes beside it.
  [[nodiscard]] bool reply(domain::ReplyHead head, std::string_view body, std::string_view log = {});
  // One that another follows: `text` then `more`, domain::kInlineMax together. False: no room now, beside what the ends of all calls
  // will need; the node makes some as it reads. See worker/reply_stream.h.
  [[nodiscard]] bool part(domain::ReplyHead head, std::string_view text, std::string_view more);

 private:
  bool read_frame(std::span<const std::byte> frame, Call& call);

  NodeControl control_;
  os::Ring in_, out_;
  std::size_t kept_ = 0;      // bytes of out_ for the last frames of the calls that may be here
};

}  // namespace mayfly::worker
