#include "instances/runtimes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>

#include "domain/code_order.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPythons[] = {"python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"};
// What programs of a Linux machine expect, beside an interpreter's own folder.
constexpr std::string_view kSystem[] = {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ssl", "/etc/ld.so.cache", "/etc/alternatives",
                                        "/etc/localtime", "/etc/mime.types", "/etc/mono",
                                        "/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/java-25-openjdk"};
constexpr int kOldestNode = 18, kOldestJava = 17;  // what is looked for, from here on

std::vector<fs::path> places_of(std::string_view name, std::string_view path, std::string_view home) {
  std::vector<fs::path> places = places_of_path(path);
  if (home.empty()) return places;
  const std::string version = std::string(name.substr(std::string_view("python").size())) + ".";  // "3.11."
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(fs::path(home) / ".pyenv/versions", error))
    if (entry.path().filename().string().starts_with(version)) found.push_back(entry.path() / "bin");
  std::ranges::sort(found);
  places.insert(places.end(), found.begin(), found.end());
  return places;
}

std::optional<fs::path> find_program(std::string_view name, std::string_view path, std::string_view home) {
  for (const fs::path& place : places_of(name, path, home)) {
    std::error_code error;
    const fs::path real = fs::canonical(place / name, error);
    if (!error && is_program(real)) return real;
  }
  return std::nullopt;
}

// --- programs whose name has no version: it is read from what lies beside them; nothing is run

struct Found {
  fs::path program;
  int major = 0;         // 0: not known
  bool operator==(const Found&) const = default;
};

// The number behind the first `mark` in a small file: 20 of "#define NODE_MAJOR_VERSION 20".
int number_in(const fs::path& file, std::string_view mark) {
  std::ifstream in(file);
  std::string text(16 * 1024, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  const std::size_t at = text.find(mark);
  int number = 0;
  if (at != text.npos) std::from_chars(text.data() + at + mark.size(), text.data() + text.size(), number);
  return number;
}

// Of "…/versions/node/v20.20.2": version managers name a folder so.
int number_of(std::string name) {
  if (name.starts_with('v')) name.erase(0, 1);
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end != name.data() + name.size() && *end == '.' ? number : 0;
}

int major_of(bool java, const fs::path& program) {
  const fs::path prefix = program.parent_path().parent_path();
  if (java) return number_in(prefix / "release", "\nJAVA_VERSION=\"");
  const int told = number_in(prefix / "include/node/node_version.h", "#define NODE_MAJOR_VERSION ");
  if (told != 0) return told;
  const int packed = number_in(prefix / "package.json", "\"version\": \"");  // npm's package `node`
  return packed != 0 ? packed : number_of(prefix.filename().string());
}

std::vector<Found> find_all(bool java, std::string_view path, std::string_view home) {
  std::vector<fs::path> places = places_of_path(path);
  std::error_code error;
  const fs::path beside = java ? fs::path("/usr/lib/jvm") : fs::path(home) / ".nvm/versions/node";
  std::vector<fs::path> installed;
  if (java || !home.empty())
    for (const auto& entry : fs::directory_iterator(beside, error)) installed.push_back(entry.path() / "bin");
  std::ranges::sort(installed);
  places.insert(places.end(), installed.begin(), installed.end());
  std::vector<Found> all;
  for (const fs::path& place : places) {
    const fs::path real = fs::canonical(place / (java ? "java" : "node"), error);
    if (error || !is_program(real)) continue;
    const Found found{real, major_of(java, real)};
    if (std::ranges::find(all, found) == all.end()) all.push_back(found);
  }
  return all;
}

Result<fs::path> find_versioned(std::string_view name, std::string_view path, std::string_view home) {
  const bool java = name.starts_with("java");
  const int oldest = java ? kOldestJava : kOldestNode;
  const std::string_view number = name.substr(java ? 4 : 6);
  int wanted = oldest;
  std::from_chars(number.data(), number.data() + number.size(), wanted);
  const auto all = find_all(java, path, home);
  const Found* best = nullptr;
  for (const Found& found : all)
    if (found.major >= wanted && (!best || found.major < best->major)) best = &found;
  if (!best && !java)
    if (const auto unknown = std::ranges::find(all, 0, &Found::major); unknown != all.end()) best = &*unknown;
  if (best) return best->program;
  std::string there;
  for (const Found& found : all)
    there += (there.empty() ? "" : ", ") + (found.major == 0 ? "one of an unknown version" : std::to_string(found.major)) + " at " +
             found.program.string();
  const std::string kind = (java ? "Java " : "Node.js ") + std::to_string(wanted);
  return fail(Code::not_found, "this machine has no " + kind + " or newer for " + std::string(name) +
                                   ": install it where the node's PATH "
                                   "finds it (there: " + (there.empty() ? "none" : there) + ")");
}

// bin/python3.11 and lib/python3.11 lie beside one another.
Runtime with_program(Runtime runtime, const fs::path& program) {
  runtime.program = program.string();
  const std::string prefix = program.parent_path().parent_path().string();
  if (prefix != "/usr" && prefix != "/") runtime.folders.push_back(prefix);
  return runtime;
}

}  // namespace

