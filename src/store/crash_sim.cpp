// Kills a process that writes to a store, at random moments, and looks at what is left: everything that was
// acknowledged is there, nothing is half there, every usage record counts once. Real files, real kills.
//
//   crash_sim SEED ROUNDS
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/assert.h"
#include "base/random.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/process.h"
#include "store/test_folder.h"
#include "store/store.h"

using namespace mayfly;

namespace {

// In memory that outlives the writer. Each counts what was acknowledged.
struct Progress {
  std::atomic<std::uint64_t> records, versions, artifacts;
  std::atomic<bool> opened;
};

constexpr std::int64_t kDay = 86'400'000'000;

template <class T>
T must(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  ASSERT(result, "the store works");
  return *std::move(result);
}
void must(Result<void> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message.c_str());
  ASSERT(result, "the store works");
}

store::StoreOptions options(const std::string& folder) { return {.folder = folder, .usage = {.segment = {64 + 160 * 2000}}}; }

std::string content(std::uint64_t number) {
  Random random(number);
  std::string text(static_cast<std::size_t>(random.between(0, 200'000)), '\0');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}
std::string hash_of(std::string_view text) {
  store::Hash hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.finish();
}

[[noreturn]] void write_until_killed(const std::string& folder, Progress& progress, Random random) {
  const auto store = must(store::Store::open(options(folder)));
  progress.opened = true;
  for (;;) {
    switch (random.between(0, 5)) {
      case 0: {
        domain::Version version;
        version.manifest.model = std::to_string(progress.versions + 1);
        must(store->catalog().add_version("f" + std::to_string(progress.versions % 7), version, "live"));
        ++progress.versions;
        break;
      }
      case 1: {
        const std::string text = content(progress.artifacts + 1);
        const auto upload = must(store->artifacts().begin());
        must(upload->append(std::as_bytes(std::span(text)).first(text.size() / 2)));
        must(upload->append(std::as_bytes(std::span(text)).subspan(text.size() / 2)));
        must(upload->finish());
        ++progress.artifacts;
        break;
      }
      case 2:
        if (random.chance(0.3)) must(store->usage().fold({std::chrono::microseconds(kDay)}));
        break;
      default:
        for (int n = random.between(1, 500); n > 0; --n) {
          store->usage().append({.function = 1, .version = 1, .arrived_us = kDay + static_cast<std::int64_t>(progress.records), .rows = 1});
          ++progress.records;
        }
    }
  }
}

// What one call was doing when it was killed may be there or not: `most` one more than acknowledged.
void between(const char* what, std::uint64_t got, std::uint64_t acknowledged) {
  if (got < acknowledged || got > acknowledged + 1)
    std::fprintf(stderr, "%s: %llu of %llu\n", what, static_cast<unsigned long long>(got), static_cast<unsigned long long>(acknowledged));
  ASSERT(got >= acknowledged && got <= acknowledged + 1, "acknowledged is there, and nothing else");
}

void check(const std::string& folder, Progress& progress) {
  const auto store = must(store::Store::open(options(folder)));
  std::uint64_t versions = 0;
  for (const domain::Function& function : must(store->catalog().load())) {
    ASSERT(!function.versions.empty() && function.aliases.size() == 1, "a function comes with its version and its alias");
    ASSERT(function.aliases[0].weights[0].version == function.versions.back().number, "the alias moved with the version");
    versions += function.versions.size();
  }
  between("versions", versions, progress.versions);
  progress.versions = versions;

  ASSERT(os::list_folder(folder + "/uploads")->empty(), "uploads are cleared");
  std::uint64_t artifacts = 0;
  for (const std::string& sub : must(os::list_folder(folder + "/artifacts")))
    for (const std::string& name : must(os::list_folder(folder + "/artifacts/" + sub))) {
      ASSERT(hash_of(must(os::read_file(folder + "/artifacts/" + sub + "/" + name, 1_MiB))) == name, "an artifact is whole");
      ++artifacts;
    }
  between("artifacts", artifacts, progress.artifacts);
  for (std::uint64_t i = 1; i <= artifacts; ++i) ASSERT(store->artifacts().has(hash_of(content(i))), "an acknowledged artifact is there");
  progress.artifacts = artifacts;

  const auto sum = [&] {
    const auto sums = must(store->usage().query({}, {}, {std::chrono::microseconds(3 * kDay)}));
    return sums.empty() ? 0 : sums[0].invocations;
  };
  const std::uint64_t records = sum();
  between("records", records, progress.records);
  must(store->usage().fold({std::chrono::microseconds(kDay)}));
  ASSERT(sum() == records, "a fold changes no sum");
  progress.records = records;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 100;
  Random random(seed);
  const os::Fd memory = must(os::make_memfd("progress", 4096));
  const os::Mapping mapping = must(os::map_file(memory.get(), 4096, os::Access::write));
  auto& progress = *reinterpret_cast<Progress*>(mapping.data());
  std::uint64_t records = 0, versions = 0, artifacts = 0;
  const int rounds_per_folder = 10;  // so that looking at what is left stays quick
  for (int round = 0; round < rounds;) {
    const store::TestFolder folder;
    progress.records = progress.versions = progress.artifacts = 0;
    for (int i = 0; i < rounds_per_folder && round < rounds; ++i, ++round) {
      progress.opened = false;
      const Random child_random(random.next());
      os::Child child = must(os::fork_child(os::Fd(), [&](os::Fd) -> int { write_until_killed(folder, progress, child_random); }));
      if (random.chance(0.8))  // else it may be killed while it opens
        while (!progress.opened) ::usleep(500);
      ::usleep(static_cast<useconds_t>(random.between(0, 60'000)));
      ASSERT(os::signal_process(child.pidfd, 0), "the writer was still writing");
      os::end(child);
      check(folder, progress);
    }
    records += progress.records;
    versions += progress.versions;
    artifacts += progress.artifacts;
  }
  std::printf("ok: %d kills, seed %llu: %llu records, %llu versions, %llu artifacts acknowledged\n", rounds,
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(records), static_cast<unsigned long long>(versions),
              static_cast<unsigned long long>(artifacts));
}
