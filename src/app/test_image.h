// For tests: an image's layout, made of any bytes as layers: what is in them only the node looks at.
#pragma once
#include <archive.h>
#include <archive_entry.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "domain/json.h"
#include "store/artifacts.h"
#include "worker/archive.h"

namespace mayfly::app {

inline std::string sha256_of(std::string_view bytes) {
  store::Hash hash;
  hash.update(std::as_bytes(std::span(bytes)));
  return hash.finish();
}

inline std::string gzip_of(std::string_view bytes) {
  std::string out(bytes.size() + 4096, '\0');
  std::size_t size = 0;
  worker::Archive writer(archive_write_new());               // archive_free() is for both
  archive_write_add_filter_gzip(writer.get());
  archive_write_set_format_raw(writer.get());
  archive_write_open_memory(writer.get(), out.data(), out.size(), &size);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(writer.get(), entry);
  archive_write_data(writer.get(), bytes.data(), bytes.size());
  archive_write_close(writer.get());
  archive_entry_free(entry);
  out.resize(size);
  return out;
}

struct TestImage {
  using Json = nlohmann::json;

  std::vector<std::string> layers{"lowest layer", "upper layer"};  // as they go up
  std::vector<std::string> unzipped = layers;
  std::string layer_type = "application/vnd.oci.image.layer.v1.tar";
  Json config{
      {"architecture", "amd64"},
      {"os", "linux"},
      {"config",
       {{"Entrypoint", {"/bin/app"}}, {"Cmd", {"a", "b"}}, {"Env", {"A=1", "EQUALS=x=y"}}, {"WorkingDir", "/srv"}, {"User", "app:staff"}}}};
  Json more{};                                                      // put into the manifest, over what is there
  std::map<std::string, std::string> files{};                       // what is written, by path

  void zip() {
    for (std::string& layer : layers) layer = gzip_of(layer);
    layer_type += "+gzip";
  }
  Json add(const std::string& bytes, const std::string& type) {
    files["blobs/sha256/" + sha256_of(bytes)] = bytes;
    return {{"mediaType", type}, {"digest", "sha256:" + sha256_of(bytes)}, {"size", bytes.size()}};
  }
  // The manifest's descriptor; its blobs are in `files`.
  Json make() {
    if (!config.contains("rootfs"))
      for (const std::string& layer : unzipped) config["rootfs"]["diff_ids"].push_back("sha256:" + sha256_of(layer));
    Json manifest{
        {"schemaVersion", 2}, {"config", add(config.dump(), "application/vnd.oci.image.config.v1+json")}, {"layers", Json::array()}};
    for (const std::string& layer : layers) manifest["layers"].push_back(add(layer, layer_type));
    if (more.is_object()) manifest.update(more);
    return add(manifest.dump(), "application/vnd.oci.image.manifest.v1+json");
  }
  void make_index(const std::vector<Json>& manifests) { files["index.json"] = Json{{"schemaVersion", 2}, {"manifests", manifests}}.dump(); }
  void make_all() { make_index({make()}); }
  void make_docker(const std::string& tag) {
    static_cast<void>(make());
    const std::string text = config.dump();
    files = {{sha256_of(text) + ".json", text}};
    Json paths = Json::array();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      paths.push_back(std::to_string(i) + "/layer.tar");
      files[paths.back()] = layers[i];
    }
    files["manifest.json"] = Json::array({{{"Config", sha256_of(text) + ".json"}, {"RepoTags", {tag}}, {"Layers", paths}}}).dump();
  }

  void write_folder(const std::filesystem::path& at) const {
    for (const auto& [path, bytes] : files) {
      std::filesystem::create_directories((at / path).parent_path());
      std::ofstream(at / path, std::ios::binary) << bytes;
    }
  }
  // Links: name, what it is to; `hard` or not.
  void write_archive(const std::filesystem::path& at, const std::vector<std::pair<std::string, std::string>>& links = {},
                     bool hard = false) const {
    worker::Archive writer(archive_write_new());
    archive_write_set_format_ustar(writer.get());
    archive_write_open_filename(writer.get(), at.c_str());
    archive_entry* entry = archive_entry_new();
    const auto begin = [&](const std::string& name, unsigned kind, std::size_t size) {
      archive_entry_clear(entry);
      archive_entry_set_pathname(entry, name.c_str());
      archive_entry_set_filetype(entry, kind);
      archive_entry_set_perm(entry, 0644);
      archive_entry_set_size(entry, static_cast<la_int64_t>(size));
    };
    for (const auto& [path, bytes] : files) {
      begin(path, AE_IFREG, bytes.size());
      archive_write_header(writer.get(), entry);
      archive_write_data(writer.get(), bytes.data(), bytes.size());
    }
    for (const auto& [name, to] : links) {
      begin(name, hard ? AE_IFREG : AE_IFLNK, 0);
      if (hard) archive_entry_set_hardlink(entry, to.c_str());
      else archive_entry_set_symlink(entry, to.c_str());
      archive_write_header(writer.get(), entry);
    }
    archive_write_close(writer.get());
    archive_entry_free(entry);
  }
};

}  // namespace mayfly::app
