// A program in Go, built of a package that has its sources: `bootstrap` of package main for Lambda's provided runtimes, `main` for
// Google's Functions Framework, whose package main is made where the function's own is another, as Google's build makes it.
//
// The go command runs nothing of what it fetches: no cgo, no generators, no other toolchain; and checks it against go.sum.
#include <algorithm>
#include <sstream>

#include "domain/link.h"
#include "worker/detail/build_tool.h"

namespace mayfly::worker {
namespace {

using domain::BuildOrder;
using domain::Dependency;

constexpr const char* kMainFolder = "serverless_function_app";  // Google's own name for it

std::string main_for(const std::string& package) {
  return "// The program of the function in " + package + ".\npackage main\n\nimport (\n  \"log\"\n  \"os\"\n\n  _ \"" + package + "\"\n" +
         R"go(
  "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
  port := os.Getenv("PORT")
  if port == "" {
    port = "8080"
  }
  if err := funcframework.Start(port); err != nil {
    log.Fatalf("funcframework.Start: %v", err)
  }
}
)go";
}

struct Package {
  std::string name, path;
};

Result<Package> package_at(BuildTool& tool, const std::string& source) {
  constexpr std::string_view kMark = "mayfly-package ";
  TRY(const auto said, tool.ask({"list", "-f", std::string(kMark) + "{{.Name}} {{.ImportPath}}", "."}, source));
  Package found;
  for (const std::string& line : said)
    if (line.starts_with(kMark)) std::istringstream(line.substr(kMark.size())) >> found.name >> found.path;
  return found;
}

// Of `go version -m FILE`: "FILE: go1.22.1", then for each module "\tdep\tPATH\tVERSION\tHASH"; "\t=>\t…": what stands for the last.
std::vector<Dependency> modules_in(const std::vector<std::string>& lines) {
  std::vector<Dependency> modules;
  for (const std::string& line : lines) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (!line.starts_with('\t')) {
      std::string version;
      if (words >> version; version.starts_with("go")) modules.push_back({"stdlib", version.substr(2), ""});
      continue;
    }
    if (kind != "dep" && kind != "=>") continue;
    Dependency module;
    words >> module.name >> module.version >> module.hash;
    if (kind == "=>" && !modules.empty()) modules.back() = std::move(module);
    else modules.push_back(std::move(module));
  }
  return modules;
}

}  // namespace

Result<std::vector<Dependency>> build_go(const BuildOrder& order, BuildTool& tool) {
  const std::string source = at_build("source");
  TRY_VOID(copy_tree(domain::kPackagePlace, source));
  const bool framework = order.runtime == "functions-framework-go", vendored = is_there(source + "/vendor/modules.txt");
  const auto set_flags = [&](const std::string& mod) { tool.set("GOFLAGS=-mod=" + mod + " -modcacherw -trimpath -buildvcs=false"); };
  for (const char* entry : {"CGO_ENABLED=0", "GOTOOLCHAIN=local", "GO111MODULE=on", "GOWORK=off"}) tool.set(entry);
  tool.set("GOPATH=" + at_build("go"));
  tool.set("GOMODCACHE=" + at_build("go/pkg/mod"));
  tool.set("GOCACHE=" + at_build("go/cache"));
  set_flags(vendored ? "vendor" : "readonly");
  TRY(const Package package, package_at(tool, source));
  std::string main = ".";
  if (package.name != "main") {
    if (!framework)
      return tool.refuse({Code::invalid_argument, "the package at its top is '" + package.name + "', and a program is a package main: put "
                                                  "go.mod and func main into the folder that is deployed"});
    if (is_there(source + "/" + kMainFolder))
      return tool.refuse({Code::invalid_argument, std::string("the folder ") + kMainFolder + " is what the function's program is made in: "
                                                  "rename it"});
    TRY_VOID(make_folder(source + "/" + kMainFolder));
    TRY_VOID(write_text(source + "/" + kMainFolder + "/main.go", main_for(package.path)));
    main = std::string("./") + kMainFolder;
    if (!vendored) set_flags("mod");  // the function's go.sum need not have all that the framework's server imports
  }
  const std::string program = at_build(domain::kBuiltTree) + (framework ? "/main" : "/bootstrap");
  TRY_VOID(tool.run({"build", "-o", program, "-tags", "lambda.norpc", "-ldflags", "-s -w", main}, source));
  TRY(const auto said, tool.ask({"version", "-m", program}, source));
  return modules_in(said);
}

}  // namespace mayfly::worker
