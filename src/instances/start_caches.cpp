#include "instances/start_caches.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "instances/builds.h"
#include "instances/http_runtimes.h"
#include "instances/runtimes.h"
#include "os/disk.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;
using domain::StartCacheKind;

constexpr int kOldestNode = 22;
constexpr Bytes kSizeTextMax{32};

// Node.js writes what it has compiled when it ends by itself, which an instance does not: here it is told when.
constexpr const char* kFlush =
    "data:text/javascript,import module from 'node:module'; import fs from 'node:fs'; setInterval(() => { "
    "if (fs.existsSync('/tmp/mayfly-flush')) { module.flushCompileCache?.(); fs.unlinkSync('/tmp/mayfly-flush'); } }, 20).unref();";

bool is_java(const std::string& runtime) { return runtime.starts_with("java") || runtime == "functions-framework-java"; }
bool is_node(const std::string& runtime) { return runtime.starts_with("nodejs") || runtime == "functions-framework-nodejs"; }

Result<std::string> program_of(const StartOrder& order) {
  if (order.runtime.starts_with("java") || order.runtime.starts_with("nodejs")) {
    TRY(Runtime runtime, find_runtime(order.runtime, environment_value("PATH"), environment_value("HOME")));
    return runtime.program;
  }
  TRY(HttpProgram program, find_http_program(order, environment_value("PATH"), environment_value("HOME")));
  return program.arguments.at(0);
}

std::string stamp_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  const auto changed = fs::last_write_time(file, error);
  return error ? "" : file.string() + " " + std::to_string(size) + " " + std::to_string(changed.time_since_epoch().count());
}

auto class_path(std::vector<std::string>& arguments) { return std::ranges::find(arguments, "-cp"); }

// A class path with its jars in front, since an archive holds classes of no folder, and those jars alone. A layer's stay behind the
// package: what is in both is the package's.
struct JarsFirst {
  std::string whole, jars;
};

JarsFirst jars_first(std::string_view path) {
  std::string jars, others;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string_view entry = path.substr(at, end - at);
    std::string& into = entry.ends_with("/*") && !entry.starts_with("/opt/") ? jars : others;
    into.append(into.empty() ? "" : ":").append(entry);
    at = end + 1;
  }
  return {jars.empty() || others.empty() ? jars + others : jars + ":" + others, jars};
}

// Places `option` in front of the class path, and the jars first on it.
void prepare_java(std::vector<std::string>& arguments, std::string option) {
  auto at = class_path(arguments);
  if (at == arguments.end() || at + 1 == arguments.end()) return;
  *(at + 1) = jars_first(*(at + 1)).whole;
  arguments.insert(at, std::move(option));
}

std::string shared_archive() { return std::string("-XX:SharedArchiveFile=") + domain::kStartCachePlace + "/" + domain::kClassData; }

void name_compile_cache(domain::CodeOrder& code) {
  constexpr std::string_view kName = "NODE_COMPILE_CACHE=";
  const bool own = std::ranges::any_of(code.environment, [&](const std::string& entry) { return entry.starts_with(kName); });
  if (!own) code.environment.push_back(std::string(kName) + domain::kStartCachePlace);
}

}  // namespace

bool may_have_start_cache(const std::string& runtime) { return is_java(runtime) || is_node(runtime); }

Result<std::optional<Starter>> starter_of(const StartOrder& order) {
  if (!may_have_start_cache(order.runtime)) return std::nullopt;
  TRY(const std::string program, program_of(order));
  if (is_java(order.runtime)) {
    const fs::path home = fs::path(program).parent_path().parent_path();
    return Starter{StartCacheKind::class_data, stamp_of(program) + "\n" + stamp_of(home / "lib/server/libjvm.so") + "\n" +
                                                   stamp_of(home / "lib/modules")};
  }
  if (node_major(program) < kOldestNode) return std::nullopt;
  return Starter{StartCacheKind::compile_cache, stamp_of(program)};
}

bool is_whole(const std::string& folder, const StartOrder& order) {
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(folder, error))) return false;
  if (!is_java(order.runtime)) return true;
  const auto said = os::read_file(folder + "/" + domain::kClassDataSize, kSizeTextMax);
  const auto size = fs::file_size(folder + "/" + domain::kClassData, error);
  return said && !error && *said == std::to_string(size);
}

void use_start_cache(const StartOrder& order, domain::CodeOrder& code) {
  if (is_java(order.runtime)) prepare_java(code.arguments, shared_archive());
  else name_compile_cache(code);
}

domain::StartCacheOrder plan_start_cache(const StartOrder& order, domain::CodeOrder code) {
  domain::StartCacheOrder plan;
  plan.time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(order.timeout).count();
  std::vector<std::string>& arguments = code.arguments;
  if (is_java(order.runtime)) {
    plan.kind = StartCacheKind::class_data;
    plan.dump = {arguments.at(0), "-Xshare:dump", std::string("-XX:SharedClassListFile=") + domain::kClassList, shared_archive()};
    // With the same options as a start has, or the archive does not fit it.
    const auto flag = class_path(arguments);
    for (auto at = arguments.begin() + 1; at != flag; ++at)
      if (!at->starts_with("-Xshare:")) plan.dump.push_back(*at);
    plan.dump.insert(plan.dump.end(), {"-cp", flag == arguments.end() || flag + 1 == arguments.end() ? "" : jars_first(*(flag + 1)).jars});
    plan.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"};
    for (const std::string& entry : code.environment)
      if (entry.starts_with("JAVA_TOOL_OPTIONS=") || entry.starts_with("_JAVA_OPTIONS=") || entry.starts_with("JDK_JAVA_OPTIONS="))
        plan.environment.push_back(entry);
    prepare_java(arguments, std::string("-XX:DumpLoadedClassList=") + domain::kClassList);
  } else {
    plan.kind = StartCacheKind::compile_cache;
    arguments.insert(arguments.begin() + 1, {"--import", kFlush});
    name_compile_cache(code);
  }
  plan.code = domain::to_json(code);
  return plan;
}

}  // namespace mayfly::instances
