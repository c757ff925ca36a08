#include "store/pull.h"

#include "os/digest.h"

namespace mayfly::store {
namespace {

using domain::Descriptor;

Result<void> check_type(const RegistryClient::Document& document) {
  if (domain::is_image_index(document.type) || domain::is_image_manifest(document.type)) return {};
  return domain::wrong_image("the media type " + domain::quotes_around(document.type) +
                             " of the manifest is not known: OCI's and Docker's schema 2 are");
}

// From what the reference names down to the manifest of this machine's image.
Result<RegistryClient::Document> find_manifest(RegistryClient& client, const domain::ImageReference& image, std::string& digest) {
  TRY(RegistryClient::Document document, client.manifest(image.digest.empty() ? image.tag : "sha256:" + image.digest));
  digest = document.sha256;
  TRY_VOID(check_type(document));
  for (int i = 0; domain::is_image_index(document.type); ++i) {
    if (i == domain::kImageIndexesMax) return domain::wrong_image("indexes of the image name each other, more than 3 deep");
    TRY(const Descriptor said, domain::choose_image(document.text, {.what = "the index", .first = true}));
    TRY(document, client.manifest("sha256:" + said.sha256));
    TRY_VOID(domain::check_size(document.text.size(), said, "the manifest"));
    if (document.type != said.type)
      return domain::wrong_image("the manifest comes as " + domain::quotes_around(document.type) + ", and its index names " +
                                 domain::quotes_around(said.type));
    TRY_VOID(check_type(document));
  }
  return document;
}

Result<std::string> fetch_config(RegistryClient& client, const Descriptor& said) {
  if (said.size > domain::kImageTextMax)
    return domain::wrong_image("the configuration of the image has more than 4 MiB: it is no description");
  std::string text;
  TRY_VOID(client.blob(said, "the configuration", [&](std::span<const std::byte> bytes) -> Result<void> {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }));
  TRY_VOID(domain::check_digest(os::sha256_hex(text), said.sha256, "the configuration"));
  return text;
}

Result<domain::FileRef> fetch_layer(RegistryClient& client, Artifacts& artifacts, const Descriptor& said, const std::string& what) {
  if (artifacts.has(said.sha256)) {
    TRY(const Bytes size, artifacts.size(said.sha256));
    TRY_VOID(domain::check_size(size.count, said, what));
    return domain::FileRef{.sha256 = said.sha256, .size = size};
  }
  TRY(const auto upload, artifacts.begin());
  TRY_VOID(client.blob(said, what, [&](std::span<const std::byte> bytes) { return upload->append(bytes); }));
  auto file = upload->finish(said.sha256);
  if (!file) return fail(file.error().code, what + " of the image: " + file.error().message);
  return file;
}

Result<PulledImage> pull(const Registries& registries, Artifacts& artifacts, const domain::ImageReference& image, const PullOrder& order) {
  TRY(const Registry registry, find_registry(registries, image));
  RegistryClient client(registry, image, order.until, order.stop);
  TRY_VOID(client.open());
  PulledImage pulled;
  TRY(const RegistryClient::Document document, find_manifest(client, image, pulled.digest));
  TRY(const domain::ImageManifest manifest, domain::parse_image_manifest(document.text));
  Bytes size;
  for (const Descriptor& layer : manifest.layers) {
    if (layer.size > registry.size_max.count - size.count)
      return domain::wrong_image("its layers have more than " + to_text(registry.size_max) + " together (registries: size_max)");
    size.count += layer.size;
  }
  TRY(const std::string config, fetch_config(client, manifest.config));
  TRY(pulled.config, domain::parse_image_config(config, manifest.layers.size()));
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    TRY(domain::FileRef file, fetch_layer(client, artifacts, manifest.layers[i], "layer " + std::to_string(i + 1)));
    file.path = domain::layer_path(i);
    file.archive = true;
    pulled.layers.push_back(std::move(file));
  }
  return pulled;
}

}  // namespace

Result<PulledImage> pull_image(const Registries& registries, Artifacts& artifacts, const PullOrder& order) {
  TRY(const domain::ImageReference image, domain::parse_image_reference(order.reference));
  auto pulled = pull(registries, artifacts, image, order);
  if (!pulled) return fail(pulled.error().code, "the image " + image.text() + ": " + pulled.error().message);
  return pulled;
}

}  // namespace mayfly::store
