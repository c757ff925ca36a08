#include "worker/engine.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "os/large_text.h"
#include "worker/detail/ort.h"

namespace mayfly::worker {
namespace {

using namespace std::string_view_literals;

std::string beside_the_binary() {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (size <= 0) return "lib/libonnxruntime.so.1";
  const std::string binary(path, static_cast<std::size_t>(size));
  return binary.substr(0, binary.find_last_of('/') + 1) + "lib/libonnxruntime.so.1";
}

// An ONNX file of opset 17: y = Relu(x), x and y FLOAT [1].
constexpr std::string_view kSmallest =
    "\x08\x08:3\n\x0c\n\x01x\x12\x01y\"\x04Relu\x12\x01wZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    "b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    "B\x04\n\x00\x10\x11"sv;

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const std::string& library) {
  ::setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  const std::string path = library.empty() ? beside_the_binary() : library;
  std::unique_ptr<Engine> engine(new Engine);  // the constructor is private: make_unique can't
  engine->library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!engine->library_)
    return fail(Code::not_found, "the engine's library can't be opened: " + std::string(::dlerror()) +
                                     "; run 'make', or name it with 'engine:' in the configuration");
  // What can't be had here costs time and nothing else.
  [[maybe_unused]] const auto moved = os::move_text_to_large_pages(path.substr(path.find_last_of('/') + 1));
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(::dlsym(engine->library_, "OrtGetApiBase"));
  if (!base) return fail(Code::invalid_argument, path + " is not an ONNX Runtime library: it has no OrtGetApiBase");
  engine->version_ = base()->GetVersionString();
  engine->api_ = base()->GetApi(ORT_API_VERSION);
  if (!engine->api_)
    return fail(Code::invalid_argument,
                "ONNX Runtime " + engine->version_ + " does not offer interface " + std::to_string(ORT_API_VERSION));
  const OrtApi& api = *engine->api_;
  // What the engine logs as an error it also returns: said once is enough.
  if (OrtStatus* status = api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "mayfly", &engine->environment_)) return fail(take_error(api, status));
  if (OrtStatus* status = api.DisableTelemetryEvents(engine->environment_)) api.ReleaseStatus(status);
  return engine;
}

Result<void> Engine::warm() {
  Owned<OrtSessionOptions> options(api_->ReleaseSessionOptions);
  Owned<OrtSession> session(api_->ReleaseSession);
  Owned<OrtMemoryInfo> memory(api_->ReleaseMemoryInfo);
  Owned<OrtValue> x(api_->ReleaseValue), y(api_->ReleaseValue);
  ORT_TRY(*api_, CreateSessionOptions(options.out()));
  ORT_TRY(*api_, SetIntraOpNumThreads(options.get(), 1));
  ORT_TRY(*api_, SetInterOpNumThreads(options.get(), 1));
  ORT_TRY(*api_, CreateSessionFromArray(environment_, kSmallest.data(), kSmallest.size(), options.get(), session.out()));
  ORT_TRY(*api_, CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, memory.out()));
  float one = 1;
  const std::int64_t shape = 1;
  ORT_TRY(*api_, CreateTensorWithDataAsOrtValue(memory.get(), &one, sizeof one, &shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, x.out()));
  const char* const in = "x";
  const char* const out = "y";
  const OrtValue* const given = x.get();
  ORT_TRY(*api_, Run(session.get(), nullptr, &in, &given, 1, &out, 1, y.out()));
  return {};
}

Engine::~Engine() {
  if (environment_) api_->ReleaseEnv(environment_);
  // The library stays: its destructors and ours would meet in an order that nobody promises.
}

}  // namespace mayfly::worker
