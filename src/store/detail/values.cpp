#include "store/detail/values.h"

#include "domain/build.h"
#include "domain/job_results.h"
#include "domain/json.h"

namespace mayfly::store {
namespace {

using nlohmann::json;

// Tensor names come from models and may be any bytes; they were checked to be UTF-8 before they got here.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

template <class Read>
auto read(std::string_view column, const char* what, Read read_value) -> Result<decltype(read_value(json()))> {
  try {
    return read_value(json::parse(column));
  } catch (const json::exception& error) {
    return fail(Code::data_loss, std::string(what) + " can't be read: " + error.what());
  }
}

}  // namespace

std::string to_column(const std::vector<domain::FileRef>& files) {
  json list = json::array();
  for (const domain::FileRef& file : files) {
    list.push_back({{"path", file.path}, {"sha256", file.sha256}, {"size", file.size.count}});
    if (file.archive) list.back()["archive"] = true;
  }
  return dump(list);
}

std::string to_column(const domain::Signature& signature) { return domain::to_json(signature); }

std::string to_column(const domain::Compiled& c) {
  return dump({{"key", c.key},
               {"sha256", c.sha256},
               {"size", c.size.count},
               {"compile_ns", c.compile_ns},
               {"tuning",
                {{"pack_weights", c.tuning.pack_weights},
                 {"pack_cold", c.tuning.pack_cold},
                 {"large_pages", c.tuning.large_pages},
                 {"threads", c.tuning.threads},
                 {"template_allowed", c.tuning.template_allowed},
                 {"cold_first_ns", c.tuning.cold_first_ns},
                 {"warm_run_ns", c.tuning.warm_run_ns},
                 {"fork_first_ns", c.tuning.fork_first_ns},
                 {"private_bytes", c.tuning.private_bytes},
                 {"own_bytes", c.tuning.own_bytes},
                 {"own_packed_bytes", c.tuning.own_packed_bytes},
                 {"working_set", c.tuning.working_set}}}});
}

std::string to_column(const domain::Dependencies& d) {
  return "{\"kind\":" + dump(d.kind) + ",\"key\":" + dump(d.key) + ",\"installed\":" + domain::to_json(*d.installed) + "}";
}

std::string to_column(const std::vector<domain::LayerRef>& layers) {
  json list = json::array();
  for (const domain::LayerRef& layer : layers)
    list.push_back({{"name", layer.name}, {"number", layer.number}, {"sha256", layer.sha256}, {"size", layer.size.count}});
  return dump(list);
}

std::string to_column(const std::vector<domain::Weight>& weights) {
  json list = json::array();
  for (const domain::Weight& weight : weights) list.push_back({{"version", weight.version}, {"share", weight.share}});
  return dump(list);
}

std::string to_column(const std::vector<std::string>& notes) { return dump(notes); }

Result<std::vector<domain::FileRef>> files_from(std::string_view column) {
  return read(column, "the list of files", [](const json& list) {
    std::vector<domain::FileRef> files;
    for (const json& item : list)
      files.push_back({.path = item.at("path"), .sha256 = item.at("sha256"), .size = {item.at("size").get<std::uint64_t>()},
                       .archive = item.value("archive", false)});
    return files;
  });
}

Result<domain::Signature> signature_from(std::string_view column) {
  auto signature = domain::parse_signature(column);
  if (!signature) return fail(Code::data_loss, "the signature can't be read: " + signature.error().message);
  return signature;
}

Result<domain::Compiled> compiled_from(std::string_view column) {
  return read(column, "the compiled model's entry", [](const json& value) {
    const json& t = value.at("tuning");
    return domain::Compiled{.key = value.at("key"),
                            .sha256 = value.at("sha256"),
                            .size = {value.at("size").get<std::uint64_t>()},
                            .compile_ns = value.at("compile_ns"),
                            .tuning = {.pack_weights = t.at("pack_weights"),
                                       .pack_cold = t.at("pack_cold"),
                                       .large_pages = t.at("large_pages"),
                                       .threads = t.at("threads"),
                                       .template_allowed = t.at("template_allowed"),
                                       .cold_first_ns = t.at("cold_first_ns"),
                                       .warm_run_ns = t.at("warm_run_ns"),
                                       .fork_first_ns = t.at("fork_first_ns"),
                                       .private_bytes = t.at("private_bytes"),
                                       .own_bytes = t.value("own_bytes", std::uint64_t{}),  // since this is measured
                                       .own_packed_bytes = t.value("own_packed_bytes", std::uint64_t{}),
                                       .working_set = t.value("working_set", "")}};
  });
}

Result<std::vector<domain::LayerRef>> layers_from(std::string_view column) {
  return read(column, "the list of layers", [](const json& value) {
    std::vector<domain::LayerRef> layers;
    for (const json& item : value)
      layers.push_back({item.at("name"), item.at("number"), item.at("sha256"), {item.at("size").get<std::uint64_t>()}});
    return layers;
  });
}

Result<domain::Dependencies> dependencies_from(std::string_view column) {
  return read(column, "the list of dependencies", [](const json& value) {
    std::vector<domain::Dependency> installed;
    for (const json& item : value.at("installed")) installed.push_back({item.at("name"), item.at("version"), item.at("hash")});
    return domain::Dependencies{.kind = value.at("kind"), .key = value.at("key"),
                                .installed = std::make_shared<const std::vector<domain::Dependency>>(std::move(installed))};
  });
}

Result<std::vector<domain::Weight>> weights_from(std::string_view column) {
  return read(column, "the weights of an alias", [](const json& list) {
    std::vector<domain::Weight> weights;
    for (const json& item : list) weights.push_back({.version = item.at("version"), .share = item.at("share")});
    return weights;
  });
}

Result<std::vector<std::string>> notes_from(std::string_view column) {
  return read(column, "the notes of a check", [](const json& list) { return list.get<std::vector<std::string>>(); });
}

}  // namespace mayfly::store
