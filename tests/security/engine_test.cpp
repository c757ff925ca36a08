// The whole chain with the real engine: check, compile, instance, template, fork, all behind the filters; nothing
// that they need is denied.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <unistd.h>

#include "node.h"

namespace mayfly::security {
namespace {

const std::string kEngine = MAYFLY_DEPS "/onnxruntime-" MAYFLY_ENGINE_VERSION "/lib/libonnxruntime.so.1";

std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string field(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }

// y = relu(x), x of n × 3 floats: the smallest ONNX model, written out by hand.
std::string relu_model() {
  const std::string shape = field(1, field(2, "n")) + field(1, field(1, 3));
  const auto value = [&](const std::string& name) { return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))); };
  const std::string node = field(1, "x") + field(2, "y") + field(4, "Relu");
  const std::string graph = field(1, node) + field(2, "g") + field(11, value("x")) + field(12, value("y"));
  return field(1, 8) + field(7, graph) + field(8, field(2, 13));
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : node({.engine_library = kEngine, .blanks = 2}) {
    char name[] = "/tmp/mayfly-model-XXXXXX";
    const int fd = ::mkstemp(name);
    path = name;
    const std::string model = relu_model();
    EXPECT_EQ(::write(fd, model.data(), model.size()), static_cast<ssize_t>(model.size()));
    ::close(fd);
  }
  ~EngineTest() override {
    ::unlink(path.c_str());
    ::unlink((path + ".ort").c_str());
    for (const auto& [id, heard] : node.heard) EXPECT_EQ(heard.log, "") << "the engine was denied something, or complains";
  }
  ProcessId start(domain::Role role, bool compiled = false, int threads = 1) {
    return node.start(role, "relu", [&](instances::StartOrder& order) {
      const std::string file = compiled ? path + ".ort" : path;
      std::ifstream in(file, std::ios::ate | std::ios::binary);
      order.files = {{compiled ? "model.ort" : "model.onnx", file, Bytes{static_cast<std::uint64_t>(in.tellg())}}};
      order.compiled = compiled;
      order.threads = threads;
      order.memory_max = 1_GiB;
      if (role == domain::Role::compile) order.output = path + ".ort";
    });
  }
  std::string why(ProcessId id) { return node.heard[id].error.message + " " + node.heard[id].death.reason; }
  void expect_answers(ProcessId id) {
    ASSERT_TRUE(node.ready(id)) << why(id);
    ASSERT_TRUE(node.send(id, R"({"x": [[-1, 0.5, 2]]})"));
    ASSERT_TRUE(node.replies(id, 1)) << why(id);
    EXPECT_NE(node.heard[id].replies[0].find("0.5"), std::string::npos) << node.heard[id].replies[0];
    EXPECT_EQ(static_cast<int>(node.heard[id].codes[0]), 0) << node.heard[id].replies[0];
  }

  Node node;
  std::string path;
};

TEST_F(EngineTest, AnInstanceAnswers) { expect_answers(start(domain::Role::instance)); }

TEST_F(EngineTest, AnInstanceWithThreadsAnswers) { expect_answers(start(domain::Role::instance, false, 2)); }

TEST_F(EngineTest, AForkAnswers) {
  const ProcessId parent = start(domain::Role::template_);
  ASSERT_TRUE(node.ready(parent)) << why(parent);
  expect_answers(node.fork(parent));
  expect_answers(node.fork(parent));
}

TEST_F(EngineTest, CheckCompileAndServe) {
  const ProcessId check = start(domain::Role::check);
  ASSERT_TRUE(node.ready(check)) << why(check);
  EXPECT_NE(node.heard[check].report.result.find("FP32"), std::string::npos) << node.heard[check].report.result;
  const ProcessId compile = start(domain::Role::compile);
  ASSERT_TRUE(node.ready(compile)) << why(compile);
  ASSERT_TRUE(node.gone(compile));
  expect_answers(start(domain::Role::instance, true));
  const ProcessId tune = start(domain::Role::tune, true);
  ASSERT_TRUE(node.ready(tune)) << why(tune);
}

}  // namespace
}  // namespace mayfly::security
