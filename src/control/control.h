// The node's use cases: deploy, versions, aliases, roll back, scale, delete, and what people ask about
// them. Protocols call these; no protocol is known here. Runs on the loop's thread; what takes longer
// answers through a callback on the same thread, exactly once.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/function.h"
#include "domain/function_url.h"
#include "domain/optimization.h"
#include "domain/printed.h"
#include "domain/recording.h"
#include "domain/usage.h"

namespace mayfly::control {

template <class T>
using Done = std::function<void(Result<T>)>;

struct DeployOrder {
  std::string name;                    // "" : the manifest's, else the model's file name without its ending
  std::string manifest;                // YAML or JSON; "" : all defaults
  std::vector<domain::FileRef> files;  // whose artifacts have been uploaded; one must be the model. Of code: or one archive alone
  std::optional<domain::FileRef> archive;  // in place of files: a zip or tar with all of them
  std::optional<std::string> alias = "live";  // moved to the new version once it can serve; absent: none is
  std::optional<VersionId> beside;     // of the node's own: nothing is deployed where this version is gone
  bool force = false;                  // a new version even where the files and the manifest are the newest version's
};

// An object of the S3-compatible store that the node's configuration names.
struct ObjectName {
  std::string bucket, key;
  std::string version;                 // "": the newest
};

struct LayerOrder {
  std::string name;
  domain::FileRef archive;             // whose artifact has been uploaded: a zip or tar
  std::string description, license;
  std::vector<std::string> runtimes, architectures;
};

// Where a version stands. A version that can serve is `serving` (as uploaded) or `ready` (compiled and tuned).
enum class Stage { checking, serving, compiling, tuning, ready, failed };
[[nodiscard]] std::string_view name(Stage stage);

struct VersionView {
  domain::Version version;
  Stage stage{};
  bool unchanged = false;              // of a deploy: nothing was new, this is the newest version as it was
};

struct InstanceView {
  std::uint64_t process = 0;
  std::string function;
  int version = 0;
  std::string role;                    // "instance" or "template"
  std::string state;                   // "starting", "ready", "draining"
  bool frozen = false;                 // ready, and stopped until it is called
  std::string origin;                  // "artifact", "fork" or "upload" (the model not compiled)
  Duration age{}, idle{};
  int in_flight = 0;
  std::uint64_t answered = 0;
  Bytes memory;
  Duration cpu{};
};

struct DecisionView {                  // why the fleet of a version has the size it has
  WallTime at;
  int version = 0;
  int before = 0, after = 0;           // instances wanted
  std::string reason;                  // a sentence: "2 requests waited and one more instance costs 12 ms"
};

struct ColdStartView {                 // the phases of one start
  WallTime at;
  int version = 0;
  std::string origin;                  // as InstanceView
  Duration sandbox{}, map{}, load{}, warm{}, total{};  // total: decision to ready
  Bytes prefetched;                    // of the model's file, read before the load since it was not in memory
  Duration first_answer{};             // decision to its first answer, with any wait for a call; 0: none yet
  std::uint64_t process = 0;
};

struct FailureView {                   // an instance that ended by itself, or did not start
  WallTime at;
  int version = 0;
  std::uint64_t process = 0;           // 0: of a start
  std::string reason;
  std::string log;                     // what its program printed last, at most 4 KiB; "": nothing, or nobody knows
};

struct BuildView {                     // dependencies that are being installed
  std::string function;                // who asked first
  std::string kind, key;               // as domain::Dependencies
  WallTime since;
  std::string line;                    // what its tool printed last; "" while it waits for its turn
};

struct OptimizationView {              // a search for a smaller model that is under way
  std::string function;
  int version = 0;                     // the original
  bool waits = false;                  // for its turn
  WallTime since;                      // it was asked for
  std::string line;                    // what it does
};

struct StartCacheView {                // what makes a version's starts quicker (domain/start_cache.h)
  enum class State : std::uint8_t { making, ready, failed };
  std::string kind;
  State state{};
  Bytes size;                          // once it is ready
  std::string error;                   // why there is none
};

struct RecordingView {                 // calls that are kept as samples
  domain::RecordingPolicy policy;
  std::uint64_t calls = 0, seen = 0;   // kept; looked at since it began
  Bytes held;
};

struct FunctionView {
  domain::Function function;
  std::vector<Stage> stages;           // of function.versions, in their order
  std::map<int, StartCacheView> start_caches;  // by version number; of those that may have one
  int instances = 0, templates = 0, waiting = 0, in_flight = 0;
  Bytes memory;
  std::optional<RecordingView> recording;   // absent: none, as for every function that nobody set it for
  std::vector<DecisionView> decisions;      // newest first, at most 20
  std::vector<ColdStartView> cold_starts;   // newest first, at most 20
  std::vector<FailureView> failures;        // newest first, at most 20
};

struct UsageSum {                      // of one function and version over a span
  std::string function;                // "fraud (deleted)" where it is gone
  int version = 0;                     // 0: all of them
  std::uint64_t invocations = 0, errors = 0, cold_starts = 0, rows = 0;
  double billed_seconds = 0, gb_seconds = 0, cpu_seconds = 0, overhead_cpu_seconds = 0;
  double cost = 0;                     // by the price table
  double always_on_cost = 0;           // of a server of the same size that ran the whole span
  Duration queue_mean{}, run_mean{}, total_mean{}, total_max{};
};

struct UsageReport {
  WallTime since, until;
  std::string currency;
  std::vector<UsageSum> sums;
  std::uint64_t unknown_calls = 0;     // named no function, version or alias that there was; they cost nothing
};

struct LogQuery {                      // which lines of a log
  std::uint64_t after = 0;             // above this sequence
  std::size_t count = 100;             // the newest so many
  std::uint64_t request_high = 0, request_low = 0;  // of this call alone; zeros: of all
  domain::Level least = domain::Level::none;        // at least as grave
  int version = 0;                     // 0: all
  WallTime since{};
};

struct LogLine {
  std::uint64_t sequence = 0;          // grows; for `follow`
  std::string json;                    // one JSON object, no newline
};

struct VersionStats {                  // of one version since this node started, as Triton counts
  struct Sum {
    std::uint64_t count = 0;
    Duration time{};
  };
  std::string function;
  int version = 0;
  WallTime last;                       // its last call; 0: none
  std::uint64_t inferences = 0, executions = 0;  // rows, and runs of the engine, of calls that were answered
  Sum success, fail;                   // calls, from arrival to answer
  Sum queue, compute_input, compute_infer, compute_output;  // of those that were answered; a shared run counts for each
};

struct NodeView {
  std::string version;
  Duration up{};
  int functions = 0, instances = 0, templates = 0;
  Bytes memory_used, memory_budget;
  std::string cpu_features, engine_version;
  std::vector<std::string> notes;      // what this machine does not allow, said once at the start
};

class Control {
 public:
  virtual ~Control() = default;

