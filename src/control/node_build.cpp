// Deploy of code whose package names dependencies and does not hold them: they are installed by their language's tool, in a sandbox
// (worker/build.h), into a folder that all versions with the same requirements share. Its key is a hash of what decides it: the tool,
// the interpreter, the requirements; and of the whole package where those refer to it. Deploys that want the same wait for one build.
#include <algorithm>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/build.h"
#include "instances/builds.h"
#include "store/artifacts.h"

namespace mayfly::control {

struct Node::WantedBuild {
  domain::BuildKind kind{};
  std::string key;
  bool alone = true;                     // the requirements name nothing of the package
};

namespace {

using domain::BuildKind;
using domain::FileRef;
using domain::Version;

constexpr std::string_view kForm = "1";  // of an installed folder: another makes all keys new
constexpr Bytes kRequirementsMax = 4_MiB;
constexpr Duration kEndMax = std::chrono::seconds(30);  // beyond a build's own time: it ends itself, and says more

std::optional<BuildKind> kind_of(const domain::Manifest& manifest) {
  const std::string& runtime = manifest.runtime;
  const std::string_view program = std::string_view(manifest.handler).substr(0, manifest.handler.find(' '));
  if (runtime.starts_with("python") || runtime.starts_with("functions-framework-python")) return BuildKind::pip;
  if (runtime.starts_with("nodejs") || runtime == "functions-framework-nodejs") return BuildKind::npm;
  if (runtime.starts_with("java") || runtime == "functions-framework-java") return BuildKind::maven;
  if (runtime.starts_with("provided") || runtime == "functions-framework-go") return BuildKind::go;
  if (runtime == "http" && program.starts_with("python3")) return BuildKind::pip;
  if (runtime == "http" && program == "node") return BuildKind::npm;
  return std::nullopt;
}

// A package as it was uploaded; a background line's own.
class Source {
 public:
  Source(const Version& version, store::Store& store) : version_(version), store_(store) {}
  bool archive() const { return version_.files[0].archive; }
  // Of its top, and what lies in its folders.
  std::vector<std::string> names(const std::string& folder) const {
    if (archive()) return store_.packages().names_in(version_.files[0].sha256, folder);
    const std::string start = folder == "." ? "" : folder + "/";
    std::vector<std::string> names;
    for (const FileRef& file : version_.files)
      if (file.path.starts_with(start)) names.push_back(file.path.substr(start.size(), file.path.find('/', start.size()) - start.size()));
    return names;
  }
  bool has(const std::string& name) const { return std::ranges::count(names("."), name) > 0; }
  Result<std::string> read(const std::string& path) const {
    if (archive()) return store_.packages().read(version_.files[0].sha256, path, kRequirementsMax);
    const auto file = std::ranges::find(version_.files, path, &FileRef::path);
    if (file == version_.files.end()) return fail(Code::not_found, "there is no file " + path);
    return store_.artifacts().read(file->sha256, kRequirementsMax);
  }

