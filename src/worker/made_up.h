// Input that nobody sent: for the first run of a template, for measurements, and for finding out whether a model's rows are
// independent. Values are small and valid as token ids, masks and measurements alike; free dimensions get a size that
// is found by trying. Nothing of it is random: the same signature gives the same input.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "domain/tensor.h"
#include "worker/model.h"

namespace mayfly::worker {

class MadeUpInput {
 public:
  // Rows `first_row` to `first_row + rows` of an endless table: row 3 is the same however many come with it. Free dimensions
  // beyond the first are `size`. Error exhausted: it would take more than 256 MiB.
  [[nodiscard]] static Result<MadeUpInput> make(const domain::Signature& signature, std::int64_t first_row, std::int64_t rows,
                                                std::int64_t size);
  std::span<const TensorView> tensors() const { return tensors_; }

 private:
  std::vector<std::vector<std::byte>> data_;
  std::vector<std::vector<std::string_view>> strings_;
  std::vector<TensorView> tensors_;
};

// The size of free dimensions (beyond the first) for which the model runs, found by running one row; the error of the last
// try where none does. Also the first run of a model that was just loaded.
[[nodiscard]] Result<std::int64_t> find_size(Model& model);

// The least time of the runs that fit into `time`: 3 at least, 1,000 at most. Zero where it does not run.
[[nodiscard]] Duration least_run(Model& model, const MadeUpInput& input, Duration time);

// True if a row's outputs are the same alone and among others, to 1 part in 1000: then requests may share a run.
[[nodiscard]] bool rows_are_independent(Model& model, std::int64_t size);

}  // namespace mayfly::worker
