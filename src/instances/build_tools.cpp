#include "instances/build_tools.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "instances/builds.h"
#include "instances/http_runtimes.h"
#include "instances/runtimes.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;
using domain::BuildKind;

std::string path_value() { return environment_value("PATH"); }

Result<BuildTool> find_python(const StartOrder& order) {
  if (order.runtime.starts_with("python")) {
    TRY(Runtime runtime, find_runtime(order.runtime, path_value(), environment_value("HOME")));
    return BuildTool{.program = runtime.program, .folders = std::move(runtime.folders)};
  }
  TRY(HttpProgram program, find_http_program(order, path_value(), environment_value("HOME")));
  return BuildTool{.program = program.arguments.at(0), .folders = std::move(program.folders)};
}

// npm is a script of some Node.js; it runs by the one that the function will run by.
Result<BuildTool> find_npm(const StartOrder& order) {
  BuildTool tool;
  if (order.runtime.starts_with("nodejs")) {
    TRY(Runtime runtime, find_runtime(order.runtime, path_value(), environment_value("HOME")));
    tool = {.program = runtime.program, .folders = std::move(runtime.folders)};
  } else {
    TRY(HttpProgram program, find_http_program(order, path_value(), environment_value("HOME")));
    tool = {.program = program.arguments.at(0), .folders = std::move(program.folders)};
  }
  const fs::path prefix = fs::path(tool.program).parent_path().parent_path();
  for (const fs::path& place : {prefix / "lib/node_modules/npm", fs::path("/usr/lib/node_modules/npm"), fs::path("/usr/share/nodejs/npm"),
                                fs::path("/usr/local/lib/node_modules/npm")}) {
    std::error_code error;
    if (!fs::exists(place / "bin/npm-cli.js", error)) continue;
    tool.script = (place / "bin/npm-cli.js").string();
    if (place.string().starts_with("/usr/")) return tool;
    tool.folders.push_back(prefix.string());
    return tool;
  }
  return fail(Code::not_found, "the package's dependencies are not installed and this machine has no npm to do it: install npm, or put "
                               "node_modules into the package, or write build: never");
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// A script that begins below its own folder: …/bin/mvn, with boot/ and lib/ beside bin/.
Result<fs::path> find_maven() {
  std::vector<fs::path> places = places_of_path(path_value());
  for (const char* place : {"/usr/share/maven/bin", "/opt/maven/bin", "/usr/local/maven/bin"}) places.emplace_back(place);
  for (const fs::path& place : places) {
    std::error_code error;
    const fs::path real = fs::canonical(place / "mvn", error);
    if (!error && is_there(real.parent_path().parent_path() / "boot")) return real;
  }
  return fail(Code::not_found, "the package has a pom.xml and no lib/ with jars, and this machine has no Maven (mvn) to build it: install "
                               "Maven where the node's PATH finds it, or put the jars into lib/, or write build: never");
}

Result<BuildTool> find_java_tool(const StartOrder& order) {
  TRY(Runtime java, find_runtime(order.runtime.starts_with("java") ? order.runtime : "java17", path_value(), environment_value("HOME")));
  const fs::path home = fs::path(java.program).parent_path().parent_path();
  if (!is_there(home / "bin/javac"))
    return fail(Code::not_found, "the package has a pom.xml, and the Java that would run it has no compiler: " +
                                     (home / "bin/javac").string() + " is missing; install the JDK, not the JRE alone, or put the jars "
                                     "into lib/, or write build: never");
  TRY(const fs::path maven, find_maven());
  BuildTool tool{.program = maven.string(), .script = home.string(), .folders = std::move(java.folders)};
  const fs::path prefix = maven.parent_path().parent_path();
  if (!prefix.string().starts_with("/usr/")) tool.folders.push_back(prefix.string());
  if (is_there("/etc/maven")) tool.folders.emplace_back("/etc/maven");   // where Debian has its conf/
  return tool;
}

Result<BuildTool> find_go() {
  std::vector<fs::path> places = places_of_path(path_value());
  places.emplace_back("/usr/local/go/bin");
  for (const fs::path& place : places) {
    std::error_code error;
    const fs::path real = fs::canonical(place / "go", error);
    if (error || !is_program(real)) continue;
    TRY(Runtime system, find_runtime("provided", "", ""));
    BuildTool tool{.program = real.string(), .folders = std::move(system.folders)};
    const fs::path root = real.parent_path().parent_path();
    if (!real.string().starts_with("/usr/")) tool.folders.push_back(root.string());
    std::ifstream version(root / "VERSION");
    std::getline(version, tool.version);   // its standard library is part of what it makes
    return tool;
  }
  return fail(Code::not_found, "the package has a go.mod and no program, and this machine has no Go (go) to build it: install Go where the "
                               "node's PATH finds it, or build the program into the folder, or write build: never");
}

}  // namespace

Result<BuildTool> find_build_tool(const StartOrder& order) {
  switch (order.build) {
    case BuildKind::pip: return find_python(order);
    case BuildKind::npm: return find_npm(order);
    case BuildKind::maven: return find_java_tool(order);
    case BuildKind::go: return find_go();
  }
  return fail(Code::internal, "a build of an unknown kind");
}

}  // namespace mayfly::instances
