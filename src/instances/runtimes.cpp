#include "instances/runtimes.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPythons[] = {"python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"};
// What programs of a Linux machine expect, beside an interpreter's own folder.
constexpr std::string_view kSystem[] = {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ssl", "/etc/ld.so.cache", "/etc/alternatives",
                                        "/etc/localtime", "/etc/mime.types", "/etc/java-17-openjdk"};

std::vector<fs::path> places_of(std::string_view name, std::string_view path, std::string_view home) {
  std::vector<fs::path> places;
  while (!path.empty()) {
    const std::size_t end = path.find(':');
    if (end != 0) places.emplace_back(path.substr(0, end));
    path.remove_prefix(end == path.npos ? path.size() : end + 1);
  }
  places.emplace_back("/usr/bin");
  places.emplace_back("/usr/local/bin");
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

}  // namespace

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
  const auto program = find_program(name, path, home);
  if (!program) {
    std::string there;
    for (const std::string_view other : kPythons)
      if (find_program(other, path, home)) there += (there.empty() ? "" : ", ") + std::string(other);
    return fail(Code::not_found, "this machine has no " + std::string(name) + ": install it, or choose one that is there (" +
                                     (there.empty() ? "none" : there) + ")");
  }
  runtime.program = program->string();
  // bin/python3.11 and lib/python3.11 lie beside one another.
  const std::string prefix = program->parent_path().parent_path().string();
  if (prefix != "/usr" && prefix != "/") runtime.folders.push_back(prefix);
  return runtime;
}

}  // namespace mayfly::instances
