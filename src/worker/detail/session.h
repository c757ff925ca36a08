// The engine's session of a model: its options, and where its weights are. Private to worker; part of Model::load and save_compiled.
#pragma once
#include <string>

#include "worker/detail/values.h"
#include "worker/model.h"

namespace mayfly::worker {

struct Opened {
  Owned<OrtSession> session;
  std::string copied;                  // why weights in files of their own can't be used there; "": they are, or may be
};

// `weights` gets the values that the session uses in place: they and `data` must outlive it.
[[nodiscard]] Result<Opened> open_session(Engine& engine, const ModelData& data, const LoadOptions& load, const OrtMemoryInfo& memory,
                                          Values& weights);

enum class StoredWeights { stay, become_floats };  // those in 8 bits that are computed with in 32

// Optimises the model for this CPU and writes the flat file to `path`.
[[nodiscard]] Result<void> write_flat(Engine& engine, const ModelData& data, const std::string& path, StoredWeights stored);

}  // namespace mayfly::worker
