// Which program of this machine runs a function's code, and what of the machine it must see: a runtime's name, as Lambda
// has them, to a command and the folders that are bound into the sandbox.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace mayfly::instances {

struct Runtime {
  std::string program;                     // absolute, as inside the sandbox; what is behind it is the worker's
  std::vector<std::string> folders;        // bound read-only at the same place
};

[[nodiscard]] bool is_program(const std::filesystem::path& file);  // for this machine to run: no script
// The folders of `path` (as PATH), then /usr/bin and /usr/local/bin.
[[nodiscard]] std::vector<std::filesystem::path> places_of_path(std::string_view path);

// Programs in the folders of `path` (as PATH), in /usr/bin and where this kind is installed beside; scripts in their place,
// like pyenv's shims, are passed over.
// "python3.11": the interpreter of this name; below `home` pyenv's.
// "nodejs20.x", "java21": the one of this major version, else the oldest newer one; never an older one. A `node` whose
//   files don't tell its version comes last: worker/node_runtime.mjs asks it.
// "provided…": the function's own /var/task/bootstrap.
// not_found: says which is missing and which are there.
[[nodiscard]] Result<Runtime> find_runtime(std::string_view name, std::string_view path, std::string_view home);

[[nodiscard]] int node_major(const std::string& program);  // of a Node.js; 0 where its files don't tell

// Of a Java: program, flags and the package's class path; its main class follows.
[[nodiscard]] std::vector<std::string> java_arguments(const Runtime& runtime, Bytes memory);

// A JVM lets its command line overrule JAVA_TOOL_OPTIONS, and dies of two collectors. So heap, collector and compiler that the user
// names in one of its variables ("NAME=value") take the place of java_arguments' own.
void leave_to_users_options(const std::vector<std::string>& environment, std::vector<std::string>& arguments);

// How it is started for this handler: the program first (domain::CodeOrder::arguments). `memory`: of the whole sandbox; `layers`: it has
// some, which may bring Java classes.
[[nodiscard]] std::vector<std::string> arguments_of(const Runtime& runtime, std::string_view name, std::string_view handler, Bytes memory,
                                                    bool layers = false);

}  // namespace mayfly::instances
