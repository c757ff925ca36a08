// What a container's image says of itself, in the JSON of OCI's image spec and of Docker's (manifest version 2, schema 2): index,
// manifest, configuration. Pure, and shared by whoever reads one: from a file (app/image.h) or from a registry (store/pull.h). The texts
// are a stranger's. An error says what is wrong with "the image".
//
// Everything in an image is named by its SHA-256: whoever fetches a part checks its size and its digest by what named it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/manifest.h"

namespace mayfly::domain {

constexpr std::size_t kImageLayersMax = 128;             // as container engines have it
constexpr int kImageIndexesMax = 3;                      // that name each other
constexpr std::uint64_t kImageTextMax = 4 << 20;         // bytes of an index, a manifest, a configuration
#if defined(__aarch64__)
constexpr std::string_view kImageArchitecture = "arm64";
#else
constexpr std::string_view kImageArchitecture = "amd64";
#endif

struct Descriptor {
  std::string type, sha256;
  std::uint64_t size = 0;
};

[[nodiscard]] std::unexpected<Error> wrong_image(std::string message);
[[nodiscard]] std::string quotes_around(std::string_view text);   // at most 200 bytes of it
// `what` is "the manifest", "layer 3": its name in an error.
[[nodiscard]] Result<void> check_size(std::uint64_t size, const Descriptor& said, const std::string& what);
[[nodiscard]] Result<void> check_digest(std::string_view found, std::string_view said, const std::string& what);

[[nodiscard]] bool is_image_index(std::string_view media_type);
[[nodiscard]] bool is_image_manifest(std::string_view media_type);
struct Choice {
  std::string what;                                      // the index's name in an error
  std::string tag;                                       // "": any
  bool first = false;                                    // of several that fit; else they are refused
};
// Of an index: the manifest, or the index, for this machine.
[[nodiscard]] Result<Descriptor> choose_image(std::string_view index, const Choice& choice);

struct ImageManifest {
  Descriptor config;
  std::vector<Descriptor> layers;                        // the lowest first
};
[[nodiscard]] Result<ImageManifest> parse_image_manifest(std::string_view json);

struct ImageConfig {
  std::vector<std::string> diff_ids;                     // "sha256:…" of each layer without its compression
  Image image;
  std::string runtime;                                   // by what it starts: container-lambda or container-http
};
// For this machine, and of so many layers, or refused.
[[nodiscard]] Result<ImageConfig> parse_image_config(std::string_view json, std::size_t layers);

// "layer-007": where a container's files have their order from.
[[nodiscard]] std::string layer_path(std::size_t number);
// Of these words and variables ("NAME=value"): whether what starts speaks AWS Lambda's Runtime API.
[[nodiscard]] bool looks_like_lambda(const std::vector<std::string>& words, const std::vector<std::string>& environment);

}  // namespace mayfly::domain
