#include "worker/build.h"

#include <sys/stat.h>

#include <filesystem>

#include "domain/json.h"
#include "domain/link.h"
#include "os/disk.h"
#include "worker/detail/build_tool.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using domain::BuildKind;
using domain::BuildOrder;
using domain::Dependency;
using Json = nlohmann::json;

// Whoever runs the code is somebody else: some tools leave files for their owner alone.
Result<void> let_all_read(const std::string& folder) {
  return with_files("what was installed can't be opened to its readers", [&](std::error_code& error) {
    for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (at->is_symlink(error)) continue;
      const bool runs = at->is_directory(error) || (at->status(error).permissions() & fs::perms::owner_exec) != fs::perms::none;
      fs::permissions(at->path(), runs ? fs::perms(0755) : fs::perms(0644), error);
    }
  });
}

Result<std::vector<Dependency>> build_kind(const BuildOrder& order, BuildTool& tool) {
  switch (order.kind) {
    case BuildKind::pip: return build_pip(order, tool);
    case BuildKind::npm: return build_npm(order, tool);
    case BuildKind::maven: return build_maven(order, tool);
    case BuildKind::go: return build_go(order, tool);
  }
  return fail(Code::internal, "a build of an unknown kind");
}

Result<void> make_folders(const BuildOrder& order) {
  for (const char* name : {"home", "tmp", domain::kBuiltTree})
    if (::mkdir(at_build(name).c_str(), 0755) != 0) return fail(os::os_error("mkdir", at_build(name)));
  for (const auto& [path, text] : order.home) {
    const std::string file = at_build("home/" + path);
    TRY_VOID(make_folder(fs::path(file).parent_path().string()));
    TRY_VOID(write_text(file, text));
  }
  return {};
}

// What only the build needed. What can't be removed is no error: it takes room, and goes with the folder.
void clean() {
  std::error_code error;
  for (fs::directory_iterator at(domain::kBuildPlace, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code ignored;
    if (name != domain::kBuiltTree && name != domain::kBuiltList) fs::remove_all(at->path(), ignored);
  }
}

}  // namespace

Result<void> run_build(const BuildOrder& order) {
  ::umask(0022);
  TRY_VOID(make_folders(order));
  BuildTool tool(order, std::string(domain::name(order.kind)));
  try {
    TRY(const std::vector<Dependency> installed, build_kind(order, tool));
    TRY_VOID(let_all_read(at_build(domain::kBuiltTree)));
    TRY_VOID(write_text(at_build(domain::kBuiltList), domain::to_json(installed)));
    clean();
    return {};
  } catch (const Json::exception& error) {
    return tool.refuse({Code::internal, std::string("what was installed can't be read: ") + error.what()});
  }
}

}  // namespace mayfly::worker
