#include "instances/http_runtimes.h"

#include <algorithm>
#include <filesystem>

#include "domain/code_order.h"
#include "instances/runtimes.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTask = "/var/task/";

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// Of a package that is one folder no link is followed.
bool has_file(const StartOrder& order, const std::string& name) {
  return std::ranges::any_of(order.files, [&](const ModelFile& file) {
    std::error_code error;
    return file.path == name || (file.path.empty() && fs::is_regular_file(fs::symlink_status(fs::path(file.location) / name, error)));
  });
}

// A file of the package, else a program of the machine: what of it the sandbox must see goes into `folders`.
Result<std::string> find_program(std::string name, const StartOrder& order, std::string_view path, std::string_view home,
                                 std::vector<std::string>& folders) {
  if (name.starts_with("./")) name.erase(0, 2);
  if (has_file(order, name) || name.find('/') != name.npos) return std::string(kTask) + name;
  if (name.starts_with("python3.")) {
    TRY(Runtime runtime, find_runtime(name, path, home));
    folders = std::move(runtime.folders);
    return runtime.program;
  }
  for (const fs::path& place : places_of_path(std::string(path) + ":/usr/local/bin:/usr/bin:/bin")) {
    std::error_code error;
    const fs::path real = fs::canonical(place / name, error);
    if (error || !is_program(real)) continue;
    const fs::path prefix = real.parent_path().parent_path();
    if (!real.string().starts_with("/usr/") && real.parent_path().filename() == "bin" && prefix != "/") folders.push_back(prefix.string());
    return real.string();
  }
  return fail(Code::not_found, "'" + name + "' is no file of the package and no program of this machine: add it, or install it");
}

// What runs the app, where it is no custom handler: that only host.json tells, which the sandbox reads.
Result<std::vector<std::string>> azure_arguments(const StartOrder& order, std::string_view path, std::string_view home,
                                                 std::vector<std::string>& folders) {
  const std::string language = order.runtime.substr(std::min(order.runtime.size(), std::string_view("azure-").size()));
  if (language.starts_with("python") || (language.empty() && has_file(order, "function_app.py"))) {
    TRY(const std::string program, find_program(language.starts_with("python3.") ? language : "python3", order, path, home, folders));
    return std::vector<std::string>{program, "-u", "-c", std::string(domain::kAzurePython)};
  }
  if (language == "node" || has_file(order, "package.json")) {
    const auto program = find_program("node", order, path, home, folders);
    if (!program && !language.empty()) return fail(program.error());
    if (program) return std::vector<std::string>{*program, "--input-type=module", "-e", std::string(domain::kAzureNode)};
  }
  return std::vector<std::string>{std::string(kTask) + "host.json"};
}

}  // namespace

Result<HttpProgram> find_http_program(const StartOrder& order, std::string_view path, std::string_view home) {
  HttpProgram program;
  TRY(Runtime system, find_runtime("provided", path, home));
  program.folders = std::move(system.folders);
  if (order.runtime.starts_with("azure")) {
    TRY(program.arguments, azure_arguments(order, path, home, program.folders));
    return program;
  }
  if (order.runtime == "functions-framework-java") {
    TRY(Runtime java, find_runtime("java17", path, home));
    program.arguments = java_arguments(java, order.memory_max);
    program.arguments.emplace_back("com.google.cloud.functions.invoker.runner.Invoker");
    program.folders = std::move(java.folders);
    program.environment = {"FUNCTION_TARGET=" + order.handler};
    return program;
  }
  if (order.runtime == "functions-framework-go") {  // of the package, or built of it (instances/built.h)
    program.arguments = {std::string(kTask) + "main"};
    program.environment = {"FUNCTION_TARGET=" + order.handler};
    return program;
  }
  std::vector<std::string> words;
  constexpr std::string_view kFramework = "functions-framework-";
  if (order.runtime.starts_with(kFramework)) {
    const std::string language = order.runtime.substr(kFramework.size());
    if (language == "nodejs") words = {"node", "node_modules/@google-cloud/functions-framework/build/src/main.js"};
    else words = {language == "python" ? "python3" : language, "-m", "functions_framework"};
    program.environment = {"FUNCTION_TARGET=" + order.handler};
    if (language.starts_with("python")) program.environment.emplace_back("PYTHONUNBUFFERED=1");
  } else {
    words = words_of(order.handler);
  }
  if (words.empty()) return fail(Code::invalid_argument, "runtime http without a command: write it as the handler");
  TRY(words[0], find_program(words[0], order, path, home, program.folders));
  program.arguments = std::move(words);
  return program;
}

HttpProgram container_program(const StartOrder& order) {
  HttpProgram program{.arguments = order.image.entrypoint};
  const std::vector<std::string> words = words_of(order.handler);
  const std::vector<std::string>& command = words.empty() ? order.image.command : words;
  program.arguments.insert(program.arguments.end(), command.begin(), command.end());
  for (const auto& [name, value] : order.image.environment) program.environment.push_back(name + "=" + value);
  return program;
}

}  // namespace mayfly::instances
