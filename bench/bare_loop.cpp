// The floor under the node: the engine called directly, on made-up input, without server, sandbox or codec.
//
//   bare_loop LIBRARY MODEL [ROWS=1] [SIZE=32] [SECONDS=2] [PACK=0]    a loop of Run
//   bare_loop LIBRARY MODEL cold COUNT [SIZE=32] [PACK=0]              fork, map, make the session, run once; COUNT times
//
// LIBRARY is libonnxruntime.so.1; MODEL ends in .onnx, or is a flat file of the engine, which is mapped and used in place.
// Free dimensions: the first is ROWS, the others are SIZE. One thread. Prints one line of JSON: microseconds, medians over
// all runs, and CPU time of the loop per run.
#define ORT_API_MANUAL_INIT
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <list>
#include <string>
#include <string_view>
#include <vector>

namespace {

double now_us(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

double median(std::vector<double> all) {
  std::ranges::sort(all);
  return all[all.size() / 2];
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bare_loop: %s\n", why.c_str());
  std::exit(2);
}

struct File {
  void* data;
  std::size_t size;
};

File map(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat facts{};
  if (fd < 0 || ::fstat(fd, &facts) != 0) give_up(std::string("can't open ") + path);
  void* data = ::mmap(nullptr, static_cast<std::size_t>(facts.st_size), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (data == MAP_FAILED) give_up(std::string("can't map ") + path);
  return {data, static_cast<std::size_t>(facts.st_size)};
}

Ort::Session load(const Ort::Env& env, const char* path, bool pack) {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  options.SetExecutionMode(ORT_SEQUENTIAL);
  if (!pack) options.AddConfigEntry(kOrtSessionOptionsConfigDisablePrepacking, "1");
  if (std::string_view(path).ends_with(".onnx")) return Ort::Session(env, path, options);
  options.AddConfigEntry(kOrtSessionOptionsConfigLoadModelFormat, "ORT");
  options.AddConfigEntry(kOrtSessionOptionsConfigUseORTModelBytesDirectly, "1");
  options.AddConfigEntry(kOrtSessionOptionsConfigUseORTModelBytesForInitializers, "1");
  options.SetGraphOptimizationLevel(ORT_DISABLE_ALL);
  const File file = map(path);
  return Ort::Session(env, file.data, file.size, options);
}

// A session with its input: floats between 0 and 1, whole numbers 1 (a token, and what a mask lets through).
struct Runner {
  Runner(Ort::Session loaded, std::int64_t rows, std::int64_t size) : session(std::move(loaded)) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
      names.push_back(session.GetInputNameAllocated(i, allocator).get());
      const auto type = session.GetInputTypeInfo(i);
      auto shape = type.GetTensorTypeAndShapeInfo().GetShape();
      std::size_t count = 1;
      for (std::size_t d = 0; d < shape.size(); ++d) {
        if (shape[d] < 0) shape[d] = d == 0 ? rows : size;
        count *= static_cast<std::size_t>(shape[d]);
      }
      if (type.GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
        auto& data = floats.emplace_back(count);
        for (std::size_t at = 0; at < count; ++at) data[at] = static_cast<float>(at % 97) / 97.0F;
        inputs.push_back(Ort::Value::CreateTensor<float>(memory, data.data(), count, shape.data(), shape.size()));
      } else if (type.GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64) {
        auto& data = integers.emplace_back(count, 1);
        inputs.push_back(Ort::Value::CreateTensor<std::int64_t>(memory, data.data(), count, shape.data(), shape.size()));
      } else {
        give_up("an input that is neither FP32 nor INT64");
      }
    }
    for (std::size_t i = 0; i < session.GetOutputCount(); ++i) out_names.push_back(session.GetOutputNameAllocated(i, allocator).get());
    for (const auto& name : names) in.push_back(name.c_str());
    for (const auto& name : out_names) out.push_back(name.c_str());
  }
  void run() { session.Run(Ort::RunOptions{nullptr}, in.data(), inputs.data(), in.size(), out.data(), out.size()); }

  Ort::Session session;
  std::list<std::vector<float>> floats;
  std::list<std::vector<std::int64_t>> integers;
  std::vector<std::string> names, out_names;
  std::vector<const char*> in, out;
  std::vector<Ort::Value> inputs;
};

int loop(const Ort::Env& env, const char* model, std::int64_t rows, std::int64_t size, double seconds, bool pack) {
  Runner runner(load(env, model, pack), rows, size);
  for (int i = 0; i < 5; ++i) runner.run();
  std::vector<double> all;
  const double cpu = now_us(CLOCK_PROCESS_CPUTIME_ID), begun = now_us(CLOCK_MONOTONIC);
  double last = begun;
  while (last - begun < seconds * 1e6) {
    runner.run();
    const double now = now_us(CLOCK_MONOTONIC);
    all.push_back(now - last);
    last = now;
  }
  const auto count = static_cast<double>(all.size());
  std::printf("{\"run_us\": %.3f, \"cpu_us\": %.3f, \"runs\": %.0f, \"rows_per_second\": %.1f}\n", median(all),
              (now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu) / count, count, count * static_cast<double>(rows) / (last - begun) * 1e6);
  return 0;
}

int cold(const Ort::Env& env, const char* model, int count, std::int64_t size, bool pack) {
  auto* answered = static_cast<double*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (answered == MAP_FAILED) give_up("no memory");
  std::vector<double> all;
  for (int i = 0; i < count; ++i) {
    const double begun = now_us(CLOCK_MONOTONIC);
    const pid_t child = ::fork();
    if (child == 0) {
      Runner runner(load(env, model, pack), 1, size);
      runner.run();
      *answered = now_us(CLOCK_MONOTONIC);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) give_up("a child failed");
    all.push_back(*answered - begun);
  }
  std::printf("{\"cold_us\": %.1f, \"least_us\": %.1f, \"count\": %d}\n", median(all), *std::ranges::min_element(all), count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) give_up("bare_loop LIBRARY MODEL [ROWS SIZE SECONDS PACK] | bare_loop LIBRARY MODEL cold COUNT [SIZE PACK]");
  ::setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  void* library = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) give_up(::dlerror());
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(::dlsym(library, "OrtGetApiBase"));
  if (!base) give_up("not ONNX Runtime");
  Ort::InitApi(base()->GetApi(ORT_API_VERSION));
  const auto number = [&](int at, long fallback) { return argc > at ? std::strtol(argv[at], nullptr, 10) : fallback; };
  try {
    const Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "bare");
    if (argc > 3 && std::string_view(argv[3]) == "cold")
      return cold(env, argv[2], static_cast<int>(number(4, 50)), number(5, 32), number(6, 0) != 0);
    return loop(env, argv[2], number(3, 1), number(4, 32), static_cast<double>(number(5, 2)), number(6, 0) != 0);
  } catch (const Ort::Exception& error) {
    give_up(error.what());
  }
}
