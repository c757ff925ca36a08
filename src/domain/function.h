// The nouns of the catalog, as values: a function has immutable versions (1, 2, 3…) and aliases that
// share traffic among them by weight. "$LATEST" is the newest version that can serve.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/layer.h"
#include "domain/manifest.h"
#include "domain/tensor.h"

namespace mayfly::domain {

// A file of a version: where it was in the user's folder, and the bytes by name.
struct FileRef {
  std::string path;    // relative, no "..", no leading "/"
  std::string sha256;  // 64 lower-case hex digits: the artifact
  Bytes size;
  bool archive = false;  // of code: a zip or tar; what is in it is the version's folder, and it is the only file (store/packages.h)
  friend bool operator==(const FileRef&, const FileRef&) = default;
};

// How instances of a version run the model; measured at deploy (worker/jobs.h) and kept with the artifact.
struct Tuning {
  bool pack_weights = true;    // in the template; the cold tier never packs unless pack_cold
  bool pack_cold = false;      // packing pays off even for one cold run (static int8 convolutions)
  bool large_pages = true;     // transparent huge pages for the template's heap
  int threads = 1;             // engine threads; more than 1 means no template
  bool template_allowed = true;  // false: draws random numbers, or needs threads
  // What the measurements were, in nanoseconds and bytes: for people, and for the scaler's cost of one more instance.
  std::uint64_t cold_first_ns = 0;   // map + load + first run without packing
  std::uint64_t warm_run_ns = 0;     // one steady run, one row
  std::uint64_t fork_first_ns = 0;   // fork from the template + first run
  std::uint64_t private_bytes = 0;   // of one forked instance after a run
  std::uint64_t own_bytes = 0;       // allocated by one that maps its weights, after a run; 0: not known
  std::uint64_t own_packed_bytes = 0;  // … and by one that packs them
  std::string working_set;           // what a cold start touches of the file (domain/working_set.h); "": not known
  friend bool operator==(const Tuning&, const Tuning&) = default;
};

// The model compiled for one engine version and CPU.
struct Compiled {
  std::string key;        // engine version, CPU features and options; see domain/compile_key.h
  std::string sha256;     // the artifact: one flat file, mapped in place
  Bytes size;
  std::uint64_t compile_ns = 0;
  Tuning tuning;
  friend bool operator==(const Compiled&, const Compiled&) = default;
};

// What was installed for a version of code beside its own files (control/node_build.cpp).
struct Dependency {
  std::string name, version;
  std::string hash;       // of what was fetched, as its tool writes it: "sha256:…"; "" where the tool has none
  friend bool operator==(const Dependency&, const Dependency&) = default;
};
struct Dependencies {
  std::string kind;       // the tool: "pip"
  std::string key;        // 64 hex digits: the installed folder, which versions with the same requirements share
  std::shared_ptr<const std::vector<Dependency>> installed;  // by name; never null
};

struct Version {
  VersionId id;
  FunctionId function;
  int number = 0;                    // 1, 2, 3… within the function
  WallTime created;
  Manifest manifest;
  std::vector<FileRef> files;
  Signature signature;
  std::vector<std::string> notes;    // what the check has to say of the model, for people
  bool template_allowed = true;      // false: the check saw that it draws random numbers, so forks would draw the same
  std::optional<Compiled> compiled;  // absent until the compile behind the deploy has ended
  std::string compile_error;         // why there is none, if it was tried; the model as uploaded serves
  std::optional<Dependencies> dependencies;  // of code; absent: the package is all
  std::vector<LayerRef> layers;      // of code: what is below /opt; a later one's file counts
};

struct Weight {
  int version = 0;    // number
  double share = 1;   // of the alias's traffic; the shares of an alias add up to 1
  friend bool operator==(const Weight&, const Weight&) = default;
};

struct Alias {
  std::string name;             // as a function name; "$LATEST" and plain numbers are taken
  std::vector<Weight> weights;  // at least one
  std::vector<Weight> before;   // what it pointed to before: for rollback
  friend bool operator==(const Alias&, const Alias&) = default;
};

// A JSON document that is kept with a function beside its versions: of what kind, and of which version or alias ("": of the
// function). What of them Mayfly itself reads stands in domain/settings.h.
struct Setting {
  std::string kind, key;
  std::string document;   // "" in a change: to be removed
  WallTime updated;
  friend bool operator==(const Setting&, const Setting&) = default;
};

struct Function {
  FunctionId id;
  std::string name;
  WallTime created;
  std::vector<Version> versions;  // by number; all still deployed
  std::vector<Alias> aliases;     // always one called "live": calls that name no version or alias go there
  std::vector<Setting> settings;  // one of a kind and key
};

}  // namespace mayfly::domain