int node_major(const std::string& program) { return major_of(false, program); }

std::vector<fs::path> places_of_path(std::string_view path) {
  std::vector<fs::path> places;
  while (!path.empty()) {
    const std::size_t end = path.find(':');
    if (end != 0) places.emplace_back(path.substr(0, end));
    path.remove_prefix(end == path.npos ? path.size() : end + 1);
  }
  places.emplace_back("/usr/bin");
  places.emplace_back("/usr/local/bin");
  return places;
}

bool is_program(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<char, 4> head{};
  return in.read(head.data(), head.size()) && std::string_view(head.data(), head.size()) == "\x7f" "ELF";
}

Result<Runtime> find_runtime(std::string_view name, std::string_view path, std::string_view home) {
  Runtime runtime;
  for (const std::string_view folder : kSystem) {
    std::error_code error;
    if (fs::exists(folder, error) && !fs::is_symlink(folder, error)) runtime.folders.emplace_back(folder);
  }
  if (name.starts_with("provided")) {
    runtime.program = "/var/task/bootstrap";
    return runtime;
  }
  if (name.starts_with("nodejs") || name.starts_with("java")) {
    TRY(const fs::path program, find_versioned(name, path, home));
    return with_program(std::move(runtime), program);
  }
  const auto program = find_program(name, path, home);
  if (!program) {
    std::string there;
    for (const std::string_view other : kPythons)
      if (find_program(other, path, home)) there += (there.empty() ? "" : ", ") + std::string(other);
    return fail(Code::not_found, "this machine has no " + std::string(name) + ": install it, or choose one that is there (" +
                                     (there.empty() ? "none" : there) + ")");
  }
  return with_program(std::move(runtime), *program);
}

namespace {

// A sandbox shows no control groups: each engine is told what it has, and leaves some of it to what is not its heap.
std::string part_of(Bytes memory, std::uint64_t percent) {
  return std::to_string(std::max<std::uint64_t>(memory.count / 100 * percent >> 20, 16));
}

constexpr const char *kCollector = "-XX:+UseSerialGC", *kCompiler = "-XX:TieredStopAtLevel=1";

}  // namespace

std::vector<std::string> java_arguments(const Runtime& runtime, Bytes memory) {
  return {runtime.program, "-Xmx" + part_of(memory, 60) + "m",     // as Lambda's: little memory and a quick start before the last
          kCollector, kCompiler, "-Xshare:auto",                   // bit of speed
          "-cp", "/var/task:/var/task/lib/*"};
}

void leave_to_users_options(const std::vector<std::string>& environment, std::vector<std::string>& arguments) {
  std::string theirs;
  for (const std::string& entry : environment)
    for (const std::string_view name : {"JAVA_TOOL_OPTIONS=", "JDK_JAVA_OPTIONS=", "_JAVA_OPTIONS="})
      if (entry.starts_with(name)) theirs += entry.substr(name.size()) + " ";
  const auto say = [&](std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(words, [&](std::string_view word) { return theirs.find(word) != theirs.npos; });
  };
  const bool heap = say({"-Xmx", ":MaxHeapSize", ":MaxRAM"}), compiler = say({"Tiered"});
  const bool collector = say({":+UseSerialGC", ":+UseParallelGC", ":+UseG1GC", ":+UseZGC", ":+UseShenandoahGC", ":+UseEpsilonGC"});
  std::erase_if(arguments, [&](const std::string& option) {
    return (heap && option.starts_with("-Xmx")) || (collector && option == kCollector) || (compiler && option == kCompiler);
  });
}

std::vector<std::string> arguments_of(const Runtime& runtime, std::string_view name, std::string_view handler, Bytes memory,
                                      bool layers) {
  std::vector<std::string> all{runtime.program};
  if (name.starts_with("java")) all = java_arguments(runtime, memory);
  if (name.starts_with("java") && layers) all.back() += ":/opt/java/lib/*";
  const auto add = [&](std::initializer_list<std::string_view> more) { all.insert(all.end(), more.begin(), more.end()); };
  if (name.starts_with("python")) add({"-c", domain::kPythonRuntime});
  if (name.starts_with("nodejs")) add({"--max-old-space-size=" + part_of(memory, 80), "--input-type=module", "-e", domain::kNodeRuntime});
  if (name.starts_with("java")) add({"com.amazonaws.services.lambda.runtime.api.client.AWSLambda", handler});
  return all;
}

}  // namespace mayfly::instances
