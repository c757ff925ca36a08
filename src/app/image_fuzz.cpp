// Any bytes as an image: as an archive; or as a layout's index, manifest, configuration and layer, in which @1 to @3 stand for the digest
// and $1 to $3 for the size of the part behind, so that changes reach what is below a digest. What is taken is whole, and within limits.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "app/image.h"
#include "app/test_image.h"
#include "base/assert.h"
#include "domain/manifest.h"

namespace {

using namespace mayfly::app;

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (std::size_t at = 0, count = 0; (at = text.find(from, at)) != text.npos && count < 64; at += to.size(), ++count)
    text.replace(at, from.size(), to);
}

void check(const std::string& path) {
  const auto image = read_image(path, "");
  if (!image) {
    ASSERT(!image.error().message.empty(), "an error says what");
    return;
  }
  ASSERT(!image->package.files.empty() && image->package.files.size() <= 128, "layers have a limit");
  for (const PackageFile& file : image->package.files) {
    ASSERT(file.file.sha256.size() == 64 && file.file.path.starts_with("layer-"), "each has its hash");
    ASSERT(open_file(file.location), "and is there");
  }
  static_cast<void>(mayfly::domain::parse_manifest(image->package.manifest).has_value());
}

void check_archive(std::string_view bytes) {
  const auto file = mayfly::os::make_memfd("image", 0);
  ASSERT(file && ::write(file->get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "memory takes it");
  check("/proc/self/fd/" + std::to_string(file->get()));
}

const std::filesystem::path& folder() {
  static const std::filesystem::path made = [] {
    std::string name =
        (std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path().string()) + "/image_fuzz_XXXXXX";
    ASSERT(::mkdtemp(name.data()), "there is a place for files");
    static std::string kept = name;
    std::atexit([] { std::filesystem::remove_all(kept); });
    return std::filesystem::path(name);
  }();
  return made;
}

void check_layout(std::string_view text) {
  std::string parts[4];
  for (std::string& part : parts) {
    part = text.substr(0, text.find('\x1e'));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
  }
  const std::filesystem::path at = folder() / "layout";
  std::filesystem::create_directories(at / "blobs/sha256");
  std::vector<std::filesystem::path> written{at / "index.json"};
  for (int i = 3; i >= 0; --i) {
    for (int below = 3; below > i; --below) {
      const std::string number = std::to_string(below), &blob = parts[below];
      replace_all(parts[i], "@" + number, "sha256:" + sha256_of(blob));
      replace_all(parts[i], "$" + number, std::to_string(blob.size()));
    }
    if (i > 0) written.push_back(at / "blobs/sha256" / sha256_of(parts[i]));
    std::ofstream(i > 0 ? written.back() : written.front(), std::ios::binary) << parts[i];
  }
  check(at.string());
  for (const auto& path : written) std::filesystem::remove(path);
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
#define MANIFEST(type) R"({"mediaType":"application/vnd.oci.image.)" type R"(.v1+json","digest":"@1","size":$1)"
  static constexpr const char* kSeeds[] = {
      R"(L{"manifests":[)" MANIFEST("manifest") "}]}\x1e"
      R"({"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@2","size":$2},)"
      R"("layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@3","size":$3}]})" "\x1e"
      R"({"os":"linux","architecture":"amd64","config":{"Entrypoint":["/x"],"Env":["A=b"],"User":"1:2","WorkingDir":"/w"},)"
      R"("rootfs":{"diff_ids":["@3"]}})" "\x1elayer",
      R"(L{"manifests":[)" MANIFEST("index") "}]}\x1e"
      R"({"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"@2","size":$2,)"
      R"("platform":{"os":"linux","architecture":"amd64"}}]})" "\x1e"
      R"({"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"@3","size":$3},"layers":[]})" "\x1e"
      R"({"os":"linux","architecture":"amd64"})",
      R"(L{"manifests":[)" MANIFEST("manifest") R"(,"annotations":{"org.opencontainers.image.ref.name":"a"}},{"digest":"@1","size":$1}]})",
      "A[{\"Config\":\"config.json\",\"RepoTags\":[\"a\"],\"Layers\":[\"layer.tar\",\"link\"]}]", nullptr};
#undef MANIFEST
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'A') {
    check_archive(rest);
    // One that is a tar for sure: any name with any bytes.
    static const std::filesystem::path at = folder() / "image.tar";
    TestImage image;
    image.files = {{"manifest.json", std::string(rest)}, {"layer.tar", "layer"}, {"config.json", std::string(rest.substr(0, 100))}};
    image.write_archive(at, {{"link", "layer.tar"}});
    check(at.string());
  } else {
    check_layout(rest);
  }
  return 0;
}
