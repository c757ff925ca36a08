// A model that the engine has loaded and can run. Owns the mapping of its files: a compiled flat file
// is used in place, its weights shared with every process that maps it. Not thread-safe; run by the
// serve loop and by jobs.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "os/fd.h"
#include "worker/codec.h"
#include "worker/engine.h"

namespace mayfly::worker {

struct ModelData {
  struct File {
    std::string path;                  // as the model names it: external data are found by this
    os::Mapping bytes;
  };
  std::vector<File> files;             // the model first
};

struct LoadOptions {
  bool compiled = false;               // the flat file of a compile
  bool pack_weights = true;
  int threads = 1;
  bool optimise = true;                // of a model as uploaded; a compiled one is already
  std::string save_compiled_to;        // a path: optimise for this CPU and write the flat file there
};

class Model {
 public:
  // Error: invalid_argument where it is not a model that this engine can run, with the engine's reason.
  [[nodiscard]] static Result<std::unique_ptr<Model>> load(Engine& engine, ModelData data, const LoadOptions& options);
  ~Model();

  // batches: every first dimension is free; whether rows are independent is for the check to find out.
  const domain::Signature& signature() const;

  // Inputs in the order of the signature. Outputs point into the engine's memory, valid until the next run.
  [[nodiscard]] Result<std::span<const TensorView>> run(std::span<const TensorView> inputs);

 private:
  struct Inside;
  explicit Model(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

// Zeros (ones for integers above 8 bits: token ids; "" for strings) of the signature's shapes; free dimensions are
// `rows` (the first) and `size`.
class MadeUpInput {
 public:
  MadeUpInput(const domain::Signature& signature, std::int64_t rows, std::int64_t size);
  std::span<const TensorView> tensors() const { return tensors_; }

 private:
  std::vector<std::vector<std::byte>> data_;
  std::vector<std::vector<std::string_view>> strings_;
  std::vector<TensorView> tensors_;
};

// Runs it on made-up input, trying a few sizes for the free dimensions; the last error where none runs.
[[nodiscard]] Result<void> warm_up(Model& model, std::int64_t rows = 1);

}  // namespace mayfly::worker
