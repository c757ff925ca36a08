#include "gateway/v2_models.h"

#include "domain/json.h"
#include "gateway/inference.h"

namespace mayfly::gateway {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json tensors(const std::vector<domain::TensorSpec>& specs) {
  Json list = Json::array();
  for (const domain::TensorSpec& spec : specs)
    list.push_back({{"name", spec.name}, {"datatype", domain::name(spec.datatype)}, {"shape", spec.shape}});
  return list;
}

// Triton's configuration names: TYPE_FP32; BYTES is TYPE_STRING there. Its dims leave out the dimension of the batch.
Json config_tensors(const std::vector<domain::TensorSpec>& specs, bool batches) {
  Json list = Json::array();
  for (const domain::TensorSpec& spec : specs) {
    std::vector<std::int64_t> dims = spec.shape;
    if (batches && !dims.empty()) dims.erase(dims.begin());
    const std::string type = spec.datatype == domain::Datatype::bytes ? "STRING" : std::string(domain::name(spec.datatype));
    list.push_back({{"name", spec.name}, {"data_type", "TYPE_" + type}, {"dims", dims}});
  }
  return list;
}

}  // namespace

void V2Models::add_routes(Router& router) {
  router.add(Method::get, "/v2", [this](HttpRequest&, Responder to) { server(to); });
  router.add(Method::get, "/v2/health/live", [](HttpRequest&, Responder to) { to.send({.body = R"({"live":true})"}); });
  router.add(Method::get, "/v2/health/ready", [this](HttpRequest&, Responder to) { server_ready(to); });
  for (const std::string model : {"/v2/models/{name}", "/v2/models/{name}/versions/{version}"}) {
    router.add(Method::get, model, [this](HttpRequest& request, Responder to) { metadata(request, to); });
    router.add(Method::get, model + "/ready", [this](HttpRequest& request, Responder to) { ready(request, to); });
    router.add(Method::get, model + "/config", [this](HttpRequest& request, Responder to) { config(request, to); });
    router.add(Method::get, model + "/stats", [this](HttpRequest& request, Responder to) {
      const std::string_view wanted = request.parameters[1];
      const auto version = wanted.empty() ? Result<domain::Version>() : control_.resolve(request.parameters[0], wanted);
      if (!version) return to.send(v2_error_reply(version.error()));
      stats(request.parameters[0], version->number, to);
    });
  }
  router.add(Method::post, "/v2/repository/index", [this](HttpRequest& request, Responder to) { index(request, to); }, 4096);
}

void V2Models::server(const Responder& to) {
  to.send({.body = text_of({{"name", "mayfly"}, {"version", control_.node().version},
                            {"extensions", {"binary_tensor_data", "classification", "model_configuration", "statistics"}}})});
}

void V2Models::server_ready(const Responder& to) {
  if (!ready_()) return to.send(v2_error_reply({Code::unavailable, "the node is draining: it ends once its calls are answered"}));
  to.send({.body = R"({"ready":true})"});
}

void V2Models::metadata(const HttpRequest& request, const Responder& to) {
  const auto version = control_.resolve(request.parameters[0], request.parameters[1]);
  // The protocol's /v2/models/stats stands where a model's name does: it is that, unless a function is called so.
  if (!version && request.parameters[0] == "stats" && request.parameters[1].empty()) return stats("", 0, to);
  if (!version) return to.send(v2_error_reply(version.error()));
  Json versions = Json::array();
  if (!request.parameters[1].empty()) {
    versions.push_back(std::to_string(version->number));
  } else if (const auto view = control_.describe(request.parameters[0])) {
    for (const domain::Version& each : view->function.versions) versions.push_back(std::to_string(each.number));
  }
  to.send({.body = text_of({{"name", request.parameters[0]}, {"versions", versions}, {"platform", "onnxruntime_onnx"},
                            {"inputs", tensors(version->signature.inputs)}, {"outputs", tensors(version->signature.outputs)}})});
}

void V2Models::ready(const HttpRequest& request, const Responder& to) {
  const auto version = control_.resolve(request.parameters[0], request.parameters[1]);
  if (!version) return to.send(v2_error_reply(version.error()));
  to.send({.body = text_of({{"name", request.parameters[0]}, {"ready", true}})});
}

void V2Models::config(const HttpRequest& request, const Responder& to) {
  const auto version = control_.resolve(request.parameters[0], request.parameters[1]);
  if (!version) return to.send(v2_error_reply(version.error()));
  const domain::Signature& signature = version->signature;
  to.send({.body = text_of({{"name", request.parameters[0]}, {"platform", "onnxruntime_onnx"}, {"backend", "onnxruntime"},
                            {"max_batch_size", signature.batches ? version->manifest.batch.rows_max : 0},
                            {"input", config_tensors(signature.inputs, signature.batches)},
                            {"output", config_tensors(signature.outputs, signature.batches)}})});
}

void V2Models::stats(std::string_view function, int version, const Responder& to) {
  const auto all = control_.stats(function);
  if (!all) return to.send(v2_error_reply(all.error()));
  const auto sum = [](const control::VersionStats::Sum& of) -> Json { return {{"count", of.count}, {"ns", of.time.count()}}; };
  Json list = Json::array();
  for (const control::VersionStats& of : *all) {
    if (version > 0 && of.version != version) continue;
    list.push_back({{"name", of.function}, {"version", std::to_string(of.version)},
                    {"last_inference", of.last.since_epoch.count() / 1000}, {"inference_count", of.inferences},
                    {"execution_count", of.executions},
                    {"inference_stats", {{"success", sum(of.success)}, {"fail", sum(of.fail)}, {"queue", sum(of.queue)},
                                         {"compute_input", sum(of.compute_input)}, {"compute_infer", sum(of.compute_infer)},
                                         {"compute_output", sum(of.compute_output)}, {"cache_hit", sum({})}, {"cache_miss", sum({})}}},
                    {"batch_stats", Json::array()}});
  }
  to.send({.body = text_of({{"model_stats", list}})});
}

void V2Models::index(const HttpRequest& request, const Responder& to) {
  bool only_ready = false;
  if (!request.body.empty()) {
    const Json body = domain::parse_json<Json>(request.body);
    if (!body.is_object() || (body.contains("ready") && !body["ready"].is_boolean()))
      return to.send(v2_error_reply({Code::invalid_argument, R"(the body must be {} or {"ready": true})"}));
    only_ready = body.value("ready", false);
  }
  Json list = Json::array();
  for (const control::FunctionView& view : control_.list()) {
    for (std::size_t i = 0; i < view.function.versions.size(); ++i) {
      const control::Stage stage = i < view.stages.size() ? view.stages[i] : control::Stage::ready;
      const bool serves = stage != control::Stage::checking && stage != control::Stage::failed;
      if (only_ready && !serves) continue;
      Json entry = {{"name", view.function.name}, {"version", std::to_string(view.function.versions[i].number)},
                    {"state", serves ? "READY" : "UNAVAILABLE"}};
      if (!serves) entry["reason"] = control::name(stage);
      list.push_back(std::move(entry));
    }
  }
  to.send({.body = text_of(list)});
}

}  // namespace mayfly::gateway