 private:
  const Version& version_;
  store::Store& store_;
};

struct Requirements {
  std::string text;                      // what decides which packages
  bool alone = true;
};

struct PipLines {
  bool any = false, alone = true;
};

// Of a requirements file, as pip documents the format: whether it has a requirement, and whether all are of an index.
PipLines read_pip(std::string_view text) {
  constexpr std::string_view kOfIndexes[] = {"-i", "--index-url", "--extra-index-url", "--no-index", "--trusted-host", "--pre",
                                             "--no-binary", "--only-binary", "--prefer-binary", "--require-hashes", "--hash",
                                             "--use-feature"};
  constexpr std::string_view kFiles[] = {".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz"};
  PipLines seen;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    if (line.starts_with('#')) continue;
    line = line.substr(0, line.find(" #"));
    const std::string_view word = line.substr(0, line.find_first_of(" \t\r=;"));
    if (word.empty() && line.empty()) continue;
    if (line.starts_with('-')) {
      const bool of_index = std::ranges::find(kOfIndexes, word) != std::end(kOfIndexes);
      seen.alone = seen.alone && of_index;
      seen.any = seen.any || !of_index;
      continue;
    }
    seen.any = true;
    const bool fetched = line.find("://") != line.npos && line.find("file:") == line.npos;
    const bool file = std::ranges::any_of(kFiles, [&](std::string_view ending) { return word.ends_with(ending); });
    if (!fetched && (file || line.starts_with('.') || line.find('/') != line.npos)) seen.alone = false;
  }
  return seen;
}

// A pyproject.toml is there for much else, too. What it lists is read in the sandbox; here it is enough that it may list something.
Result<std::optional<Requirements>> project_of(const Source& source) {
  const auto text = source.read("pyproject.toml");
  if (!text && text.error().code == Code::not_found) return std::nullopt;
  if (!text) return fail(text.error());
  const auto says = [&](std::string_view word) { return text->find(word) != text->npos; };
  if (!(says("[project]") && says("dependencies")) && !says("[tool.poetry.dependencies]")) return std::nullopt;
  return Requirements{"pyproject.toml\n" + *text, true};
}

Result<std::optional<Requirements>> pip_of(const Source& source) {
  const auto installed = [](const std::string& name) { return name.ends_with(".dist-info") || name.ends_with(".egg-info"); };
  if (std::ranges::any_of(source.names("."), installed)) return std::nullopt;  // pip install -t has been here
  const auto text = source.read("requirements.txt");
  if (!text && text.error().code == Code::not_found) return project_of(source);
  if (!text) return fail(text.error());
  const PipLines lines = read_pip(*text);
  if (!lines.any) return std::nullopt;
  return Requirements{*text, lines.alone};
}

Result<std::optional<Requirements>> npm_of(const Source& source) {
  const auto text = source.read("package.json");
  if (!text && text.error().code == Code::not_found) return std::nullopt;
  if (!text) return fail(text.error());
  const auto says = [&](std::string_view word) { return text->find(word) != text->npos; };
  if (source.has("node_modules") || !(says("\"dependencies\"") || says("\"optionalDependencies\""))) return std::nullopt;
  Requirements wanted{*text + "\n", !says("\"file:") && !says("\"link:") && !says("\"workspaces\"") && !says("\"./") && !says("\"../")};
  for (const char* lock : {"package-lock.json", "npm-shrinkwrap.json", ".npmrc"}) {
    const auto more = source.read(lock);
    if (!more && more.error().code != Code::not_found) return fail(more.error());
    if (more) wanted.text += std::string(lock) + "\n" + *more;
  }
  return wanted;
}

// The sources are built, so all of them decide.
Result<std::optional<Requirements>> program_of(const Source& source, const char* file, bool built) {
  if (built) return std::nullopt;
  const auto text = source.read(file);
  if (!text && text.error().code == Code::not_found) return std::nullopt;
  if (!text) return fail(text.error());
  return Requirements{*text, false};
}

Result<std::optional<Requirements>> requirements_of(BuildKind kind, const domain::Manifest& manifest, const Source& source) {
  switch (kind) {
    case BuildKind::pip: return pip_of(source);
    case BuildKind::npm: return npm_of(source);
    case BuildKind::maven: {
      const auto is_jar = [](const std::string& name) { return name.ends_with(".jar"); };
      return program_of(source, "pom.xml", std::ranges::any_of(source.names("lib"), is_jar));
    }
    case BuildKind::go: return program_of(source, "go.mod", source.has(manifest.serves_http() ? "main" : "bootstrap"));
  }
  return std::nullopt;
}

instances::StartOrder order_of(const Version& version, store::Store& store) {
  instances::StartOrder order{.role = domain::Role::build, .model_name = version.manifest.name, .cpu = 2,
                              .runtime = version.manifest.runtime, .handler = version.manifest.handler};
  for (const FileRef& file : version.files)
    order.files.push_back({file.archive ? "" : file.path,
                           file.archive ? store.packages().path_of(file.sha256) : store.artifacts().path_of(file.sha256), file.size});
  return order;
}

Result<domain::Dependencies> read_installed(store::Packages& kept, BuildKind kind, const std::string& key) {
  TRY(const std::string text, kept.read(key, domain::kBuiltList, {domain::kDependenciesTextMax}));
  TRY(auto installed, domain::parse_dependencies(text));
  return domain::Dependencies{.kind = std::string(domain::name(kind)), .key = key,
                              .installed = std::make_shared<const std::vector<domain::Dependency>>(std::move(installed))};
}

}  // namespace

void Node::build(const Version& version, Done<Built> done) {
  if (version.manifest.build == domain::Build::never || !kind_of(version.manifest)) return done(Built{});
  auto look = [this, version]() -> Result<std::optional<WantedBuild>> {
    const BuildKind kind = *kind_of(version.manifest);
    TRY(const auto wanted, requirements_of(kind, version.manifest, Source(version, store_)));
    if (!wanted) return std::nullopt;
    instances::StartOrder order = order_of(version, store_);
    order.build = kind;
    TRY(const std::string builder, instances::builder_of(order));
    store::Hash hash;
    for (const std::string& part : {std::string(kForm), std::string(domain::name(kind)), builder,
                                    wanted->alone ? std::string() : source_of(version), wanted->text}) {
      const std::string whole = std::to_string(part.size()) + ":" + part;
      hash.update(std::as_bytes(std::span(whole)));
    }
    return WantedBuild{.kind = kind, .key = hash.finish(), .alone = wanted->alone};
  };
  behind(bulk_work_, kDiskBusy, std::move(look), [this, version, done = std::move(done)](Result<std::optional<WantedBuild>> wanted) {
    if (!wanted) return done(fail(wanted.error()));
    if (!*wanted) return done(Built{});
    install(version, **wanted, done);
  });
}

