#include "worker/extension_programs.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

namespace mayfly::worker {
namespace {

bool begins_as_program(const std::string& path) {
  std::array<char, 4> first{};
  std::ifstream file(path, std::ios::binary);
  file.read(first.data(), first.size());
  const std::string_view text(first.data(), static_cast<std::size_t>(file.gcount()));
  return text.starts_with("#!") || text == "\x7f" "ELF";
}

}  // namespace

std::vector<std::string> find_extensions(const std::string& layers, const std::string& package) {
  std::map<std::string, std::string> found;
  for (const std::string* folder : {&layers, &package}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(*folder, error)) {
      const std::string path = entry.path().string();
      std::error_code unknown;
      if (!entry.is_regular_file(unknown) || ::access(path.c_str(), X_OK) != 0) continue;
      if (folder == &package && !begins_as_program(path)) continue;
      found.emplace(entry.path().filename().string(), path);  // a layer's counts before the package's
    }
  }
  std::vector<std::string> paths;
  for (auto& [name, path] : found) paths.push_back(std::move(path));
  return paths;
}

Result<void> ExtensionPrograms::start(const std::string& path, const std::vector<std::string>& environment, const os::Fd& output) {
  Program program{.name = std::filesystem::path(path).filename().string()};
  TRY(program.child, os::spawn_in_group({.program = path, .environment = environment}, "/", output));
  program.port = std::make_unique<os::Port>([this, name = program.name] { gone(name); });
  const int pidfd = program.child.pidfd.get();
  os::Port& port = *program.port;
  programs_.push_back(std::move(program));
  return loop_.watch(pidfd, os::kReadable, port);
}

void ExtensionPrograms::gone(const std::string& name) {
  const auto at = std::ranges::find(programs_, name, &Program::name);
  if (at == programs_.end()) return;
  Program program = std::move(*at);
  programs_.erase(at);
  loop_.unwatch(program.child.pidfd.get());
  const int status = os::end_group(program.child);
  dead_ports_.push_back(std::move(program.port));
  ended_(std::string(program.name), status);
}

void ExtensionPrograms::end(std::string_view name) {
  const auto at = std::ranges::find(programs_, name, &Program::name);
  if (at == programs_.end()) return;
  loop_.unwatch(at->child.pidfd.get());
  os::end_group(at->child);
  dead_ports_.push_back(std::move(at->port));
  programs_.erase(at);
}

void ExtensionPrograms::end_all() {
  while (!programs_.empty()) end(std::string(programs_.back().name));
}

std::vector<std::string> ExtensionPrograms::names() const {
  std::vector<std::string> names;
  for (const Program& program : programs_) names.push_back(program.name);
  return names;
}

Duration ExtensionPrograms::cpu() const {
  Duration sum{};
  for (const Program& program : programs_) sum += os::process_cpu(program.child.pid);
  return sum;
}

}  // namespace mayfly::worker
