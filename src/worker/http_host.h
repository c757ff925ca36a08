// The host process of a function's program that listens on a port: Knative's container contract, which Google's Functions Framework
// and Azure's custom handlers share. To the node an instance like any other (domain/frame.h, domain/link.h); the program's client
// on loopback (worker/http_forward.h, or worker/h2_forward.h where the order says h2c). One thread, one program, as many calls at a time
// as the order says.
//
// Promises: it is ready when the port takes a connection, or says why it never will be; one reply for each call; a program that ends
// fails the calls that it had, with its exit status; a call past its deadline is answered at once, and since the program may hang,
// no call is taken after it: program and process end when the others are answered. Stopped, it lets calls finish, sends SIGTERM,
// and SIGKILL after a while. Whatever way run() ends, the program and its process group are gone after it.
// A call that is cancelled closes its connection; the program goes on. What is not there at once is passed on as it comes, to callers
// who take parts; the program waits for a caller who doesn't read. What the bindings of an Azure app read and write is done in a pool of
// this process (worker/azure_store.h), within the call's time; an app without such bindings has none.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "domain/code_order.h"
#include "os/loop.h"
#include "os/pool.h"
#include "os/port.h"
#include "os/process.h"
#include "worker/azure.h"
#include "worker/azure_store.h"
#include "worker/code_output.h"
#include "worker/frame_link.h"
#include "worker/forward.h"
#include "worker/inbound.h"
#include "worker/outbound.h"
#include "worker/reply_stream.h"

namespace mayfly::worker {

struct HttpHostOptions {
  int port = 8080;                                     // told to the program
  std::uint64_t answer_max = 64 << 20;
  Duration start_max = std::chrono::seconds(50);       // to listen; the node gives up after 60
  Duration stop_max = std::chrono::seconds(3);         // from SIGTERM to SIGKILL; the node kills after 5
};

class HttpHost {
 public:
  enum class End : std::uint8_t { stopped, node_gone, not_started, program_ended, given_up };

  HttpHost(os::Loop loop, FrameLink link, domain::CodeOrder order, HttpHostOptions options);
  ~HttpHost();
  HttpHost(const HttpHost&) = delete;
  HttpHost& operator=(const HttpHost&) = delete;

  void ask_at(os::Fd node) { outbound_node_ = std::move(node); }  // as of CodeLoop
  End run();

 private:
  struct Call {
    FrameLink::Call frame;
    Instant begun;
    AzureApp::Request azure;                           // what is sent instead of the frame, where it has bytes
    AzureApp::Plan plan;                               // what is read before it, and written after it
    std::uint64_t visit = 0;                           // to the store, while it is there
    AzureApp::Reply held{};                            // until what it writes is written
    os::Loop::TimerId deadline{};
    std::string log{};                                 // what it printed last, where somebody is to see it
    std::unique_ptr<ReplyStream> stream;               // where its answer is passed on as it comes
    bool ended = false;                                // … and has come, all of it
    bool passed = false;                               // to the program
  };

  // A call's way to the store, in the pool. It outlives its call: then nobody waits for it, and it ends soon.
  struct Visit {
    std::atomic<bool> stop = false;
    Duration within{};
    AzureApp::Plan plan;
    std::vector<AzureWrite> writes;
    Result<std::vector<AzureInput>> inputs;
    Result<void> written;
  };

  Result<void> start();
  void probe();
  void ask_functions();
  void ready();
  void not_started(const Error& error);
  void take_frames();
  void begin(FrameLink::Call&& frame);
  void pass(std::uint64_t ticket, std::string_view bytes);
  void plan_azure(std::uint64_t ticket);
  void ask_azure(std::uint64_t ticket, const std::vector<AzureInput>& inputs);
  void azure_answered(std::uint64_t ticket, const Forward::Answer& answer);
  void visit_store(std::uint64_t ticket, std::unique_ptr<Visit> visit);
  void visited(std::uint64_t ticket, std::uint64_t number);
  void leave_store(Call& call);
  void let_held_go(std::uint64_t ticket);
  void give_back(std::uint64_t ticket, const Error& error);
  void cancel(std::uint64_t ticket);
  void overdue(std::uint64_t ticket);
  void answered(std::uint64_t ticket, Result<Forward::Answer> answer);
  Forward::Parts parts_of(std::uint64_t ticket);
  void begin_parts(std::uint64_t ticket, std::string_view head, std::string_view body);
  void go_on(std::uint64_t ticket);
  void refuse(const Call& call, const Error& error, bool last = false);
  void reply(const Call& call, domain::ReplyHead head, std::string_view body);
  void program_ended();
  void let_go(Call& call, bool ended = false);
  void stop_if_idle();
  void end(End how) { if (!end_) end_ = how; }
  bool single() const { return order_.concurrency == 1; }  // only then it is known whose lines they are
  Duration cpu_now();

  FrameLink link_;
  const domain::CodeOrder order_;
  const HttpHostOptions options_;
  os::Loop loop_;
  os::Port control_port_, bell_port_, exit_port_;
  std::optional<AzureApp> azure_;
  StoreReach reach_;
  std::unique_ptr<Forward> forward_;
  std::unique_ptr<CodeOutput> output_;
  Inbound inbound_{loop_, order_.debug_port};          // a debugger's way to the program
  os::Fd outbound_node_;
  os::Child outbound_;
  os::Child child_;
  Instant begun_{};
  std::map<std::uint64_t, Call> calls_;                // by ticket
  Duration cpu_told_{}, code_cpu_{};
  std::optional<End> end_;
  bool told_start_ = false, closing_ = false, terminated_ = false;
  std::map<std::uint64_t, std::unique_ptr<Visit>> visits_;  // by number, until the pool is done with them
  std::uint64_t visits_made_ = 0;
  std::unique_ptr<os::Pool> pool_;                     // from the first visit on
};

// The whole of it, for the process that got a LoadOrder to run code; see run_code() of worker/code_loop.h.
[[noreturn]] void run_http(int control, std::span<const os::Fd> link, domain::CodeOrder order);

}  // namespace mayfly::worker