  // Artifacts. begin_upload gives a number; append keeps order; finish hashes, syncs and names it.
  [[nodiscard]] virtual bool has_artifact(std::string_view sha256) = 0;
  [[nodiscard]] virtual Result<std::uint64_t> begin_upload() = 0;
  // `done` says that the bytes are in the file: send no more than a few MiB ahead of it.
  virtual void append_upload(std::uint64_t upload, std::string bytes, Done<void> done) = 0;
  // The same of bytes that are made on a background line, where that takes a while.
  virtual void append_made(std::uint64_t upload, std::function<Result<std::string>()> make, Done<void> done) = 0;
  virtual void finish_upload(std::uint64_t upload, Done<domain::FileRef> done) = 0;  // path is ""
  virtual void abort_upload(std::uint64_t upload) = 0;
  // As an artifact. unimplemented where no store is configured.
  virtual void fetch_object(ObjectName object, Done<domain::FileRef> done) = 0;

  // `done` once the version is durable, checked and serving (as uploaded); compiling goes on behind it.
  virtual void deploy(DeployOrder order, Done<VersionView> done) = 0;
  [[nodiscard]] virtual std::vector<FunctionView> list() = 0;           // without decisions and cold starts
  [[nodiscard]] virtual Result<FunctionView> describe(std::string_view function) = 0;
  virtual void remove(std::string_view function, Done<void> done) = 0;
  virtual void remove_version(std::string_view function, int version, Done<void> done) = 0;  // conflict while an alias names it
  virtual void set_alias(std::string_view function, std::string_view alias, std::vector<domain::Weight> weights,
                         Done<domain::Alias> done) = 0;
  virtual void remove_alias(std::string_view function, std::string_view alias, Done<void> done) = 0;  // not "live"
  virtual void rollback(std::string_view function, std::string_view alias, Done<domain::Alias> done) = 0;
  // Changes what is set of a function, all of it or nothing; `updated` becomes now. Durable when `done` is called.
  virtual void set_settings(std::string_view function, std::vector<domain::Setting> settings, Done<void> done) = 0;

