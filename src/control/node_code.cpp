// Deploy of code: an archive is unpacked once, in a sandbox; the handler's file must be there; then it is committed like a model.
#include <algorithm>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/build.h"
#include "domain/unpacked.h"

namespace mayfly::control {
namespace {

using domain::FileRef;
using domain::Version;

// Whether a version has the file, in its list or in what was unpacked of it. Links are not followed: the folder is a stranger's.
using HasFile = std::function<bool(const std::string& path)>;

// Where a layer has what the runtime looks for: what Lambda's runtimes are told to search (instances/detail/layer_paths.h).
bool in_layers(const Version& version, store::Store& store, const std::string& path) {
  std::vector<std::string> paths;
  const std::string& runtime = version.manifest.runtime;
  if (path.starts_with("/opt/")) paths = {path.substr(5)};
  else if (runtime.starts_with("python")) paths = {"python/" + path, "python/lib/" + runtime + "/site-packages/" + path};
  else if (runtime.starts_with("provided")) paths = {path};
  return std::ranges::any_of(version.layers, [&](const domain::LayerRef& layer) {
    return std::ranges::any_of(paths, [&](const std::string& each) { return store.packages().holds(layer.sha256, each); });
  });
}

// … or in its layers, or in what was installed for it.
HasFile files_of(const Version& version, store::Store& store) {
  return [&version, &store](const std::string& path) {
    const FileRef& first = version.files[0];
    const bool own = first.archive ? store.packages().holds(first.sha256, path)
                                   : std::ranges::count(version.files, path, &FileRef::path) > 0;
    if (own || in_layers(version, store, path)) return true;
    return version.dependencies && store.dependencies().holds(version.dependencies->key, "tree/" + path);
  };
}

std::unexpected<Error> missing(const domain::Manifest& manifest, const std::string& file) {
  return fail(Code::invalid_argument, "the handler " + manifest.handler + " wants '" + file +
                                          "', which is not in the package: add it, or name another handler");
}

std::vector<std::string> hashes_of(const std::vector<FileRef>& files) {
  std::vector<std::string> hashes;
  for (const FileRef& file : files) hashes.push_back(file.sha256);
  return hashes;
}

// The file's name ends at its first dot: what follows may be a path of names.
Result<void> check_node(const domain::Manifest& manifest, const HasFile& has) {
  const std::size_t base = manifest.handler.find_last_of('/') + 1;
  const std::string module = manifest.handler.substr(0, manifest.handler.find('.', base));
  for (const char* ending : {".js", ".mjs", ".cjs", "", "/index.js"})
    if (has(module + ending)) return {};
  return missing(manifest, module + ".js");
}

// What runs Java's handlers is their cloud's own, a jar of the package; the handler's class may be in any jar.
Result<void> check_java(const Version& version, store::Store& store, const std::string& group, const std::string& jar) {
  const auto is_wanted = [&](const std::string& name) { return name.starts_with(jar); };
  if (version.files[0].archive && std::ranges::any_of(store.packages().names_in(version.files[0].sha256, "lib"), is_wanted)) return {};
  if (std::ranges::any_of(version.files, [&](const FileRef& f) { return f.path.starts_with("lib/" + jar); })) return {};
  for (const char* folder : {domain::kBuiltLib, domain::kBuiltRuntime}) {
    const std::string place = std::string(domain::kBuiltTree) + "/" + folder;
    if (version.dependencies && std::ranges::any_of(store.dependencies().names_in(version.dependencies->key, place), is_wanted)) return {};
  }
  for (const domain::LayerRef& layer : version.layers)
    if (std::ranges::any_of(store.packages().names_in(layer.sha256, "java/lib"), is_wanted)) return {};
  return fail(Code::invalid_argument,
              "runtime " + version.manifest.runtime + " wants lib/" + jar + "-VERSION.jar, which is not there: add " + group + ":" + jar +
                  " to the dependencies, and bring all of them: deploy the folder with pom.xml, or "
                  "mvn dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib");
}

Result<void> check_python(const domain::Manifest& manifest, const HasFile& has) {
  const std::string module = manifest.handler.substr(0, manifest.handler.find_last_of('.'));
  std::string path = module;
  std::ranges::replace(path, '.', '/');
  if (has(path + ".py") || has(path + "/__init__.py") || has(path + ".so")) return {};
  return missing(manifest, path + ".py");
}

// That what a program which serves HTTP begins with is there; what it is of the machine's is looked for when it starts.
Result<void> check_program(const domain::Manifest& manifest, const HasFile& has) {
  const auto want = [&](const std::string& path, const std::string& advice) -> Result<void> {
    if (has(path)) return {};
    return fail(Code::invalid_argument, "runtime " + manifest.runtime + " wants the file '" + path + "', which is not there: " + advice);
  };
  if (manifest.runtime.starts_with("azure")) {
    TRY_VOID(want("host.json", "deploy the folder of the function app"));
    if (manifest.runtime == "azure-node") return want("package.json", "its main names the files that register the functions");
    if (manifest.runtime == "azure") return {};
    const auto source = std::ranges::find(manifest.environment, "PYTHON_SCRIPT_FILE_NAME", &std::pair<std::string, std::string>::first);
    return want(source == manifest.environment.end() ? "function_app.py" : source->second,
                "write the functions there, or name their file in PYTHON_SCRIPT_FILE_NAME");
  }
  if (manifest.runtime == "functions-framework-nodejs")
    return want("node_modules/@google-cloud/functions-framework/build/src/main.js",
                "npm install @google-cloud/functions-framework in the folder");
  if (manifest.runtime == "functions-framework-go") return want("main", "build the program into the folder: go build -o main");
  if (manifest.runtime.starts_with("functions-framework-python")) {
    const auto source = std::ranges::find(manifest.environment, "FUNCTION_SOURCE", &std::pair<std::string, std::string>::first);
    return want(source == manifest.environment.end() ? "main.py" : source->second,
                "write the function there, or name its file in FUNCTION_SOURCE");
  }
  std::string program = manifest.handler.substr(manifest.handler.find_first_not_of(' '));
  program.resize(std::min(program.size(), program.find(' ')));
  if (program.find('/') == program.npos) return {};  // maybe the machine's
  return want(program.starts_with("./") ? program.substr(2) : program, "build it into the folder, or name a program of the machine");
}

// That the handler's file is there, as the runtime will look for it.
Result<void> check_code(const Version& version, store::Store& store) {
  if (version.manifest.is_container()) return {};     // its program is found by its own links, inside
  const HasFile has = files_of(version, store);
  const domain::Manifest& manifest = version.manifest;
  if (manifest.runtime.starts_with("nodejs")) return check_node(manifest, has);
  if (manifest.runtime.starts_with("java"))
    return check_java(version, store, "com.amazonaws", "aws-lambda-java-runtime-interface-client");
  if (manifest.runtime == "functions-framework-java")
    return check_java(version, store, "com.google.cloud.functions.invoker", "java-function-invoker");
  if (manifest.runtime.starts_with("python")) return check_python(manifest, has);
  if (manifest.serves_http()) return check_program(manifest, has);
  if (!manifest.runtime.starts_with("provided") || has("bootstrap")) return {};
  return fail(Code::invalid_argument, "runtime " + manifest.runtime + " runs the file 'bootstrap', which is not there: add it");
}

}  // namespace

// What can be said before it is pulled is said before.
void Node::pull(DeployOrder order, domain::Manifest manifest, Done<VersionView> done) {
  const std::string& name = order.name.empty() ? manifest.name : order.name;
  if (!order.files.empty() || order.archive)
    return done(fail(Code::invalid_argument, "the image " + manifest.image.reference +
                                                 " is pulled from its registry: send no files with it"));
  if (!domain::valid_function_name(name))
    return done(fail(Code::invalid_argument, "'" + name.substr(0, 80) +
                                                 "' is not a function name: write name: in function.yaml, or --name"));
  if (!options_.pull)
    return done(fail(Code::unimplemented, "the image " + manifest.image.reference +
                                              " can't be pulled: this node's configuration names no registry (registries: {HOST: {}})"));
  auto work = [pull = options_.pull, reference = manifest.image.reference] { return pull(reference); };
  auto then = [this, order = std::move(order), manifest = std::move(manifest),
               done = std::move(done)](Result<store::PulledImage> pulled) mutable {
    if (!pulled) return done(fail(pulled.error()));
    pulled->config.image.reference = std::move(manifest.image.reference);
    pulled->config.image.instead = std::move(manifest.image.instead);
    pulled->config.image.digest = std::move(pulled->digest);
    manifest.image = std::move(pulled->config.image);
    if (manifest.runtime == domain::kContainerByImage) manifest.runtime = pulled->config.runtime;
    order.manifest = domain::to_json(manifest);
    order.files = std::move(pulled->layers);
    deploy(std::move(order), std::move(done));
  };
  behind(options_.pull_work, "too many images are being pulled already: try again", std::move(work), std::move(then));
}

void Node::commit_code(DeployOrder order, Version version, Done<VersionView> done) {
  const Version wanted = version;
  auto then = [this, order = std::move(order), version = std::move(version), done = std::move(done)](const Result<void>& unpacked) mutable {
    if (!unpacked) return done(fail(unpacked.error()));
    // What a build can't change is found before it.
    const bool known = version.manifest.runtime.starts_with("python") || version.manifest.runtime.starts_with("nodejs");
    if (const auto sound = known ? check_code(version, store_) : Result<void>{}; !sound) return done(fail(sound.error()));
    build(version, [this, order = std::move(order), version, done = std::move(done)](Result<Built> built) mutable {
      if (!built) return done(fail(built.error()));
      version.dependencies = *std::move(built);
      if (const auto sound = check_code(version, store_); !sound) return done(fail(sound.error()));
      commit_version(std::move(order), std::move(version), std::move(done));
    });
  };
  unpack(wanted, std::move(then));
}

void Node::unpack(const Version& version, Done<void> done) {
  if (!version.manifest.is_container()) {
    auto layers = [this, layers = version.layers, done = std::move(done)](const Result<void>& unpacked) mutable {
      if (!unpacked) return done(fail(unpacked.error()));
      unpack_layers_of(std::move(layers), 0, std::move(done));
    };
    return version.files[0].archive ? unpack_archive(version.files[0], false, std::move(layers)) : layers({});
  }
  if (store_.packages().has(store::image_name(hashes_of(version.files)))) return done({});
  unpack_layers(version.files, 0, {}, std::move(done));
}

// One after the other: each is a sandbox and writes to the disk. held: what those before hold; together they have the limit of one archive
// of their size, so that many layers are no way around it.
void Node::unpack_layers(std::vector<FileRef> layers, std::size_t next, Bytes held, Done<void> done) {
  if (next == layers.size()) return stack_layers(layers, std::move(done));
  const FileRef layer = layers[next];
  unpack_archive(layer, true, [this, layers = std::move(layers), next, held, done = std::move(done)](const Result<void>& unpacked) mutable {
    if (!unpacked)
      return done(fail(unpacked.error().code, "layer " + std::to_string(next + 1) + " of the image, " + layers[next].sha256.substr(0, 12) +
                                                  "…: " + unpacked.error().message));
    const std::string name = store::layer_name(layers[next].sha256);
    auto then = [this, layers = std::move(layers), next, held, done = std::move(done)](const Result<Bytes>& size) mutable {
      if (!size) return done(fail(size.error()));
      const auto same = std::ranges::find(layers, layers[next].sha256, &FileRef::sha256);
      if (same == layers.begin() + static_cast<std::ptrdiff_t>(next))
        held.count += size->count;  // one that is there twice is on the disk once
      Bytes archives;
      for (const FileRef& each : layers) archives.count += each.size.count;
      if (const Bytes most = domain::unpacked_max(archives); held > most)
        return done(fail(Code::exhausted, "the first " + std::to_string(next + 1) + " layers of the image hold " + to_text(held) +
                                              ", more than the " + to_text(most) +
                                              " that an image of its size may: is it one made to fill disks?"));
      unpack_layers(std::move(layers), next + 1, held, std::move(done));
    };
    behind(bulk_work_, kDiskBusy, [this, name]() -> Result<Bytes> { return store_.packages().size_of(name); }, std::move(then));
  });
}

void Node::stack_layers(const std::vector<FileRef>& layers, Done<void> done) {
  const std::vector<std::string> hashes = hashes_of(layers);
  const std::string name = store::image_name(hashes);
  if (!first_of(name, done)) return;
  behind(bulk_work_, kDiskBusy, [this, hashes] { return store_.packages().stack(hashes); },
         [this, name](const Result<void>& stacked) { tell_unpacked(name, stacked); });
}

bool Node::first_of(const std::string& name, Done<void>& done) {
  std::vector<Done<void>>& waiting = unpacking_[name];
  waiting.push_back(std::move(done));
  return waiting.size() == 1;
}

void Node::tell_unpacked(const std::string& name, const Result<void>& result) {
  const auto all = unpacking_.extract(name);
  for (const Done<void>& each : all.mapped()) each(result);
}

void Node::unpack_archive(const FileRef& archive, bool layer, Done<void> done) {
  const std::string name = layer ? store::layer_name(archive.sha256) : archive.sha256;
  if (store_.packages().has(name)) return done({});
  if (!first_of(name, done)) return;
  const auto folder = store_.packages().new_folder();
  if (!folder) return tell_unpacked(name, fail(folder.error()));
  instances::StartOrder order{.role = domain::Role::unpack, .model_name = "unpack",
                              .files = {{archive.path, store_.artifacts().path_of(archive.sha256), archive.size}}, .memory_max = 512_MiB,
                              .output = *folder, .time_max = std::chrono::minutes(10),
                              .runtime = layer ? "container-http" : ""};
  fleet_.run_job(std::move(order), [this, name, folder = *folder](const Result<instances::ReadyReport>& report) {
    auto work = [this, name, folder, failed = report ? std::optional<Error>() : report.error()]() -> Result<void> {
      Result<void> kept = failed ? fail(*failed) : store_.packages().adopt(folder, name);
      if (!kept) store_.packages().drop(folder);
      return kept;
    };
    behind(bulk_work_, kDiskBusy, std::move(work), [this, name](const Result<void>& kept) { tell_unpacked(name, kept); });
  });
}

}  // namespace mayfly::control
