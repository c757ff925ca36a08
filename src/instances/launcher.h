// The seam between the fleet and processes. Two implementations: ZygoteLauncher (real sandboxes, in
// zygote_launcher.h) and FakeLauncher (fake_launcher.h: virtual time, crashes and delays from a seed).
// It starts, feeds and stops processes; it decides nothing.
//
// For every start() and fork(): at most one on_ready or on_failed, then exactly one on_gone, in this
// order, none of them from inside the call itself. Replies come only between on_ready and on_gone.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/frame.h"
#include "domain/link.h"
#include "domain/manifest.h"
#include "domain/network.h"
#include "domain/printed.h"
#include "os/fd.h"

namespace mayfly::domain {
enum class BuildKind : std::uint8_t;  // domain/build.h
}

namespace mayfly::instances {

struct ModelFile {
  std::string path;       // inside the version: "model.onnx"; "" of code that was unpacked: `location` is its whole folder
  std::string location;   // on the node's disk
  Bytes size;
  friend bool operator==(const ModelFile&, const ModelFile&) = default;
};

struct StartOrder {
  domain::Role role{};
  std::string model_name;            // the function's name, for replies
  int version_number = 0;
  std::vector<ModelFile> files;      // the model first; or the one compiled file
  bool compiled = false;
  bool pack_weights = false;
  bool large_pages = true;
  int threads = 1;
  bool batches = true;               // false: rows of different requests never run together
  std::vector<std::string> labels;   // class names, for replies that ask for the best classes
  int rows_max = 1;
  Duration batch_wait{};
  Bytes memory_max;                  // of the process and its tmpfs, beyond what it maps
  Bytes memory_beside;               // models: what its control group lets it have beside that, for pages of what it maps
  std::string working_set;           // what it will touch of its compiled file (domain/working_set.h); "": not known
  double cpu = 1;                    // cores
  std::string output;                // compile: where the flat file goes on the node's disk; of bound jobs: an empty folder there
  Duration time_max = std::chrono::minutes(10);  // jobs: killed after this
  std::string runtime, handler;      // role code: what runs `files`, which lie below /var/task
  std::vector<std::pair<std::string, std::string>> environment;
  domain::Image image;               // of a container, whose only file is its whole root
  std::vector<std::string> models;   // … and which functions it may call
  domain::Network network;           // … and what it reaches beside its own loopback
  Duration timeout{};                // of one call; of a build, before it is killed
  int concurrency = 1;               // calls at a time, of code
  domain::Protocol protocol{};       // … and what its program is spoken to in, where it serves HTTP
  bool ahead = false;                // of code: the next start will be the same, and nothing else makes it quick
  std::string dependencies;          // of code: a folder on the node's disk with what was installed for it; "": none
  std::string start_cache;           // of code: a folder on the node's disk that makes its start quicker; "": none
  std::string layers;                // of code: a folder on the node's disk with what its layers hold; "": none
  domain::BuildKind build{};         // role build: by which tool
  bool alone = true;                 // … and whether the requirements name nothing of the package
  std::string optimization;          // role optimize: its job (domain/optimization.h)
  std::string samples;               // … and a file of the node's disk; "": none
  friend bool operator==(const StartOrder&, const StartOrder&) = default;
};

// One frame. The body is inline (<= domain::kInlineMax) or a sealed memfd, which the launcher duplicates.
struct Request {
  Ticket ticket;
  Instant deadline;
  domain::WireFormat format{};
  std::uint64_t json_size = 0;
  std::string_view body;
  int body_memfd = -1;
  std::uint64_t body_size = 0;
  std::uint64_t context_size = 0;  // of the body's end: serve::Invocation's
  std::uint64_t request_id_high = 0, request_id_low = 0;
  bool wants_log = false;          // what it prints last is to come with the reply
  domain::ReplyForm reply_form{};
};

struct Reply {
  domain::ReplyHead head;      // checked: sizes are true, code is a Code or 0, the ticket is NOT checked
  std::string_view body;       // inline, valid during the call
  os::Fd body_memfd;           // or sealed, of head.body_size bytes
  std::string log;             // of head.log_size bytes: domain/frame.h says whose
};

struct ReadyReport {
  int credit = 1;              // frames it wants in its ring at a time, 1 to 1024
  int threads = 1;
  Duration sandbox{};          // start() to the process taking its order (0 from the pool)
  Duration map{}, load{}, warm{};
  Duration cpu{};              // CPU so far
  Bytes private_memory;
  Bytes prefetched;            // of the model's file, from the disk
  std::string result;          // jobs: JSON
};

struct Death {
  std::string reason;          // for people: "killed by signal 11 (segmentation fault)", "exceeded its memory limit of 512 MB"
  bool asked = false;          // by stop() or kill(), and it ended by that and nothing else
  bool out_of_memory = false;
  Duration cpu{};              // its cgroup's or process's clock at the end, where it could be read
};

class LauncherEvents {
 public:
  virtual void on_ready(ProcessId process, const ReadyReport& report) = 0;
  // Said so itself: not a model, out of memory… `log`: what its program printed last.
  virtual void on_failed(ProcessId process, const Error& error, std::string_view log) = 0;
  virtual void on_reply(ProcessId process, Reply&& reply) = 0;
  virtual void on_gone(ProcessId process, const Death& death) = 0;
  virtual void on_log(ProcessId process, const domain::Printed& line) = 0;  // what it printed, or was denied

 protected:
  ~LauncherEvents() = default;
};

struct Usage {                 // measured now
  Bytes memory;                // proportional set size, or private bytes where that is all there is
  Duration cpu{};
};

class Launcher {
 public:
  virtual ~Launcher() = default;

  // From a blank sandbox of the pool, or a fresh one where the pool is empty.
  virtual void start(ProcessId process, const StartOrder& order) = 0;
  // One more instance from a template that is ready.
  virtual void fork(ProcessId child, ProcessId from) = 0;
  // False: the ring has no room now; ask again after a reply. Frames leave for good at flush().
  [[nodiscard]] virtual bool send(ProcessId process, const Request& request) = 0;
  // Best effort: a request that has not begun is dropped there; its reply may still come.
  virtual void cancel(ProcessId process, Ticket ticket) = 0;
  // A call there is at its deadline: who answers for a program that has its calls from the node itself (domain/direct.h) is to look.
  virtual void remind(ProcessId) {}
  // Of a reply in parts so many bytes more are with the caller. False: the ring has no room now.
  [[nodiscard]] virtual bool taken(ProcessId, Ticket, std::uint64_t) { return true; }
  // Wakes every process that was sent something since the last flush. Once a turn of the loop.
  virtual void flush() = 0;
  // It stops where it is, and its memory may leave, until it is sent something or stopped. False: not on this machine, or not now.
  [[nodiscard]] virtual bool freeze(ProcessId process) = 0;
  virtual void stop(ProcessId process) = 0;   // it answers what it has, then ends; on_gone follows
  virtual void kill(ProcessId process) = 0;   // now; on_gone follows
  virtual void forget(const StartOrder&) {}   // what was made ahead for its next start can go
  [[nodiscard]] virtual Usage measure(ProcessId process) = 0;  // zeros for a process that is gone
};

}  // namespace mayfly::instances
