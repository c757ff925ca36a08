// The host process of a function's own program. To the node it is an instance like any other: frames in, replies out, ready, stop
// (domain/frame.h, domain/link.h). To the program, which it starts, it is AWS Lambda's Runtime API on loopback
// (worker/runtime_api.h, worker/code_port.h), to extensions theirs (worker/extensions_api.h, telemetry.h). One thread, one call at a time.
//
// Our own runtime for Python has small calls from the node itself (domain/direct.h), and this process sleeps meanwhile: it reads of them
// when something wakes it, so that what is printed finds its call, and answers for a program that has ended or is too slow.
//
// Promises: it is ready when the program and all extensions first ask for more, or says why it never will be (what was reported,
// or how one ended); the next call begins when all have asked again; one reply for each call; a program that ends fails the call
// that it had, and so does an extension; a call that is cancelled or past its deadline is answered at once, and since a program
// can't be interrupted, it and this process end then (ReplyHead::last), extensions having been told. Whatever way run() ends, the
// program, the extensions and their process groups are gone after it.
// Not promised: a call that was given to a connection whose program's end was closing is not given again; its deadline ends it.
// Replies tell the CPU of this process, the program and the extensions with their threads, not of processes that these start.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/code_order.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/port.h"
#include "worker/code_output.h"
#include "worker/code_port.h"
#include "worker/code_program.h"
#include "worker/extension_programs.h"
#include "worker/extensions_api.h"
#include "worker/frame_link.h"
#include "worker/inbound.h"
#include "worker/lambda_stream.h"
#include "worker/model_bridge.h"
#include "worker/outbound.h"
#include "worker/runtime_api.h"
#include "worker/telemetry.h"

namespace mayfly::worker {

struct CodeOptions {
  std::string address = "127.0.0.1:9001";  // of the Runtime API; port 0: any free one
  std::uint64_t response_max = 6 * 1024 * 1024 + 100;
  std::uint64_t stream_max = 20 << 20;         // of a response that is streamed to who takes it so
  std::string extensions = "/opt/extensions";  // of layers; the package's lie in its folder extensions/
};

class CodeLoop {
 public:
  enum class End : std::uint8_t {
    stopped,      // everything was answered
    node_gone,
    not_started,  // the node was told why
    code_ended,   // by itself
    given_up,     // on a call that was cancelled or too slow
  };

  // `program`: one that waits already; else it starts the order's.
  CodeLoop(os::Loop loop, FrameLink link, domain::CodeOrder order, CodeOptions options, CodeProgram program = {});
  ~CodeLoop();
  CodeLoop(const CodeLoop&) = delete;
  CodeLoop& operator=(const CodeLoop&) = delete;

  // Before run(): where it asks for connections to the order's destinations.
  void ask_at(os::Fd node) { outbound_node_ = std::move(node); }
  End run();

 private:
  struct Call {
    FrameLink::Call frame;
    Instant begun, given{};    // given{}: it waits for the program to ask
    std::string log{};         // what it printed last, where somebody is to see it
  };

  Result<void> start();
  Result<void> start_extensions(const std::vector<std::string>& paths);
  Result<void> start_program();
  void shut_down();
  void end(End how);
  void take_frames();
  [[nodiscard]] bool take();                           // false: the node is gone, or broke the protocol
  void accept(FrameLink::Call&& frame);
  void cancel(std::uint64_t ticket);
  void begin_next();
  void overdue();
  void do_step(RuntimeApi::Step&& step);
  void do_step(ExtensionsApi::Step&& step);
  void all_may_be_idle();
  void extension_ended(const std::string& name, int wait_status);
  Call let_go(bool ended = false);                     // of the call that runs
  void fail_all(const std::string& text);
  void say_ready();
  void say_failed(const std::string& text);
  void code_ended();
  void finish(RuntimeApi::Outcome&& outcome);
  // Calls that the program has from the node itself (code_loop_direct.cpp).
  Result<os::Fd> make_direct();                        // the program's end; none where it takes none
  bool take_direct(const domain::RequestHead& head);
  bool begin_direct(const domain::RequestHead& head);
  // Responses that are streamed (code_loop_stream.cpp).
  bool begin_stream(ConnectionId from, std::string_view path, std::span<const HttpHeader> headers);
  bool pass_on(ConnectionId from, std::string_view bytes);  // false: no more for now
  void go_on();
  void drop_answer(const Error& error);                // of what was held its caller gets no more
  void end_stream(domain::ReplyHead& head);
  bool waits_for_stream(RuntimeApi::Outcome& outcome); // keeps it until what came before has left
  void refuse_event(const Call& call, const Error& error);
  void answer_url(const Call& call, domain::ReplyHead head, const RuntimeApi::Outcome& outcome);
  void refuse(const Call& call, const Error& error, bool last = false);
  void reply(const Call& call, domain::ReplyHead head, std::string_view body);
  Duration cpu_now();
  std::uint64_t cpu_since_last();

  FrameLink link_;
  const domain::CodeOrder order_;
  const CodeOptions options_;
  os::Loop loop_;
  RuntimeApi api_;
  ExtensionsApi extensions_;
  Telemetry telemetry_;
  os::Port control_port_, bell_port_, exit_port_;
  std::unique_ptr<CodePort> port_;
  std::unique_ptr<ModelBridge> models_;                // where it may call models
  Inbound inbound_{loop_, order_.debug_port};          // a debugger's way to the program
  os::Fd outbound_node_;
  os::Child outbound_;                                 // where it may reach others
  std::unique_ptr<CodeOutput> output_, extension_output_;  // the second only where there are external ones
  CodeProgram program_;
  ExtensionPrograms extension_programs_;
  Random random_;
  Instant begun_{};
  std::optional<Call> running_;                        // the one that the Runtime API knows
  std::deque<Call> waiting_;
  std::optional<LambdaStream> stream_;                 // of the one that runs
  ConnectionId stream_from_ = 0;
  std::optional<RuntimeApi::Outcome> held_outcome_;
  os::Fd direct_;                                      // the node's end, until it has it
  bool runs_directly_ = false, others_cpu_ = false;    // running_ is such a call; CPU since the last reply was, too
  os::Loop::TimerId deadline_{};
  Duration cpu_told_{}, code_cpu_{}, extension_cpu_{};
  std::optional<End> end_;
  bool told_start_ = false, program_begun_ = false, program_gone_ = false, hurried_ = false;
};

// The whole of it, for the process that got a LoadOrder to run code, whatever its contract (worker/http_host.h has the others): `link`
// is ring, doorbell of the node's frames, doorbell of the replies, and a socket to ask for connections at where it may (worker/outbound.h).
// Says failed where the order is none.
[[noreturn]] void run_code(int control, std::span<const os::Fd> link, std::string_view order_json);
// The same for a child of a template's host (worker/code_template.h), whose program waits.
[[noreturn]] void run_forked_code(int control, std::span<const os::Fd> link, const domain::CodeOrder& order, CodeProgram program);

}  // namespace mayfly::worker
