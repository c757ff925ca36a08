// Runs a harness (LLVMFuzzerTestOneInput) without libFuzzer: first the corpus, then mutations of it
// from a fixed seed, until the time is over. With clang, link libFuzzer instead of this file.
//
//   NAME_fuzz [--seconds N] [--seed N] [corpus file or folder …]
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
// A harness may offer seeds of its own; those that do not get the empty input and the folder's files.
extern "C" __attribute__((weak)) const char* const* mayfly_fuzz_seeds();

namespace {

using Input = std::string;

void run(const Input& input) {
  // A copy of exactly this size, so that the sanitizer sees a read past the end.
  std::vector<std::uint8_t> exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

Input mutate(Input input, const std::vector<Input>& corpus, mayfly::Random& random) {
  for (int change = random.between(1, 8); change > 0; --change) {
    const auto size = static_cast<int>(input.size());
    const auto at = static_cast<std::size_t>(size == 0 ? 0 : random.between(0, size - 1));
    switch (random.between(0, 6)) {
      case 0: if (size) input[at] = static_cast<char>(random.next()); break;
      case 1: if (size) input[at] = static_cast<char>(input[at] ^ (1 << random.between(0, 7))); break;
      case 2: input.insert(at, 1, static_cast<char>(random.next())); break;
      case 3: if (size) input.erase(at, static_cast<std::size_t>(random.between(1, 16))); break;
      case 4: if (size) input.insert(at, input.substr(at, static_cast<std::size_t>(random.between(1, 64)))); break;
      case 5: {
        const Input& other = corpus[static_cast<std::size_t>(random.between(0, static_cast<int>(corpus.size()) - 1))];
        input = input.substr(0, at) + (other.size() > at ? other.substr(at) : other);
        break;
      }
      default: {
        static constexpr std::string_view kTokens[] = {"0", "-1", "18446744073709551616", "1e999", "\r\n", {"\0", 1},
                                                       "\"", "{", "[", "}", "]", ":", ","};
        input.insert(at, kTokens[random.between(0, 12)]);
      }
    }
  }
  if (input.size() > 1 << 16) input.resize(1 << 16);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  std::uint64_t seed = 1;
  std::vector<Input> corpus{""};
  if (mayfly_fuzz_seeds)
    for (const char* const* s = mayfly_fuzz_seeds(); *s; ++s) corpus.emplace_back(*s);
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--seconds") && i + 1 < argc) seconds = std::atof(argv[++i]);
    else if (!std::strcmp(argv[i], "--seed") && i + 1 < argc) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (std::filesystem::exists(argv[i])) {
      for (const auto& entry : std::filesystem::is_directory(argv[i])
               ? std::vector<std::filesystem::path>(std::filesystem::directory_iterator(argv[i]), std::filesystem::directory_iterator())
               : std::vector<std::filesystem::path>{argv[i]}) {
        std::ifstream file(entry, std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
      }
    } else {
      std::fprintf(stderr, "no such file: %s\n", argv[i]);
      return 2;
    }
  }
  for (const Input& input : corpus) run(input);
  mayfly::Random random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::uint64_t runs = corpus.size();
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 64; ++i, ++runs)
      run(mutate(corpus[static_cast<std::size_t>(random.between(0, static_cast<int>(corpus.size()) - 1))], corpus, random));
  }
  std::printf("ok: %llu inputs, seed %llu\n", static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
}
