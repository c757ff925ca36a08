// An ONNX model as a value: read from a file with its external data, copied, changed by steps (optimize/recipe.h), written.
//
// Whoever reads a stranger's model does so in a sandbox; this class never crashes on damaged bytes and says what is wrong
// with them. All weights are in memory, so a model needs about its size in memory, and a step that much again.
// It knows no engine and runs nothing.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::optimize {

constexpr std::int64_t kOpsetMin = 7, kOpsetMax = 25;
constexpr std::uint64_t kModelBytesMax = 64ull << 30;    // all weights of one model
constexpr std::uint64_t kNodesMax = 1'000'000;
constexpr std::uint64_t kInlineBytesMax = 1ull << 30;    // beyond, write() puts the weights beside the model

class Model {
 public:
  struct Impl;  // detail/proto.h

  // Error invalid_argument: no ONNX, truncated or damaged, an opset outside 7 to 25, external data that is missing, too short or
  // outside the model's folder. not_found: no such file.
  [[nodiscard]] static Result<Model> read(const std::string& path);
  // The same from bytes; external data is then an error.
  [[nodiscard]] static Result<Model> parse(std::string_view bytes);

  explicit Model(std::unique_ptr<Impl> impl);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  [[nodiscard]] Model copy() const;

  // All or nothing: into a temporary beside `path`, synced, renamed. Above `inline_max` the weights go to PATH.data, which is
  // in place before the model that names it. Error exhausted: the disk is full; nothing new is left then.
  [[nodiscard]] Result<void> write(const std::string& path, std::uint64_t inline_max = kInlineBytesMax) const;

  [[nodiscard]] std::uint64_t size() const;  // bytes that write() makes, external data included, but for the length of its file's name
  [[nodiscard]] std::int64_t opset() const;        // of ai.onnx
  [[nodiscard]] std::uint64_t nodes() const;       // those in branches and loops included
  [[nodiscard]] std::uint64_t parameters() const;  // elements of all constants
  [[nodiscard]] std::uint64_t parameters_of(const std::string& node) const;  // of those that the graph's node of this name takes

  [[nodiscard]] Impl& impl() { return *impl_; }
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::optimize
