// A project of Java: Maven builds it as its pom.xml says, and its jar and those of its runtime scope are what the function runs by.
// What calls the handler is the cloud's own: where the project does not bring it, as on the cloud, it is fetched by a project of ours.
//
// A pom.xml names plugins, and Maven runs them: this is the one build that runs strangers' code by its nature (docs/decisions/0020).
#include <algorithm>

#include "domain/link.h"
#include "worker/detail/build_tool.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using domain::BuildOrder;
using domain::Dependency;

struct Caller {
  std::string_view group, artifact, version;
};
constexpr Caller kLambda{"com.amazonaws", "aws-lambda-java-runtime-interface-client", "2.9.0"};
constexpr Caller kGoogle{"com.google.cloud.functions.invoker", "java-function-invoker", "2.0.0"};

std::string project_for(const Caller& caller) {
  std::string text = R"(<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mayfly</groupId><artifactId>runtime</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency><groupId>)";
  return text + std::string(caller.group) + "</groupId><artifactId>" + std::string(caller.artifact) + "</artifactId><version>" +
         std::string(caller.version) + "</version></dependency></dependencies>\n</project>\n";
}

std::vector<std::string> maven(std::initializer_list<std::string> goals) {
  std::vector<std::string> all{"-B", "-Dstyle.color=never", "-Dmaven.repo.local=" + at_build("repository"), "-Dmaven.test.skip=true"};
  all.insert(all.end(), goals);
  return all;
}

// The jars of a folder that is laid out as a repository, GROUP/ARTIFACT/VERSION/FILE, into one folder. What they are is in their paths.
Result<void> take_jars(const std::string& from, const std::string& to, std::vector<Dependency>& installed) {
  TRY_VOID(make_folder(to));
  std::error_code error;
  std::vector<fs::path> jars;
  for (fs::recursive_directory_iterator at(from, error), end; !error && at != end; at.increment(error))
    if (at->symlink_status(error).type() == fs::file_type::regular && at->path().extension() == ".jar") jars.push_back(at->path());
  std::ranges::sort(jars);
  for (const fs::path& jar : jars) {
    const fs::path version = jar.parent_path(), artifact = version.parent_path();
    std::string group = artifact.parent_path().lexically_relative(from).string();
    std::ranges::replace(group, '/', '.');
    std::string place = to + "/" + jar.filename().string();
    if (is_there(place)) place = to + "/" + group + "." + jar.filename().string();
    TRY_VOID(with_files(place, [&](std::error_code& failed) { fs::rename(jar, place, failed); }));
    TRY(std::string hash, hash_of(place));
    installed.push_back({group + ":" + artifact.filename().string(), version.filename().string(), std::move(hash)});
  }
  return {};
}

bool is_of_project(const std::string& name) {
  constexpr std::string_view kOthers[] = {"-sources.jar", "-javadoc.jar", "-tests.jar", "-test-sources.jar"};
  return name.ends_with(".jar") && !name.starts_with("original-") &&  // what a shaded jar was made of
         std::ranges::none_of(kOthers, [&](std::string_view ending) { return name.ends_with(ending); });
}

// The project's own; an answer of false: it made none.
Result<bool> take_own(const std::string& from, const std::string& to) {
  std::error_code error;
  std::vector<fs::path> own;
  for (fs::directory_iterator at(from, error), end; !error && at != end; at.increment(error))
    if (at->symlink_status(error).type() == fs::file_type::regular && is_of_project(at->path().filename().string()))
      own.push_back(at->path());
  for (const fs::path& jar : own)
    TRY_VOID(with_files(to, [&](std::error_code& failed) { fs::rename(jar, fs::path(to) / jar.filename(), failed); }));
  return !own.empty();
}

bool has_caller(const std::vector<Dependency>& installed, const Caller& caller) {
  const std::string name = std::string(caller.group) + ":" + std::string(caller.artifact);
  return std::ranges::find(installed, name, &Dependency::name) != installed.end();
}

}  // namespace

Result<std::vector<Dependency>> build_maven(const BuildOrder& order, BuildTool& tool) {
  const std::string source = at_build("source"), tree = at_build(domain::kBuiltTree);
  TRY_VOID(copy_tree(domain::kPackagePlace, source));
  // What the package's own machine left there would be taken for what this one makes.
  TRY_VOID(with_files("target", [&](std::error_code& error) { fs::remove_all(source + "/target", error); }));
  tool.set("JAVA_HOME=" + order.script);
  tool.set("MAVEN_OPTS=-Duser.home=" + at_build("home") + " -Djava.io.tmpdir=" + at_build("tmp") + " -Xmx" +
           std::to_string(std::max<std::int64_t>(order.memory_mb * 6 / 10, 64)) + "m -XX:+UseSerialGC -XX:TieredStopAtLevel=1");
  TRY_VOID(tool.run(maven({"package", "dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true",
                           "-DoutputDirectory=" + at_build("jars")}), source));
  std::vector<Dependency> installed;
  const std::string lib = tree + "/" + domain::kBuiltLib;
  TRY_VOID(take_jars(at_build("jars"), lib, installed));
  TRY(const bool made, take_own(source + "/target", lib));
  if (!made)
    return tool.refuse({Code::invalid_argument, "the project's build made no jar in target/: its packaging is to be jar, and of a project "
                                                "of several modules the module's own folder is to be deployed"});
  const Caller& caller = order.runtime.starts_with("java") ? kLambda : kGoogle;
  if (has_caller(installed, caller)) return installed;
  TRY_VOID(make_folder(at_build("runtime")));
  TRY_VOID(write_text(at_build("runtime/pom.xml"), project_for(caller)));
  TRY_VOID(tool.run(maven({"dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true",
                           "-DoutputDirectory=" + at_build("runtime/jars")}), at_build("runtime")));
  TRY_VOID(take_jars(at_build("runtime/jars"), tree + "/" + domain::kBuiltRuntime, installed));
  return installed;
}

}  // namespace mayfly::worker
