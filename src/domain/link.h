// The control messages between the node, the zygote and the processes in sandboxes. They travel on
// unix SOCK_SEQPACKET sockets, one message a packet, file descriptors beside it (SCM_RIGHTS), and are
// plain structs: both ends are the same binary. Work travels in rings instead (domain/frame.h).
//
//   node ── zygote socket ──► zygote         make a blank sandbox; a sandbox has ended
//   node ── control socket ─► one process    load, fork, stop; ready, failed; large bodies
//
// A sandbox is a tiny init (pid 1 of its namespaces) and its processes. A blank process waits on its
// control socket for a LoadOrder, which makes it an instance, a template or a job (check, compile,
// tune). A template answers ForkOrders: each makes an instance with a control socket of its own.
// The node learns that a process died from its control socket: it closes.
#pragma once
#include <cstdint>
#include <type_traits>

namespace mayfly::domain {

// Beside a cancel frame (domain/frame.h), with its ticket as the signal's value: for a call that runs already. A real-time one:
// those queue, so that none is lost to another.
constexpr int kCancelSignal = 40;
constexpr int kFilesMax = 64;            // model and external data files of one version
constexpr std::size_t kPathMax = 240;
constexpr std::size_t kLabelsMax = 60 * 1024;  // bytes of class names in a LoadOrder; more are left out

enum class MessageKind : std::uint32_t {
  // node -> zygote
  make_sandbox = 1,   // SandboxOrder; descriptors: control socket of the blank process, status socket of its init, its stderr
  // zygote -> node
  sandbox_made = 2,   // SandboxMade
  sandbox_failed = 3, // SandboxMade, error text behind it
  sandbox_ended = 4,  // SandboxEnded: its init and everything in it is gone
  // init -> node, on the status socket; its other end closing means: the node is gone, end everything
  process_ended = 5,  // ProcessEnded; also sandbox_failed, where it could not be set up
  // node -> process
  load = 10,          // LoadOrder; descriptors: ring, doorbell of the node's frames, doorbell of the replies, then the model's files;
                      // for code with `network.outbound`: a socket to the node instead (domain/network.h)
  fork = 11,          // ForkOrder; descriptors: control socket, ring, the two doorbells of the child, and as in a LoadOrder
  stop = 12,          // Message: finish what is in the ring, then exit
  body = 13,          // BodyMessage; descriptors: one sealed memfd
  debugger = 15,      // Message, to the host of code; descriptors: one local stream, to be carried to the program's debugger
  placed = 14,        // Message, to a fork of code: it and its program are in their control group; go on
  // process -> node
  hello = 20,         // Message: the process exists; its pid comes with SCM_CREDENTIALS. A fork of code: a pidfd of its program beside it
  ready = 21,         // ReadyMessage; jobs: also the result, as JSON behind it; of code, where its program takes calls from the node itself
                      // (domain/direct.h): descriptors: the socket for them, a pidfd of the program
  failed = 22,        // FailedMessage, text behind it
  reply_body = 23,    // BodyMessage; descriptors: one sealed memfd
  log = 24,           // text behind it: a line for the function's log
};

enum class Role : std::uint32_t {
  instance = 1,  // load without packing (unless tuned otherwise), serve
  template_ = 2, // load as tuned, run once on made-up input, wait for forks
  check = 3,     // is it a model? -> signature (worker/jobs.h)
  compile = 4,   // -> one flat file, written to the descriptor after the model's files
  tune = 5,      // measure -> domain::Tuning
  probe = 6,     // tests only: tries to leave the sandbox and reports what it managed
  code = 7,      // the host of a user's program, in a code sandbox (worker/code_loop.h)
  unpack = 8,    // an archive, bound at kArchivePlace, into the folder bound at kPackagePlace (worker/unpack.h)
  build = 10,    // installs what a package names into the folder bound at kBuildPlace, by the network (worker/build.h)
  start_cache = 11,  // watches a start of code and keeps what makes the next ones quicker (worker/start_cache.h)
  optimize = 12, // searches for a smaller model in the folder bound at kOptimizePlace (domain/optimization.h)
  code_template = 9,  // a program that has imported everything, in one too; its forks are of role code (worker/code_template.h)
};
constexpr const char* kArchivePlace = "/archive";  // in the sandbox of an unpack
constexpr const char* kPackagePlace = "/package";
constexpr const char* kBuildPlace = "/build";            // of a build, which sees the package read-only at kPackagePlace
constexpr const char* kLayer = "layer";            // the text of its order, where the archive is a layer of a container's image
[[nodiscard]] constexpr bool is_code(Role role) { return role == Role::code || role == Role::code_template; }
[[nodiscard]] constexpr bool is_template(Role role) { return role == Role::template_ || role == Role::code_template; }
// Its files are bound into a sandbox of its own; it is told none.
[[nodiscard]] constexpr bool is_bound(Role role) {
  return is_code(role) || role == Role::unpack || role == Role::build || role == Role::start_cache || role == Role::optimize;
}
[[nodiscard]] constexpr bool is_of_model(Role role) { return !is_bound(role); }
// Does one thing, reports and ends.
[[nodiscard]] constexpr bool is_job(Role role) { return role != Role::instance && !is_template(role) && !is_code(role); }

struct Message {
  MessageKind kind{};
  std::uint32_t size = 0;  // of the text behind the fixed part
};

struct SandboxOrder {
  Message head{MessageKind::make_sandbox, 0};
  std::uint64_t sandbox = 0;      // the node's number for it
  std::uint64_t memory_max = 0;   // bytes; used for rlimits where there are no cgroups
  std::uint32_t machine_network = 0;  // 1: it has no network of its own, but the machine's
  std::uint32_t reserved = 0;
  // What a program in it sees of the outside follows, head.size bytes: a line each, "SOURCE\tTARGET\n" or
  // "SOURCE\tTARGET\trw\n", "@ADDRESS\tNAME\n" for what its own network is to have, and "USER\tNAME\n" for who a container's
  // program is (worker/detail/binds.h).
  // Nothing: a blank sandbox, in which no program can run.
};
struct SandboxMade {
  Message head{MessageKind::sandbox_made, 0};
  std::uint64_t sandbox = 0;
  std::int32_t init_pid = 0;      // in the node's pid namespace
};
struct SandboxEnded {
  Message head{MessageKind::sandbox_ended, 0};
  std::uint64_t sandbox = 0;
  std::int32_t wait_status = 0;   // of its init, which exits with the status of the process that mattered
};

struct ProcessEnded {
  Message head{MessageKind::process_ended, 0};
  std::int32_t pid = 0;           // in the sandbox's pid namespace
  std::int32_t wait_status = 0;
};

struct FileEntry {
  char path[kPathMax] = {};       // as in the version: "model.onnx", "weights/part1.bin"; entry 0 is the model
  std::uint64_t size = 0;
};

struct LoadOrder {
  Message head{MessageKind::load, 0};
  Role role{};
  std::uint32_t files = 0;             // entries used; as many descriptors
  std::uint8_t compiled = 0;           // 1: file 0 is the flat file of a compile; 0: the model as uploaded
  std::uint8_t pack_weights = 0;
  std::uint8_t large_pages = 0;
  std::uint8_t threads = 1;            // of the engine
  std::uint8_t batches = 1;            // 0: rows of different requests must not run together, whatever the shapes say
  std::uint8_t reserved[3] = {};
  std::uint32_t rows_max = 1;          // of one batch
  std::uint32_t version_number = 0;
  std::uint64_t batch_wait_ns = 0;
  std::uint64_t memory_max = 0;        // of this process: rlimits where there are no cgroups
  std::uint64_t output_size_max = 0;   // compile: limit of the flat file; unpack: of all that is unpacked
  char model_name[64] = {};            // for replies: the function's name
  std::uint32_t labels_size = 0;       // bytes of class names, each ended by a newline, behind the entries
  std::uint32_t working_set_size = 0;  // digits of the record of what it will touch of file 0 (domain/working_set.h), behind these
  std::uint64_t prefetch_max = 0;      // bytes of it that may be read ahead
  // files × FileEntry follow, then the class names, then the record
};

struct ForkOrder {
  Message head{MessageKind::fork, 0};
};

struct BodyMessage {
  Message head{MessageKind::body, 0};
  std::uint64_t ticket = 0;
  std::uint64_t size = 0;
};

struct ReadyMessage {
  Message head{MessageKind::ready, 0};
  std::uint32_t credit = 0;            // frames it wants at most in its ring at a time
  std::uint32_t threads = 0;           // of the process
  std::uint64_t map_ns = 0;            // phases of its start: order received to model mapped
  std::uint64_t load_ns = 0;           // … to session ready
  std::uint64_t warm_ns = 0;           // … first run on made-up input (template only)
  std::uint64_t cpu_ns = 0;            // CPU of the process so far
  std::uint64_t private_bytes = 0;     // measured: Private_Dirty + Private_Clean
  std::uint64_t prefetched_bytes = 0;  // of the model's file, read ahead because it was not in memory
};

struct FailedMessage {
  Message head{MessageKind::failed, 0};
  std::uint32_t code = 0;              // a Code
  std::uint32_t log_size = 0;          // bytes at the text's end: the last lines that the program printed (printed.h)
};

constexpr std::size_t kMessageMax = sizeof(LoadOrder) + kFilesMax * sizeof(FileEntry) + 72 * 1024;

static_assert(std::is_trivially_copyable_v<LoadOrder> && std::is_trivially_copyable_v<ReadyMessage>);

}  // namespace mayfly::domain
