// For tests: the engine, and the models that tests/models/make_models.py writes to build/test-models.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "worker/engine.h"
#include "worker/model.h"

namespace mayfly::worker {

inline std::string models_folder() { return std::string(MAYFLY_SOURCE_DIR) + "/build/test-models/"; }

#define SKIP_WITHOUT_MODELS()                                                                                                  \
  if (!std::filesystem::exists(models_folder() + "stamp"))                                                                     \
  GTEST_SKIP() << "no test models: run build/venv/bin/python tests/models/make_models.py build/test-models ('make test' does)"

inline Engine& test_engine() {
  static const auto engine = Engine::open(MAYFLY_DEPS "/onnxruntime-1.28.0/lib/libonnxruntime.so.1");
  if (!engine) {
    ADD_FAILURE() << engine.error().message;
    std::abort();
  }
  return **engine;
}

inline ModelData::File test_file(const std::string& path, const std::string& as) {
  const os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  EXPECT_EQ(::fstat(fd.get(), &status), 0) << path;
  auto bytes = os::map_file(fd.get(), static_cast<std::uint64_t>(status.st_size), os::Access::read);
  EXPECT_TRUE(bytes) << path;
  return {as, std::move(*bytes)};
}

inline ModelData test_model(const std::string& name) {
  ModelData data;
  data.files.push_back(test_file(models_folder() + name + ".onnx", "model.onnx"));
  return data;
}

inline std::string read_test_file(const std::string& name) {
  std::ifstream file(models_folder() + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

template <class T>
TensorView tensor_of(const std::vector<T>& values, std::vector<std::int64_t> shape) {
  return {.shape = std::move(shape), .data = std::as_bytes(std::span(values))};
}

template <class T>
std::vector<T> values_of(const TensorView& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

}  // namespace mayfly::worker
