// What a build is told and what it answers, as JSON: the node to the process that installs a package's dependencies in a sandbox
// (worker/build.h), and back. Both ends are the same binary, but the answer may be written by what was installed: parse checks it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "domain/function.h"

namespace mayfly::domain {

enum class BuildKind : std::uint8_t {
  pip,    // requirements.txt, pyproject.toml
  npm,    // package.json, package-lock.json
  maven,  // pom.xml: the project, and what it runs with
  go,     // go.mod: the program
};
[[nodiscard]] std::string_view name(BuildKind kind);

struct BuildOrder {
  BuildKind kind{};
  std::string program;                   // absolute, as in the sandbox: the interpreter that the code will run by
  std::string script;                    // npm: what `program` runs; maven: the JDK's folder
  std::string runtime;                   // the function's
  std::vector<std::string> environment;  // "NAME=value": how registries are reached; nothing else of the node's
  std::vector<std::pair<std::string, std::string>> home;  // files of its home folder, likewise: ".npmrc" and its text
  bool alone = true;                     // the requirements name nothing of the package, so it is not copied
  std::int64_t time_ms = 0;
  std::int64_t memory_mb = 0;
  std::string memory;                    // its limit, for people
};

constexpr std::size_t kBuildOrderMax = 48 * 1024;              // bytes of its JSON: it travels in one packet
constexpr std::size_t kDependenciesMax = 50'000;
constexpr std::size_t kDependenciesTextMax = 16 * 1024 * 1024;
constexpr const char* kBuiltLib = "lib";                       // of Java, in the tree: jars of the project and its dependencies
constexpr const char* kBuiltRuntime = "runtime";               // … and of what calls the handler, where the project has none
constexpr const char* kBuiltTree = "tree";                     // in the folder of a build: what instances will see
constexpr const char* kBuiltList = "dependencies.json";        // … and what that is

[[nodiscard]] std::string to_json(const BuildOrder& order);
[[nodiscard]] Result<BuildOrder> parse_build_order(std::string_view json);

[[nodiscard]] std::string to_json(const std::vector<Dependency>& installed);
// At most kDependenciesMax, their texts cut; by name.
[[nodiscard]] Result<std::vector<Dependency>> parse_dependencies(std::string_view json);

}  // namespace mayfly::domain
