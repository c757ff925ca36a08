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
    std::string path;                  // within the version; external data are found from the model's own folder
    os::Mapping bytes;
  };
  std::vector<File> files;             // the model first
  std::uint64_t size() const {
    std::uint64_t bytes = 0;
    for (const File& file : files) bytes += file.bytes.size();
    return bytes;
  }
};

// The file at `location`, under the name `path`. Error invalid_argument: it is no file, or empty.
[[nodiscard]] Result<ModelData::File> map_model_file(const std::string& location, const std::string& path);

enum class Optimise { nothing, everything };

struct LoadOptions {
  bool compiled = false;               // the flat file of a compile
  bool pack_weights = true;
  int threads = 1;
  Optimise optimise = Optimise::everything;  // of a model as uploaded; a compiled one is already
  bool map_weights = false;            // those in files of their own stay there, where they can (else only what can't be copied); then
                                       // nothing is packed or optimised
  std::uint64_t room = UINT64_MAX;     // bytes of these that may be in memory: where they are more, rows of tables are read one at a time
};

class Model {
 public:
  // Error: invalid_argument where it is not a model that this engine can run, with the engine's reason.
  [[nodiscard]] static Result<std::unique_ptr<Model>> load(Engine& engine, ModelData data, const LoadOptions& options);
  ~Model();

  // batches: every first dimension is free; whether rows are independent is for the check to find out.
  const domain::Signature& signature() const;

  // Remarks for its maker: outputs that are converted.
  const std::vector<std::string>& notes() const;

  // Why weights in files of their own can't be used there (LoadOptions::map_weights); "" where they are, or could be.
  const std::string& copied_because() const;

  // Inputs in the order of the signature, checked against it (worker/codec.h). Outputs are valid until the next run. In steady state
  // small runs allocate nothing here: inputs are copied to tensors that are kept for each set of shapes, and the engine writes
  // into the outputs of the run before.
  [[nodiscard]] Result<std::span<const TensorView>> run(std::span<const TensorView> inputs);

  // Makes the run under way, and each that follows, fail between two operators, until go_on(). A signal handler may call it: the
  // engine writes one flag.
  void stop();
  void go_on();

 private:
  struct Inside;
  explicit Model(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace mayfly::worker
