// mayfly layer publish, mayfly layer delete, mayfly layers: archives that functions of code have below /opt.
#include <filesystem>

#include "app/commands.h"
#include "app/pack.h"
#include "app/upload.h"

namespace mayfly::app {
namespace {

// The newest of this name, null where there is none.
Result<Json> newest_layer(const Context& context, const std::string& name) {
  TRY(const Json all, context.client.get("/api/layers"));
  Json newest;
  for (const Json& layer : all.value("layers", Json::array()))
    if (layer.value("name", "") == name) newest = layer;
  return newest;
}

std::string text_of(const Json& layer) { return layer.value("name", "") + ":" + std::to_string(layer.value("version", 0)); }

}  // namespace

Result<Json> publish_layer_version(const Context& context, const std::string& name, const std::string& path,
                                   const std::string& description) {
  std::error_code error;
  std::optional<Packed> packed;
  PackageFile file{.file = {.path = std::filesystem::path(path).filename().string(), .archive = true}, .location = path};
  if (std::filesystem::is_directory(path, error)) {
    TRY(packed, pack_folder(path));
    file = packed->entry;
  } else if (!is_archive(path)) {
    return fail(Code::invalid_argument, "'" + path + "' is neither a folder nor an archive: a layer is one of them");
  }
  TRY_VOID(hash_and_upload(context, file));
  TRY(Json newest, newest_layer(context, name));
  if (newest.is_object() && newest.value("sha256", "") == file.file.sha256) {
    newest["unchanged"] = true;
    return newest;
  }
  const Json order{{"name", name}, {"sha256", file.file.sha256}, {"description", description}};
  return context.client.json({.method = "POST", .path = "/api/layers",
                              .body = order.dump(-1, ' ', false, Json::error_handler_t::replace),
                              .headers = {"Content-Type: application/json"}, .wait_max = std::chrono::minutes(15)});
}

Result<void> layer(const Context& context, const LayerOptions& options) {
  if (options.remove) {
    TRY(const HttpReply reply, context.client.call({.method = "DELETE", .path = "/api/layers/" + encode(options.name) + "/versions/" +
                                                                                std::to_string(options.version)}));
    return check(reply);
  }
  TRY(const Json published, publish_layer_version(context, options.name, options.path, options.description));
  if (context.json) print_json(published);
  else
    print(context.terminal.paint(Tone::good, "→") + " " + context.terminal.paint(Tone::strong, text_of(published)) + ", " +
          to_text(Bytes{published.value("size", std::uint64_t{0})}) +
          (published.value("unchanged", false) ? " (nothing was new: this is the newest version)" : "") + "\n");
  return {};
}

Result<void> layers(const Context& context) {
  TRY(const Json all, context.client.get("/api/layers"));
  if (context.json) return print_json(all), Result<void>();
  Table table({"LAYER", "SIZE", "CREATED", "DESCRIPTION"});
  const Json list = all.value("layers", Json::array());
  if (list.empty()) return print("no layers yet: publish one with 'mayfly layer publish NAME FOLDER'\n"), Result<void>();
  for (const Json& layer : list)
    table.add({text_of(layer), to_text(Bytes{layer.value("size", std::uint64_t{0})}), clock_of(layer.value("created", "")),
               printable(layer.value("description", ""))});
  print(table.text(context.terminal));
  return {};
}

}  // namespace mayfly::app
