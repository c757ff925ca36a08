// What `mayfly deploy PATH` sends: a model file, or a folder with function.yaml, as a manifest and a list of
// files with their hashes. Reads the disk; sends nothing. Of a folder it takes every regular file in it and
// below, but not the manifest itself and nothing whose name begins with a dot; a link that leaves the folder, a
// device or a socket is refused, as are more than domain::kFilesMax files.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/function.h"
#include "os/fd.h"

namespace mayfly::app {

struct PackageFile {
  domain::FileRef file;  // sha256 is "" until hash()
  std::string location;  // on this machine
};

struct Package {
  std::string manifest;  // as read; "" where there is none
  std::vector<PackageFile> files;
  Bytes size;  // of all files
};

constexpr std::uint64_t kManifestMax = 64 * 1024;  // bytes
[[nodiscard]] bool is_manifest(std::string_view name);  // a file's name at the top: function.yaml, function.yml, function.json

[[nodiscard]] Result<Package> read_package(const std::string& path);
// Of a folder, its manifest alone; "" where there is none, or it is a file. A folder with kAzureSign and none is an app of Azure Functions.
constexpr std::string_view kAzureSign = "host.json", kAzureManifest = "runtime: azure\n";
[[nodiscard]] Result<std::string> read_manifest_of(const std::string& path);

// SHA-256 of the whole file, as 64 lower-case digits. progress(bytes so far) after every piece.
[[nodiscard]] Result<std::string> hash_file(int file, const std::function<void(std::uint64_t)>& progress);
[[nodiscard]] Result<os::Fd> open_file(const std::string& location);

// What the command line says over the manifest.
struct Overrides {
  std::optional<int> min, max;
  std::string memory, timeout, runtime, handler;  // "" : not said
  std::string target, signature;                   // of a functions framework: the handler, and FUNCTION_SIGNATURE_TYPE
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> layers;
  bool any() const {
    return min || max || !memory.empty() || !timeout.empty() || !runtime.empty() || !handler.empty() || !target.empty() ||
           !signature.empty() || !environment.empty() || !layers.empty();
  }
};
// The manifest with these put in; comments and the order of keys may be lost. "" is an empty manifest.
[[nodiscard]] Result<std::string> with_overrides(const std::string& manifest, const Overrides& overrides);

}  // namespace mayfly::app
