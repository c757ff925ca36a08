// Any bytes as what a registry says: a challenge, an address, a token, a refusal, an image's name, an index, a manifest, a configuration.
// What is taken fits where it goes: nothing that could end a line of a request, no endpoint but one that parse_endpoint() takes.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "domain/container_image.h"
#include "domain/image_reference.h"
#include "store/registry_forms.h"

namespace {

using namespace mayfly;

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

void check_name(std::string_view text) {
  const auto image = domain::parse_image_reference(text);
  if (!image) return;
  ASSERT(is_visible(image->text()) && domain::is_registry_host(image->registry), "a name goes into a request");
  ASSERT(image->repository.find("..") == std::string::npos && image->repository.find('?') == std::string::npos, "and stays in its place");
  const auto again = domain::parse_image_reference(image->text());
  ASSERT(again && *again == *image, "it is read back");
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
#define DIGEST "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  static constexpr const char* kSeeds[] = {
      R"(Bearer realm="https://auth.example/token?a=b",service="a \"b\"",scope="repository:x:pull", Basic realm=x)",
      "Negotiate YWI/==, Basic realm=x", "https://blobs.example:5000/a/b?c=%2F&d#e", "/v2/x", R"({"token": "a.b-c", "access_token": "d"})",
      R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]})",
      "docker://registry.example:5000/shop/cart:1.0@sha256:" DIGEST, "[::1]:5000/x_y/z",
      R"({"manifests":[{"mediaType":"m","digest":"sha256:)" DIGEST R"(","size":7,"platform":{"os":"linux","architecture":"amd64"}}]})",
      R"({"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:)" DIGEST R"(","size":7},)"
      R"("layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:)" DIGEST R"(","size":7}]})",
      R"({"os":"linux","architecture":"amd64","config":{"Entrypoint":["/x"],"Env":["A=b"]},"rootfs":{"diff_ids":["sha256:a"]}})", nullptr};
#undef DIGEST
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const store::Endpoint from{.tls = true, .host = "h", .port = 443, .authority = "h"};
  ASSERT(store::parse_challenges(text).size() <= 16, "challenges have a limit");
  for (const store::Challenge& challenge : store::parse_challenges(text)) {
    ASSERT(!challenge.scheme.empty() && challenge.parameters.size() <= 16, "parameters have a limit");
    for (const auto& [name, value] : challenge.parameters) static_cast<void>(store::parse_place(value, from).has_value());
  }
  if (const auto place = store::parse_place(text, from)) {
    ASSERT(is_visible(place->target) && place->target.starts_with('/'), "a place goes into a request");
    ASSERT(is_visible(place->endpoint.authority), "as its host does");
    ASSERT(!place->endpoint.host.empty() && place->endpoint.port != 0, "and is somewhere");
  }
  if (const auto token = store::parse_token(text)) ASSERT(is_visible(*token), "a token goes into a header");
  ASSERT(store::parse_refusal(404, text).text.size() <= 400, "a refusal is short");
  check_name(text);
  const auto chosen = domain::choose_image(text, {.what = "the index", .first = true});
  ASSERT(!chosen || chosen->sha256.size() == 64, "by its digest");
  const auto manifest = domain::parse_image_manifest(text);
  ASSERT(!manifest || (!manifest->layers.empty() && manifest->layers.size() <= 128), "layers have a limit");
  static_cast<void>(domain::parse_image_config(text, 1).has_value());
  return 0;
}
