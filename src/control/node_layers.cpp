// Layers: an archive is unpacked once, in a sandbox, and shared by all functions that name it; several of one function are merged once
// into a folder of hard links, which all functions with the same layers in the same order share (store/packages.h).
#include <algorithm>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/arn.h"

namespace mayfly::control {
namespace {

using domain::LayerRef;
using domain::LayerVersion;

std::vector<std::string> hashes_of(const std::vector<LayerRef>& layers) {
  std::vector<std::string> hashes;
  for (const LayerRef& layer : layers) hashes.push_back(layer.sha256);
  return hashes;
}

domain::FileRef archive_of(const LayerRef& layer) {
  return {.path = "layer.zip", .sha256 = layer.sha256, .size = layer.size, .archive = true};
}

}  // namespace

void Node::publish_layer(LayerOrder order, Done<LayerVersion> done) {
  if (!domain::valid_layer_name(order.name))
    return done(fail(Code::invalid_argument, "'" + order.name.substr(0, 80) + "' is not a layer's name: use 1 to 140 of a-z, A-Z, 0-9, '-' "
                                                                              "and '_'"));
  if (layers_.size() >= domain::kLayerVersionsMax)
    return done(fail(Code::exhausted, "this node has " + std::to_string(layers_.size()) + " versions of layers, as many as it keeps: "
                                                                                          "delete some"));
  const auto size = store_.artifacts().size(order.archive.sha256);
  if (!size) return done(fail(size.error()));
  LayerVersion layer{.name = std::move(order.name), .created = turn_.wall, .sha256 = order.archive.sha256, .size = *size,
                     .description = std::move(order.description), .license = std::move(order.license),
                     .runtimes = std::move(order.runtimes), .architectures = std::move(order.architectures), .policy = {}};
  const LayerRef ref{layer.name, 0, layer.sha256, layer.size};
  unpack_archive(archive_of(ref), false, [this, layer, done = std::move(done)](const Result<void>& unpacked) mutable {
    if (!unpacked) return done(fail(unpacked.error()));
    behind(catalog_work_, kCatalogBusy, [this, layer] { return store_.catalog().add_layer(layer); },
           [this, layer, done = std::move(done)](Result<int> number) mutable {
      if (!number) return done(fail(number.error()));
      layer.number = *number;
      layers_[{layer.name, layer.number}] = layer;
      done(layer);
    });
  });
}

std::vector<LayerVersion> Node::layers(std::string_view name) {
  std::vector<LayerVersion> found;
  for (const auto& [key, layer] : layers_)
    if (name.empty() || key.first == name) found.push_back(layer);
  return found;
}

void Node::remove_layer(std::string_view name, int number, Done<void> done) {
  const std::pair<std::string, int> key(name, number);
  if (!layers_.contains(key)) return done(fail(Code::not_found, "there is no layer " + domain::to_text({key.first, number})));
  behind(catalog_work_, kCatalogBusy, [this, key] { return store_.catalog().remove_layer(key.first, key.second); },
         [this, key, done = std::move(done)](Result<void> removed) {
    if (removed && layers_.erase(key) == 1) collect_garbage();
    done(std::move(removed));
  });
}

void Node::set_layer_statement(std::string_view name, int number, domain::LayerStatement statement, Done<void> done) {
  const std::pair<std::string, int> key(name, number);
  if (!layers_.contains(key)) return done(fail(Code::not_found, "there is no layer " + domain::to_text({key.first, number})));
  auto keep = [this, key, statement] { return store_.catalog().set_layer_statement(key.first, key.second, statement); };
  behind(catalog_work_, kCatalogBusy, std::move(keep), [this, key, statement, done = std::move(done)](Result<void> kept) {
    const auto at = layers_.find(key);
    if (kept && at != layers_.end()) {
      std::erase_if(at->second.policy, [&](const auto& known) { return known.id == statement.id; });
      if (!statement.document.empty()) at->second.policy.push_back(statement);
    }
    done(std::move(kept));
  });
}

// One that was deleted can't be named anew, but the function that has it may have it in its next version, too.
Result<void> Node::choose_layers(domain::Version& version) {
  const Entry* entry = find(version.manifest.name);
  version.layers.clear();
  for (std::string& text : version.manifest.layers) {
    TRY(const domain::LayerName wanted, domain::parse_layer(text));
    LayerRef found;
    for (const auto& [key, layer] : layers_)  // the last of its name is the newest
      if (key.first == wanted.name && (wanted.number == 0 || key.second == wanted.number))
        found = {layer.name, layer.number, layer.sha256, layer.size};
    if (found.number == 0 && entry && !entry->function.versions.empty())
      for (const LayerRef& had : entry->function.versions.back().layers)
        if (had.name == wanted.name && had.number == wanted.number) found = had;
    if (found.number == 0)
      return fail(Code::invalid_argument, wanted.number == 0 ? "there is no layer '" + wanted.name + "': see 'mayfly layers'"
                                                             : "Layer version " + domain::layer_arn(wanted.name, wanted.number) +
                                                                   " does not exist.");
    TRY(found.size, store_.artifacts().size(found.sha256));  // which keeps it from being collected meanwhile
    text = domain::to_text({found.name, found.number});
    version.layers.push_back(std::move(found));
  }
  return {};
}

// One after the other, as those of an image.
void Node::unpack_layers_of(std::vector<LayerRef> layers, std::size_t next, Done<void> done) {
  if (next == layers.size()) return merge_layers(layers, std::move(done));
  const domain::FileRef archive = archive_of(layers[next]);
  unpack_archive(archive, false, [this, layers = std::move(layers), next, done = std::move(done)](const Result<void>& unpacked) mutable {
    if (!unpacked)
      return done(fail(unpacked.error().code, "layer " + domain::to_text({layers[next].name, layers[next].number}) + ": " +
                                                  unpacked.error().message));
    unpack_layers_of(std::move(layers), next + 1, std::move(done));
  });
}

void Node::merge_layers(const std::vector<LayerRef>& layers, Done<void> done) {
  const std::vector<std::string> hashes = hashes_of(layers);
  const std::string name = store::merge_name(hashes);
  if (layers.size() < 2 || store_.packages().has(name)) return done({});
  if (!first_of(name, done)) return;
  behind(bulk_work_, kDiskBusy, [this, hashes] { return store_.packages().merge(hashes); },
         [this, name](const Result<void>& merged) { tell_unpacked(name, merged); });
}

std::string Node::folder_of_layers(const domain::Version& version) {
  const std::vector<std::string> hashes = hashes_of(version.layers);
  if (hashes.empty()) return {};
  if (hashes.size() == 1) return store_.packages().path_of(hashes[0]);
  return store_.packages().path_of(store::merge_name(hashes)) + store::kImageRoot;
}

}  // namespace mayfly::control
