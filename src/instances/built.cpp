#include "instances/built.h"

#include <algorithm>
#include <filesystem>

#include "domain/build.h"

namespace mayfly::instances {
namespace {

namespace fs = std::filesystem;

bool is_file(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error));
}

}  // namespace

void run_what_was_built(const std::string& runtime, const std::string& tree, const std::string& place,
                        std::vector<std::string>& arguments) {
  if (runtime.starts_with("java") || runtime == "functions-framework-java") {
    const auto flag = std::ranges::find(arguments, "-cp");
    if (flag == arguments.end() || flag + 1 == arguments.end()) return;
    // What calls the handler comes first: parts of it may be in the project in an older version.
    std::string& path = *(flag + 1);
    path = place + "/" + domain::kBuiltRuntime + "/*:" + path + ":" + place + "/" + domain::kBuiltLib + "/*";
    return;
  }
  for (const char* program : {"bootstrap", "main"})
    if (!arguments.empty() && arguments[0] == std::string("/var/task/") + program && is_file(tree + "/" + program))
      arguments[0] = place + "/" + program;
}

}  // namespace mayfly::instances
