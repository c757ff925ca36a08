// Deploy: check in a sandbox, commit, serve as uploaded; then compile and measure behind it.
#include <algorithm>

#include "base/assert.h"
#include "base/hex.h"
#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/job_results.h"

namespace mayfly::control {
namespace {

using domain::Role;
using domain::Version;

constexpr std::size_t kLayersMax = 128;            // as container engines have it

bool ends_in_onnx(const std::string& path) { return path.ends_with(".onnx"); }

// The manifest's model, or the only .onnx file there is.
Result<std::string> find_model(const domain::Manifest& manifest, const std::vector<domain::FileRef>& files) {
  if (!manifest.model.empty()) {
    if (std::ranges::any_of(files, [&](const auto& f) { return f.path == manifest.model; })) return manifest.model;
    return fail(Code::invalid_argument,
                "the manifest's model '" + manifest.model + "' is not among the " + std::to_string(files.size()) + " files");
  }
  const auto models = std::ranges::count_if(files, ends_in_onnx, &domain::FileRef::path);
  if (models == 1) return std::ranges::find_if(files, ends_in_onnx, &domain::FileRef::path)->path;
  if (models == 0 && files.size() == 1) return files[0].path;  // whatever it is called: the check will say what it is
  return fail(Code::invalid_argument, std::to_string(models) + " files end in .onnx: name the model in function.yaml ('model: …')");
}

std::string name_from(const std::string& model) {
  const auto slash = model.find_last_of('/');
  std::string name = model.substr(slash == std::string::npos ? 0 : slash + 1);
  name.resize(std::min(name.size(), name.find_last_of('.')));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace

void Node::deploy(DeployOrder order, Done<VersionView> done) {
  const auto read = order.manifest.empty() ? Result<domain::Manifest>() : domain::parse_manifest(order.manifest);
  if (!read) return done(fail(read.error()));
  if (read->image.is_wanted()) return pull(std::move(order), *read, std::move(done));
  const auto prepared = [&]() -> Result<Version> {
    if (order.archive) {
      order.archive->archive = true;
      order.files = {*std::move(order.archive)};
    }
    Version version{.created = turn_.wall, .manifest = *read};
    TRY_VOID(domain::check_network(version.manifest.network, options_.network));
    const bool container = version.manifest.is_container();
    const std::size_t files_max = container ? kLayersMax : domain::kFilesMax;
    if (order.files.empty() || order.files.size() > files_max)
      return fail(Code::invalid_argument, std::to_string(order.files.size()) + (container ? " layers: an image" : " files: a version") +
                                              " has 1 to " + std::to_string(files_max));
    for (domain::FileRef& file : order.files) {
      TRY_VOID(domain::check_path(file.path));
      if (!is_sha256(file.sha256))
        return fail(Code::invalid_argument, "'" + file.sha256.substr(0, 80) + "' of " + file.path + " is not a SHA-256 in lower-case hex");
      TRY(file.size, store_.artifacts().size(file.sha256));
    }
    std::ranges::sort(order.files, {}, &domain::FileRef::path);
    if (container && !std::ranges::all_of(order.files, &domain::FileRef::archive))
      return fail(Code::invalid_argument,
                  "a container's files are the layers of its image, each an archive: mayfly deploy oci:IMAGE, or docker://IMAGE");
    if (!container && order.files.size() > 1 && std::ranges::any_of(order.files, &domain::FileRef::archive))
      return fail(Code::invalid_argument, "an archive stands alone: put the other files into it");
    if (const auto twice = std::ranges::adjacent_find(order.files, {}, &domain::FileRef::path); twice != order.files.end())
      return fail(Code::invalid_argument, "the file '" + twice->path + "' is named twice");
    if (order.files[0].archive && !version.manifest.is_code())
      return fail(Code::invalid_argument, "an archive is for code, and the manifest names no runtime: write runtime: in function.yaml");
    if (!version.manifest.is_code()) {
      TRY(version.manifest.model, find_model(version.manifest, order.files));
    }
    if (!order.name.empty()) version.manifest.name = order.name;
    if (version.manifest.name.empty() && version.manifest.is_code())
      return fail(Code::invalid_argument, "a function of code has no name of its own: write name: in function.yaml, or --name");
    if (version.manifest.name.empty()) version.manifest.name = name_from(version.manifest.model);
    if (!domain::valid_function_name(version.manifest.name))
      return fail(Code::invalid_argument, "'" + version.manifest.name.substr(0, 80) +
                                              "' is not a function name: use 1 to 63 of a-z, 0-9, '-', '_' and '.', starting with a "
                                              "letter or digit (--name)");
    if (order.alias && !domain::valid_alias_name(*order.alias)) return fail(not_an_alias(*order.alias));
    TRY_VOID(choose_layers(version));
    version.files = order.files;
    return version;
  }();
  if (!prepared) return done(fail(prepared.error()));
  Version version = *prepared;
  const std::string name = version.manifest.name;
  if (Entry* entry = find(name); entry && !entry->function.versions.empty() && !order.force) {
    const Version& newest = entry->function.versions.back();
    const Version* same = same_content(newest, version) ? &newest : optimized_from(*entry, newest);
    if (same && (same == &newest || same_content(*same, version))) {
      prepare(same->id);
      VersionView view{*same, stage_of(*entry, *same), true};
      return unpack(*same, [view = std::move(view), done = std::move(done)](const Result<void>& unpacked) {
        done(unpacked ? Result<VersionView>(view) : fail(unpacked.error()));
      });
    }
  }
  if (version.manifest.is_code()) return commit_code(std::move(order), std::move(version), std::move(done));
  if (!version.manifest.optimize || !order.alias) return check_and_commit(std::move(order), std::move(version), std::move(done));
  domain::OptimizationOrder wanted = *version.manifest.optimize;
  wanted.alias = *order.alias;
  if (options_.check_optimization)
    if (const auto sound = options_.check_optimization(wanted); !sound) return done(fail(sound.error()));
  if (!wanted.data.empty() && std::ranges::find(version.files, wanted.data, &domain::FileRef::path) == version.files.end())
    return done(fail(Code::invalid_argument,
                     "optimize.data: '" + wanted.data + "' is not among the files: put the samples into the package"));
  check_and_commit(std::move(order), std::move(version), [this, wanted, done = std::move(done)](Result<VersionView> made) {
    if (!made) return done(std::move(made));
    const std::string function = made->version.manifest.name;
    optimize(function, made->version.number, wanted, [this, id = made->version.id](const Result<int>& asked) {
      const Version* v = find(id);
      if (v && !asked) books_.log(v->function, v->number, 0, "error", "it is not optimised: " + asked.error().message);
    });
    done(std::move(made));
  });
}

void Node::check_and_commit(DeployOrder order, Version version, Done<VersionView> done) {
  const std::string name = version.manifest.name;
  if (const Version* known = checked_elsewhere(version)) {
    version.signature = known->signature;
    version.notes = known->notes;
    version.template_allowed = known->template_allowed;
    return commit_version(std::move(order), std::move(version), std::move(done));
  }
  const auto check = job_order(Role::check, name, version, locate());
  auto commit = [this, order = std::move(order), version = std::move(version),
                 done = std::move(done)](Result<instances::ReadyReport> report) mutable {
    if (order.beside && !find(*order.beside)) return done(fail(Code::cancelled, "the function was deleted meanwhile"));
    if (!report) return done(fail(report.error().code, "'" + version.manifest.model + "' was not deployed: " + report.error().message));
    auto checked = domain::parse_check_result(report->result);
    if (!checked) return done(fail(Code::internal, "the check of the model gave no sound answer: " + checked.error().message));
    version.signature = std::move(checked->signature);
    version.notes = std::move(checked->notes);
    version.template_allowed = checked->template_allowed;
    commit_version(std::move(order), std::move(version), std::move(done));
  };
  fleet_.run_job(check, std::move(commit));
}

void Node::commit_version(DeployOrder order, Version version, Done<VersionView> done) {
  if (!version.manifest.is_code()) version.compiled = compiled_elsewhere(version);
  auto work = [this, version, alias = std::move(order.alias)] {
    return store_.catalog().add_version(version.manifest.name, version, alias);
  };
  behind(catalog_work_, kCatalogBusy, std::move(work),
         [this, added = std::move(version), done = std::move(done)](Result<store::Added> stored) mutable {
    if (!stored) return done(fail(stored.error()));
    added.id = stored->version;
    added.function = stored->function;
    added.number = stored->number;
    std::unique_ptr<Entry>& entry = functions_[added.manifest.name];
    if (!entry) {
      entry = std::make_unique<Entry>();
      entry->function = {.id = added.function, .name = added.manifest.name, .created = stored->function_created};
    }
    entry->function.aliases = std::move(stored->aliases);
    entry->function.versions.push_back(added);
    std::ranges::sort(entry->function.versions, {}, &Version::number);
    add_place(*entry, added);
    refresh(*entry);
    prepare(added.id);
    done(VersionView{*find(added.id), stage_of(*entry, added)});
  });
}

// Once in this node's life for a version: one from another machine or an older engine is compiled again, and one whose
// measurement ended with an earlier node is measured. It serves meanwhile.
void Node::prepare(VersionId id) {
  const auto [entry, number] = versions_.at(id);
  if (entry->stages.contains(number)) return;
  const Version& version = *entry->version(number);
  if (version.manifest.is_code()) {  // it runs as it is; but what is unpacked of it is a cache
    const auto then = [this, id](const Result<void>& unpacked) {
      const Version* v = find(id);
      if (v && !unpacked) books_.log(v->function, v->number, 0, "error", unpacked.error().message);
      if (v && unpacked) {
        restore(*v);
        want_start_cache(id);
      }
    };
    return unpack(version, then);
  }
  if (is_compiled_for(version, options_.compile_key)) {
    if (version.compiled->tuning.cold_first_ns == 0) tune(id);
  } else if (const auto known = compiled_elsewhere(version)) {
    set_stage(id, Stage::compiling);
    keep_compiled(id, *known, known->tuning.cold_first_ns == 0);
  } else if (version.compile_error.empty()) {
    compile(id);
  }
}

const Version* Node::checked_elsewhere(const Version& version) {
  const auto same = same_source_.find(source_of(version));
  return same == same_source_.end() ? nullptr : find(*same->second.begin());
}

std::optional<domain::Compiled> Node::compiled_elsewhere(const Version& version) {
  const auto same = same_source_.find(source_of(version));
  if (same == same_source_.end()) return std::nullopt;
  std::optional<domain::Compiled> found;
  for (const VersionId id : same->second) {
    const Version& other = *find(id);
    if (other.id == version.id || !is_compiled_for(other, options_.compile_key)) continue;
    const bool measured = other.compiled->tuning.cold_first_ns != 0 && limits_of(other) == limits_of(version);
    if (!found || measured) found = other.compiled;
    if (measured) break;
    found->tuning = {.template_allowed = false};
  }
  // It may have no other name when this one comes to the disk: asked for now, it is no garbage until then.
  if (found && !store_.artifacts().has(found->sha256)) return std::nullopt;
  return found;
}

// It serves as uploaded, and says why in `compile_error`.
void Node::not_compiled(VersionId id, std::string_view level, const std::string& why) {
  Version* version = find(id);
  if (!version) return;
  version->compile_error = why;
  books_.log(version->function, version->number, 0, level, "not compiled, the model as uploaded serves: " + why);
  set_stage(id, Stage::serving);
}

void Node::compile(VersionId id) {
  Version* version = find(id);
  if (!version) return;
  set_stage(id, Stage::compiling);
  const std::string source = source_of(*version);
  if (!compiling_.join(source, id)) return;
  const auto give_up = [this, source](std::string_view level, const Error& error) {
    for (const VersionId each : compiling_.take(source)) not_compiled(each, level, error.message);
  };
  auto output = store_.artifacts().new_file();
  if (!output) return give_up("error", output.error());
  instances::StartOrder order = job_order(Role::compile, version->manifest.name, *version, locate());
  order.output = *output;
  const Instant begun = turn_.now;
  fleet_.run_job(std::move(order), [this, source, begun, give_up, file = *output](Result<instances::ReadyReport> report) {
    if (!report) {
      store_.artifacts().drop_file(file);
      for (const VersionId each : compiling_.take(source)) {
        not_compiled(each, "warning", report.error().message);
        behind(catalog_work_, kCatalogBusy,
               [this, each, text = report.error().message] { return store_.catalog().set_compile_error(each, text); }, nullptr);
      }
      return;
    }
    const auto took = static_cast<std::uint64_t>((turn_.now - begun).count());
    behind(bulk_work_, kDiskBusy, [this, file] { return store_.artifacts().adopt(file); },
           [this, source, file, took, give_up](Result<domain::FileRef> adopted) {
      if (!adopted) {
        store_.artifacts().drop_file(file);
        return give_up("error", {adopted.error().code, "the compiled model was not kept: " + adopted.error().message});
      }
      for (const VersionId each : compiling_.take(source))
        keep_compiled(each, {.key = options_.compile_key, .sha256 = adopted->sha256, .size = adopted->size, .compile_ns = took,
                             .tuning = {.template_allowed = false}}, true);
    });
  });
}

// First untuned, so that a node that is killed while it measures has the flat file; then tuned.
void Node::keep_compiled(VersionId id, domain::Compiled compiled, bool then_tune) {
  Version* version = find(id);
  if (!version) return;
  behind(catalog_work_, kCatalogBusy, [this, id, compiled] { return store_.catalog().set_compiled(id, compiled); },
         [this, id, compiled, then_tune](Result<void> kept) {
    Version* v = find(id);
    if (!v) return;
    if (!kept) books_.log(v->function, v->number, 0, "error", "the compiled model is not in the catalog: " + kept.error().message);
    v->compiled = compiled;
    refresh(*versions_.at(id).entry);
    if (then_tune) return tune(id);
    if (const std::string note = weights_note(*v); !note.empty()) books_.log(v->function, v->number, 0, "info", note);
    set_stage(id, Stage::ready);
  });
}

void Node::tune(VersionId id) {
  const Version* version = find(id);
  if (!version || !version->compiled) return;
  set_stage(id, Stage::tuning);
  const std::string what = source_of(*version) + limits_of(*version);
  if (!tuning_.join(what, id)) return;
  instances::StartOrder order = job_order(Role::tune, version->manifest.name, *version, locate());
  order.files = {{version->manifest.model, locate()({.sha256 = version->compiled->sha256}), version->compiled->size}};
  order.compiled = true;
  fleet_.run_job(std::move(order), [this, what](Result<instances::ReadyReport> report) {
    const auto tuning = report ? domain::parse_tuning_result(report->result) : Result<domain::Tuning>(fail(report.error()));
    for (const VersionId each : tuning_.take(what)) {
      const Version* v = find(each);
      if (!v || !v->compiled) continue;
      if (!tuning) {
        books_.log(v->function, v->number, 0, "warning", "not measured, defaults serve: " + tuning.error().message);
        set_stage(each, Stage::ready);
        continue;
      }
      domain::Compiled compiled = *v->compiled;
      compiled.tuning = *tuning;
      keep_compiled(each, std::move(compiled), false);
    }
  });
}

}  // namespace mayfly::control
