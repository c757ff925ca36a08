// What each command of the command line does, with its options as values. Driven by cli.cpp, which parses;
// each asks the node (app/client.h), prints its answer to stdout, and returns the error that ends it. Errors'
// codes choose the exit status (app/cli.h): invalid_argument is wrong usage, unavailable no node, not_found not
// found, everything else a failure.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/client.h"
#include "app/package.h"
#include "app/terminal.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/function.h"

namespace mayfly::app {

struct Context {
  Client client;
  Terminal terminal;
  bool json = false;  // answers for programs
};

struct DeployOptions {
  std::string path, name, alias = "live";
  bool no_alias = false, force = false, no_wait = false;
  Overrides overrides;
};
[[nodiscard]] Result<Json> deploy_version(const Context& context, const DeployOptions& options);  // prints nothing but progress
[[nodiscard]] Result<void> deploy(const Context& context, const DeployOptions& options);

struct InvokeOptions {
  std::string function;  // NAME or NAME:QUALIFIER
  std::string data;      // JSON, @file, @- (standard input)
  std::string timeout;
  bool times = false;  // on stderr: how long it took, by whom it was answered
  bool tail = false;   // … and what its instance printed
  bool event = false;  // nobody waits for the answer
};
[[nodiscard]] Result<void> invoke(const Context& context, const InvokeOptions& options);

struct LogsOptions {
  std::string function;  // "": of all
  std::uint64_t count = 100;
  bool follow = false;
  std::string request, level, since;  // "": all
  int version = 0;                    // 0: all
};
[[nodiscard]] Result<void> logs(const Context& context, const LogsOptions& options);

struct NewOptions {
  std::string name, folder;
  bool list = false;
};
// A folder with what a function needs, to begin with. Asks no node.
[[nodiscard]] Result<void> scaffold(const Context& context, const NewOptions& options);

struct DevOptions {
  std::string folder, node;  // "": a node of its own
  std::string listen = "127.0.0.1:0";
  std::string debug = "no";      // a port for debuggers; "": any free one; "no": no debugger
  Overrides overrides;
  std::string name;
};
// Serves a folder while it is worked on, until it is interrupted (app/dev.cpp).
[[nodiscard]] Result<void> dev(const Context& context, const DevOptions& options);

[[nodiscard]] Result<void> list(const Context& context);
struct DescribeOptions {
  std::string function;
  bool dependencies = false;         // of its newest version, and nothing else
};
[[nodiscard]] Result<void> describe(const Context& context, const DescribeOptions& options);
[[nodiscard]] Result<void> versions(const Context& context, const std::string& function);
[[nodiscard]] Result<void> instances(const Context& context, const std::string& function);  // "": of all
[[nodiscard]] Result<void> node(const Context& context);
struct UsageOptions {
  std::string function, since = "24h", until;
};
[[nodiscard]] Result<void> usage(const Context& context, const UsageOptions& options);

struct AliasOptions {
  std::string function, alias;
  std::vector<std::string> weights;  // "1=90%"
  bool remove = false;
};
[[nodiscard]] Result<void> alias(const Context& context, const AliasOptions& options);
struct LayerOptions {
  std::string name, path, description;
  int version = 0;     // of the one to delete
  bool remove = false;
};
[[nodiscard]] Result<void> layer(const Context& context, const LayerOptions& options);
[[nodiscard]] Result<void> layers(const Context& context);
// Its newest version where that is the same already ("unchanged"). `path`: a folder or an archive.
[[nodiscard]] Result<Json> publish_layer_version(const Context& context, const std::string& name, const std::string& path,
                                                 const std::string& description);
[[nodiscard]] Result<void> rollback(const Context& context, const std::string& function, const std::string& alias);
struct DeleteOptions {
  std::string function;
  int version = 0;  // 0: all of it
  bool yes = false;
};
[[nodiscard]] Result<void> remove(const Context& context, const DeleteOptions& options);
struct ScaleOptions {
  std::string function;
  int instances = 0;
  bool evict = false;
};
[[nodiscard]] Result<void> scale(const Context& context, const ScaleOptions& options);

struct RecordOptions {
  std::string function, output;            // output "": nothing is written
  int calls = 0;                           // 0: nothing begins
  std::string share = "100%", size_max = "64MiB";
  bool off = false;
};
// Keeps calls of a model as samples, and writes them as an .npz (app/record.cpp).
[[nodiscard]] Result<void> record(const Context& context, const RecordOptions& options);

struct BenchOptions {
  std::string function, data, format = "plain";
  int concurrency = 16;
  std::string duration = "10s", warmup, timeout = "60s";
  std::uint64_t requests = 0;  // 0: as many as the duration allows
  double rate = 0;             // 0: closed loop
};
[[nodiscard]] Result<void> bench(const Context& context, const BenchOptions& options);

// What `mayfly deploy --optimize` found of each version of a function, newest first (app/optimize_history.cpp).
struct HistoryOptions {
  std::string function;
};
[[nodiscard]] Result<void> optimize_history(const Context& context, const HistoryOptions& options);
// Ends the search of one, or of the newest that is under way.
struct StopOptions {
  std::string function;
  int version = 0;  // 0: the newest
};
[[nodiscard]] Result<void> optimize_stop(const Context& context, const StopOptions& options);

struct OptimizeOptions {
  std::string model, output, data;         // output "": MODEL.optimized.onnx beside it; data "": made up
  std::string pictures;                    // how those of a folder are prepared (gate/pictures.h)
  std::string data_out;                    // an .npz for what the model is given; "": none
  std::vector<std::string> recipes;        // none, or "auto": a list by the goal
  std::string goal = "latency", compare = "auto";
  std::string accuracy_drop_max = "1%", same_min = "99%", time_max = "5m";
  std::string html, svg, png;
  std::string canary = "100%";             // of deploy: the share of the calls that the optimised version gets
  bool wait = false;                       // … and whether to follow the search until it ends
  std::string keeps_room;                  // a folder of a disk that a node needs: the search ends before that is full; "": none
  bool tells_lines = false;                // what is being done on lines of their own, for who reads them
};
// Makes smaller and faster candidates of a model file, and writes the best that the gate passes (app/optimize.cpp).
[[nodiscard]] Result<void> optimize(const Context& context, const OptimizeOptions& options);

// Pieces that several commands share, or that tests want.
[[nodiscard]] Result<std::string> read_data(const std::string& data);                                    // JSON, @file, @-
[[nodiscard]] Result<std::vector<domain::Weight>> parse_weights(const std::vector<std::string>& words);  // shares add up to 1
[[nodiscard]] std::string weights_text(const Json& weights);                                             // "1 90%, 2 10%"
[[nodiscard]] std::string tensors_text(const Json& tensors);                                             // "input FP32[?,30]"
[[nodiscard]] Result<std::string> sample_body(const Json& signature, const std::string& format);         // zeros that fit
// The lines of a function's log after this number; the newest `count` where it is 0. `more`: of the query, "&request=ID".
[[nodiscard]] Result<std::vector<Json>> log_lines(const Context& context, const std::string& function, std::uint64_t after, int count,
                                                  const std::string& more = {});
[[nodiscard]] std::string log_text(const Terminal& terminal, const std::string& line);                   // of one JSON line
void pause(Duration wait);
void print(std::string_view text);                                                                       // to stdout
void print_json(const Json& json);                                                                       // indented on a terminal

}  // namespace mayfly::app
