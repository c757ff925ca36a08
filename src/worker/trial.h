// How a model does on this machine: loads it as an instance would, in processes of its own, answers a sample set, and measures. Driven by
// `mayfly optimize` for the original and for each candidate; what the answers are worth is for gate/judge.h to say.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "gate/judge.h"
#include "gate/samples.h"
#include "worker/child_work.h"
#include "worker/engine.h"
#include "worker/model.h"

namespace mayfly::worker {

// The model's file and those that its weights are in, mapped. Error: what can't be opened, or is no model.
[[nodiscard]] Result<ModelData> map_model(const std::string& path);

struct TrialOptions {
  bool compiled = false;                           // a flat file: starts without packing weights, as cold instances do
  Duration answers_max = std::chrono::seconds(60); // for the samples: those that do not fit are left out
  ChildLimits limits;
};

struct Latency {
  std::int64_t rows = 0;        // of a run
  std::uint64_t runs = 0;
  Duration p50{}, p99{};        // of a run
  double per_second = 0;        // rows
};

struct Trial {
  Duration load{}, first{};     // until it is loaded, until its first answer: from before the process is made; the median of three
  Latency one, best;            // of one row, and of the number of rows that gives most a second
  std::uint64_t memory = 0;     // that the process has more than before it loaded, files that it maps included
  gate::Outputs outputs;        // of the first samples
};

[[nodiscard]] Result<Trial> try_model(Engine& engine, const std::string& path, const gate::Samples& samples, const TrialOptions& options);

// What it takes and gives, with the engine's reason where it can't be loaded. In a process of its own.
[[nodiscard]] Result<domain::Signature> signature_of(Engine& engine, const std::string& path, const ChildLimits& limits);

// Made-up samples for which the model runs: free dimensions and numbers that index something are found by trying.
[[nodiscard]] Result<gate::Samples> made_up_samples(Engine& engine, const std::string& path, const domain::Signature& signature,
                                                    std::uint64_t count, const ChildLimits& limits);

// Writes the flat file for this CPU.
[[nodiscard]] Result<void> compile_to(Engine& engine, const std::string& path, const std::string& output, const ChildLimits& limits);

}  // namespace mayfly::worker