  // Keeps calls of a model as samples from now on, in place of what was kept; absent: no more, and what was kept is removed.
  virtual void record(std::string_view function, std::optional<domain::RecordingPolicy> policy, Done<void> done) = 0;
  // What is kept, as domain::read_calls reads it.
  virtual void recorded(std::string_view function, Done<std::string> done) = 0;

  // Searches for a smaller model in the background (domain/optimization.h); 0: the version that the order's alias names. `done` with its
  // number, once that is durable. What became of it is in the function's settings, then.
  virtual void optimize(std::string_view function, int version, domain::OptimizationOrder order, Done<int> done) = 0;
  virtual void stop_optimization(std::string_view function, int version, Done<void> done) = 0;  // not_found: it is not under way
  [[nodiscard]] virtual std::vector<OptimizationView> optimizations() = 0;  // the oldest first

  // The function's URL of this ID (domain/function_url.h); null: there is none.
  [[nodiscard]] virtual std::shared_ptr<const domain::FunctionUrl> url(std::string_view id) = 0;

  // Layers (domain/layer.h). `done` once its archive is unpacked and the version is durable.
  virtual void publish_layer(LayerOrder order, Done<domain::LayerVersion> done) = 0;
  [[nodiscard]] virtual std::vector<domain::LayerVersion> layers(std::string_view name) = 0;  // by name and number; "": all
  // Functions that have it keep it.
  virtual void remove_layer(std::string_view name, int number, Done<void> done) = 0;
  virtual void set_layer_statement(std::string_view name, int number, domain::LayerStatement statement, Done<void> done) = 0;

  // Instances of the live versions now: 0 stops them (evict: their templates too); n keeps n until the next decision.
  [[nodiscard]] virtual Result<void> scale(std::string_view function, int instances, bool evict) = 0;

  [[nodiscard]] virtual std::vector<InstanceView> instances() = 0;
  [[nodiscard]] virtual NodeView node() = 0;
  virtual void usage(std::string_view function, WallTime since, WallTime until, Done<UsageReport> done) = 0;  // "": all
  // The newest lines at most `count`, oldest first, with a sequence above `after`. "": of all functions.
  [[nodiscard]] virtual Result<std::vector<LogLine>> logs(std::string_view function, const LogQuery& query) = 0;

  [[nodiscard]] virtual std::vector<BuildView> builds() = 0;   // the longest first

  // Whether a version can serve, by function name and qualifier as in serve::Invocation; for health and metadata.
  [[nodiscard]] virtual Result<domain::Version> resolve(std::string_view function, std::string_view qualifier) = 0;
  // Of all versions by number; "": of all functions.
  [[nodiscard]] virtual Result<std::vector<VersionStats>> stats(std::string_view function) = 0;
  // Prometheus text of everything this node counts.
  [[nodiscard]] virtual std::string metrics() = 0;
};

}  // namespace mayfly::control