void Node::install(const Version& version, const WantedBuild& wanted, Done<Built> done) {
  store::Packages& kept = store_.dependencies();
  // Node.js looks for them in the package's own folder.
  if (wanted.kind == BuildKind::npm && version.files[0].archive)
    if (const auto place = store_.packages().add_place(version.files[0].sha256, "node_modules"); !place) return done(fail(place.error()));
  const auto installed = [&kept, kind = wanted.kind, key = wanted.key]() -> Result<Built> {
    TRY(domain::Dependencies read, read_installed(kept, kind, key));
    return Built(std::move(read));
  };
  Building& building = building_[wanted.key];
  building.waiting.push_back(std::move(done));
  if (building.waiting.size() > 1) return;
  building.view = {.function = version.manifest.name, .kind = std::string(domain::name(wanted.kind)), .key = wanted.key,
                   .since = turn_.wall, .line = ""};
  const auto tell = [this, key = wanted.key](const Result<Built>& result) {
    const auto ended = building_.extract(key);
    for (const Done<Built>& each : ended.mapped().waiting) each(result);
  };
  if (kept.has_for_now(wanted.key)) return behind(bulk_work_, kDiskBusy, installed, tell);
  const auto folder = kept.new_folder();
  if (!folder) return tell(fail(folder.error()));
  instances::StartOrder order = order_of(version, store_);
  order.build = wanted.kind;
  order.alone = wanted.alone;
  order.output = *folder;
  order.memory_max = options_.build.memory;
  order.timeout = options_.build.time_max;
  order.time_max = options_.build.time_max + kEndMax;
  auto ended = [this, key = wanted.key, folder = *folder, installed, tell](const Result<instances::ReadyReport>& report) {
    auto work = [this, key, folder, installed, failed = report ? std::optional<Error>() : report.error()]() -> Result<Built> {
      const Result<void> adopted = failed ? fail(*failed) : store_.dependencies().adopt(folder, key);
      if (adopted) return installed();
      store_.dependencies().drop(folder);
      return fail(adopted.error());
    };
    behind(bulk_work_, kDiskBusy, std::move(work), tell);
  };
  fleet_.run_job(std::move(order), std::move(ended), [this, key = wanted.key](std::string_view line) {
    if (const auto at = building_.find(key); at != building_.end()) at->second.view.line = line;
  });
}

void Node::restore(const Version& version) {
  if (!version.dependencies) return;
  const domain::Dependencies& had = *version.dependencies;
  if (had.kind == "npm" && version.files[0].archive)
    static_cast<void>(store_.packages().add_place(version.files[0].sha256, "node_modules").has_value());  // a start says what is missing
  if (store_.dependencies().has(had.key) || building_.contains(had.key)) return;
  build(version, [this, id = version.id](const Result<Built>& built) {
    const Version* v = find(id);
    if (!v) return;
    if (!built) return books_.log(v->function, v->number, 0, "error", built.error().message);
    const bool same = *built && (*built)->key == v->dependencies->key;
    books_.log(v->function, v->number, 0, same ? "info" : "error",
               same ? "its dependencies were gone from the disk and were installed again"
                    : "its dependencies are gone from the disk, and this machine would install others: deploy it again");
  });
}

std::vector<BuildView> Node::builds() {
  std::vector<BuildView> views;
  for (const auto& [key, building] : building_) views.push_back(building.view);
  std::ranges::sort(views, {}, [](const BuildView& view) { return view.since.since_epoch; });
  return views;
}

// … with where its layers and its dependencies are.
instances::VersionPlan Node::plan(const std::string& function, const Version& version) {
  instances::VersionPlan plan = plan_of(function, version, options_.compile_key, locate());
  const auto cache = start_caches_.find(version.id);
  if (cache != start_caches_.end() && cache->second.view.state == StartCacheView::State::ready)
    plan.instance.start_cache = store_.start_caches().path_of(cache->second.key);
  plan.instance.layers = folder_of_layers(version);
  if (plan.template_) plan.template_->layers = plan.instance.layers;
  if (!version.dependencies) return plan;
  plan.instance.dependencies = store_.dependencies().path_of(version.dependencies->key) + "/" + domain::kBuiltTree;
  if (plan.template_) plan.template_->dependencies = plan.instance.dependencies;
  return plan;
}

}  // namespace mayfly::control
