// function.yaml: what a user says about a function. Everything has a default; a model alone needs none.
// An unknown key, a wrong unit or an impossible combination is an error that names the line and the
// nearest valid word. Part of a version, and as immutable.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/network.h"
#include "domain/optimization.h"
#include "domain/printed.h"

namespace mayfly::domain {

struct Resources {
  Bytes memory = 1_GiB;          // limit of one instance's own memory; a mapped model does not count
  double cpu = 1;                // cores of one instance, 0.1 to 64; also the most engine threads
  Duration timeout = std::chrono::seconds(30);  // of one invocation, from arrival to answer; 1 ms to 15 min
  friend bool operator==(const Resources&, const Resources&) = default;
};

struct Scaling {
  int min = 0;                   // instances kept always: 0 to 1000
  int max = 20;                  // 1 to 1000, >= min
  int reserved = 0;              // instances' worth of the node's budget that other functions can't take
  std::optional<int> concurrency;      // requests in one instance at a time; absent: auto (from batching)
  std::optional<Duration> keep_alive;  // absent: auto, from the function's own idle gaps
  std::optional<Duration> freeze_after;  // of code: an instance idle for so long stops where it is; 0: never; absent: auto
  std::optional<Duration> target_p99;  // `target: {p99: 50ms}`: scale so that this holds
  friend bool operator==(const Scaling&, const Scaling&) = default;
};

struct Batch {
  int rows_max = 32;             // rows in one run of the engine, 1 to 4096
  Duration wait_max{};           // how long a batch may wait to fill; 0: takes only what waits already
  friend bool operator==(const Batch&, const Batch&) = default;
};

// Calls at a time in one instance of a program that serves HTTP, where scaling.concurrency says nothing: all these contracts
// want programs that take several, and a few at a time keep a single-threaded one from being buried.
constexpr int kHttpConcurrency = 8;

// Where scaling.freeze_after says nothing, of code that is given one call at a time, as Lambda's: it expects to stop between calls.
constexpr Duration kFreezeAfter = std::chrono::seconds(10);

// Of code in Python: whether instances come from a template, a process that has imported everything (docs/code.md).
enum class Forks : unsigned char {
  auto_,   // while no other instance from it is there: /tmp is theirs in common
  always,
  never,
};

// Of code: whether what its requirements name is installed at deploy (docs/code.md).
enum class Build : unsigned char {
  auto_,   // where the package names dependencies and does not hold them
  never,
};

// What a program that serves HTTP is spoken to in, by Knative's names of a container's port (docs/code.md).
enum class Protocol : unsigned char {
  http1,
  h2c,     // HTTP/2 without TLS, without asking first
};

// Of a function that is a container: what its image's configuration says of the program (docs/containers.md).
struct ImageInstead {            // what goes over an image's own; empty where its own holds
  std::vector<std::string> entrypoint, command;
  std::string directory;
  friend bool operator==(const ImageInstead&, const ImageInstead&) = default;
};
struct Image {
  std::vector<std::string> entrypoint, command;  // together the program and its arguments; a handler replaces the command
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory = "/";   // where it starts
  std::string user;              // who it is: "1000", "app", "app:staff", by the image's own accounts; "" is the sandbox's own
  std::string reference;         // where it was pulled from, "HOST/NAME:TAG" (domain/image_reference.h); "": it came as files
  std::string digest;            // of its manifest there, 64 hex digits; "" with a reference: a deploy is still to pull it
  ImageInstead instead;
  bool is_wanted() const { return !reference.empty() && digest.empty(); }
  Image as_started() const;      // with `instead` put in
  friend bool operator==(const Image&, const Image&) = default;
};

// Of code by AWS Lambda's contract: how its runtime writes what it logs, as its LoggingConfig says (docs/code.md).
enum class LogFormat : unsigned char { text, json };
struct Logging {
  LogFormat format = LogFormat::text;
  Level level = Level::none;         // of json: what is less grave is not written; none: info
  Level system_level = Level::none;  // of json: kept and told; the node's own lines go by no level
  friend bool operator==(const Logging&, const Logging&) = default;
};

constexpr const char* kContainerByImage = "container-by-image";  // runtime of a manifest that names none, until its image is pulled

struct Manifest {
  std::string name;              // see valid_function_name(); "" until a deploy names it
  std::string model;             // path of the model inside the folder: "model.onnx"
  std::string runtime;           // "python3.11", "provided": the function is code, and has no model; see kRuntimes
  std::string handler;           // of code: "app.handler" is the function `handler` of app.py
  std::vector<std::pair<std::string, std::string>> environment;  // of code, by name: what its process finds there
  Image image;                   // of containers
  std::vector<std::string> models;  // of code: the model functions of this node that it may call
  std::vector<std::string> layers;  // of code: "NAME:3", "NAME" for the newest (domain/layer.h); a deploy makes it a number
  Forks fork = Forks::auto_;
  Network network;               // of code: what it reaches beside its own loopback
  Build build = Build::auto_;
  Protocol protocol = Protocol::http1;  // of runtime http and container-http
  Logging logging;
  std::string task = "raw";
  std::vector<std::string> labels;
  Resources resources;
  Scaling scaling;
  Batch batch;
  std::optional<OptimizationOrder> optimize;  // of models: made smaller behind each deploy (docs/optimize.md); without samples and alias
  Bytes body_max = 64_MiB;       // input.bytes_max: the largest request body
  int queue_max = 10000;         // queue.max: requests waiting for an instance; more are refused at once
  bool is_code() const { return !runtime.empty(); }
  bool serves_http() const;      // code that is a program which listens: `http`, `azure…`, functions-framework-…, `container-http`
  bool is_container() const { return runtime.starts_with("container-"); }  // its files are the image's layers, by path the lowest first
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// 1 to 63 of a-z, 0-9, '-', '_' and '.', starting with a letter or digit: fits URLs, metrics and file names.
[[nodiscard]] bool valid_function_name(std::string_view name);
// A function's name that is not a number alone: those are versions.
[[nodiscard]] bool valid_alias_name(std::string_view name);

// Of a file of a function: not empty, short enough for a message to an instance, plain UTF-8, relative, and without a way out
// of the folder.
[[nodiscard]] Result<void> check_path(std::string_view path);

// At most 64 KiB of YAML (JSON is YAML). Error: invalid_argument with "line N: …".
[[nodiscard]] Result<Manifest> parse_manifest(std::string_view yaml);

// The manifest as JSON, with every default filled in; parse_manifest reads it back to an equal value.
[[nodiscard]] std::string to_json(const Manifest& manifest);
// What to_json wrote, checked like any manifest, ten times as fast as by parse_manifest: for the catalog.
[[nodiscard]] Result<Manifest> manifest_from_json(std::string_view json);

}  // namespace mayfly::domain
