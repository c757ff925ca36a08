// What the store costs: a start after kill -9, one more record, one upload. Prints a line each.
//
//   store_bench start FUNCTIONS | append RECORDS | upload MEGABYTES      (--in FOLDER: on that disk)
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "os/clock.h"
#include "os/process.h"
#include "store/test_folder.h"
#include "store/store.h"

using namespace mayfly;

namespace {

template <class T>
T must(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  ASSERT(result, "the store works");
  return *std::move(result);
}

domain::Version sample(int i) {
  domain::Version version{.created = os::wall_now()};
  version.manifest.name = "function-" + std::to_string(i);
  version.manifest.model = "model.onnx";
  version.files = {{.path = "model.onnx", .sha256 = std::string(64, 'a'), .size = {1234}}};
  version.signature = {.inputs = {{.name = "input", .datatype = domain::Datatype::fp32, .shape = {-1, 30}}},
                       .outputs = {{.name = "label", .datatype = domain::Datatype::int64, .shape = {-1}},
                                   {.name = "probabilities", .datatype = domain::Datatype::fp32, .shape = {-1, 2}}},
                       .batches = true};
  version.compiled = domain::Compiled{.key = "1.28.0", .sha256 = std::string(64, 'b'), .size = {5678}};
  return version;
}

void start(int functions) {
  const store::TestFolder folder;
  const os::Fd memory = must(os::make_memfd("progress", 4096));
  const os::Mapping mapping = must(os::map_file(memory.get(), 4096, os::Access::write));
  auto& written = *reinterpret_cast<std::atomic<int>*>(mapping.data());
  const Instant begun = os::monotonic_now();
  os::Child child = must(os::fork_child(os::Fd(), [&](os::Fd) {
    const auto store = must(store::Store::open({.folder = folder}));
    for (int i = 0; i < functions; ++i, ++written) must(store->catalog().add_version("function-" + std::to_string(i), sample(i), "live"));
    for (;;) store->usage().append({.function = 1, .version = 1}), ::usleep(10);
    return 0;
  }));
  while (written < functions) ::usleep(1000);
  const Duration took = os::monotonic_now() - begun;
  ::usleep(100'000);
  os::end(child);
  const Duration cpu = os::process_cpu_now();
  const Instant opened = os::monotonic_now();
  const auto store = must(store::Store::open({.folder = folder}));
  const Instant loading = os::monotonic_now();
  const std::size_t loaded = must(store->catalog().load()).size();
  const Instant done = os::monotonic_now();
  ASSERT(loaded == static_cast<std::size_t>(functions), "all were acknowledged");
  std::printf("start after kill -9, %d functions: %s (open %s, load %s), CPU %s; each was committed in %s\n", functions,
              to_text(done - opened).c_str(), to_text(loading - opened).c_str(), to_text(done - loading).c_str(),
              to_text(os::process_cpu_now() - cpu).c_str(), to_text(took / functions).c_str());
}

void append(int records) {
  const store::TestFolder folder;
  const auto store = must(store::Store::open({.folder = folder}));
  std::vector<Duration> batches;
  constexpr int kBatch = 100;
  const Duration cpu = os::process_cpu_now();
  const Instant begun = os::monotonic_now();
  for (int i = 0; i < records; i += kBatch) {
    const Instant batch = os::monotonic_now();
    for (int j = 0; j < kBatch; ++j) store->usage().append({.function = 1, .version = 1, .arrived_us = i});
    batches.push_back((os::monotonic_now() - batch) / kBatch);
  }
  const Duration all = os::monotonic_now() - begun, used = os::process_cpu_now() - cpu;
  std::ranges::sort(batches);
  const Instant folding = os::monotonic_now();
  if (auto folded = store->usage().fold(os::wall_now()); !folded) std::fprintf(stderr, "%s\n", folded.error().message.c_str());
  const Duration fold = os::monotonic_now() - folding;
  std::printf("append, %d records: mean %s, CPU %s, median of batches %s, worst batch of %d %s; fold %s a record\n", records,
              to_text(all / records).c_str(), to_text(used / records).c_str(), to_text(batches[batches.size() / 2]).c_str(), kBatch,
              to_text(batches.back() * kBatch).c_str(), to_text(fold / records).c_str());
}

void upload(int megabytes) {
  const store::TestFolder folder;
  const auto store = must(store::Store::open({.folder = folder}));
  std::string block(1'000'000, '\0');
  for (int round = 0; round < 5; ++round) {
    const Duration cpu = os::process_cpu_now();
    const Instant begun = os::monotonic_now();
    const auto going = must(store->artifacts().begin());
    for (int i = 0; i < megabytes; ++i) {
      for (std::size_t at = 0; at < block.size(); at += 64) std::memcpy(&block[at], &i, sizeof i), block[at + 5] = static_cast<char>(round);
      if (auto written = going->append(std::as_bytes(std::span(block))); !written)
        std::fprintf(stderr, "%s\n", written.error().message.c_str());
    }
    const Instant finishing = os::monotonic_now();
    must(going->finish());
    const Instant done = os::monotonic_now();
    std::printf("upload %d MB: %s (write and hash %s, finish %s), CPU %s\n", megabytes, to_text(done - begun).c_str(),
                to_text(finishing - begun).c_str(), to_text(done - finishing).c_str(), to_text(os::process_cpu_now() - cpu).c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && !std::strcmp(argv[3], "--in")) ::setenv("TMPDIR", argv[4], 1);
  if (argc >= 3 && !std::strcmp(argv[1], "start")) return start(std::atoi(argv[2])), 0;
  if (argc >= 3 && !std::strcmp(argv[1], "append")) return append(std::atoi(argv[2])), 0;
  if (argc >= 3 && !std::strcmp(argv[1], "upload")) return upload(std::atoi(argv[2])), 0;
  std::fprintf(stderr, "usage: store_bench start FUNCTIONS | append RECORDS | upload MEGABYTES [--in FOLDER]\n");
  return 2;
}
