// The control API's layers: published from an artifact that was uploaded, listed, deleted.
#include <charconv>

#include "domain/arn.h"
#include "gateway/control_api.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

Json to_json(const domain::LayerVersion& layer) {
  return {{"name", layer.name}, {"version", layer.number}, {"arn", domain::layer_arn(layer.name, layer.number)},
          {"sha256", layer.sha256}, {"size", layer.size.count}, {"created", to_rfc3339(layer.created)},
          {"description", layer.description}};
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<control::LayerOrder> parse_layer_order(std::string_view text) {
  TRY(const Json body, parse_body(text, {"name", "sha256", "description"}));
  control::LayerOrder order;
  for (const auto& [key, into] : {std::pair("name", &order.name), std::pair("sha256", &order.archive.sha256),
                                  std::pair("description", &order.description)}) {
    if (!body.contains(key)) continue;
    if (!body[key].is_string()) return fail(Code::invalid_argument, std::string(key) + " is not a text");
    *into = body[key].get<std::string>();
  }
  if (order.archive.sha256.size() != 64)
    return fail(Code::invalid_argument, "sha256 is missing: upload the layer's archive first, and name it so");
  if (order.description.size() > 256) return fail(Code::invalid_argument, "description has more than 256 bytes");
  return order;
}

}  // namespace

void ControlApi::add_layers(Router& router) {
  router.add(Method::get, "/api/layers", [this](HttpRequest&, Responder to) {
    Json list = Json::array();
    for (const auto& layer : control_.layers("")) list.push_back(to_json(layer));
    to.send({.body = dump({{"layers", std::move(list)}})});
  });
  router.add(Method::post, "/api/layers", [this](HttpRequest& request, Responder to) {
    auto order = parse_layer_order(request.body);
    if (!order) return to.fail(order.error());
    control_.publish_layer(*std::move(order), [to](const Result<domain::LayerVersion>& layer) {
      if (!layer) return to.fail(layer.error());
      to.send({.status = 201, .body = dump(to_json(*layer))});
    });
  }, kBodyMax);
  router.add(Method::delete_, "/api/layers/{name}/versions/{version}", [this](HttpRequest& request, Responder to) {
    const std::string_view text = request.parameters[1];
    int number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    control_.remove_layer(request.parameters[0], number, [to](const Result<void>& removed) {
      if (!removed) return to.fail(removed.error());
      to.send({.status = 204, .content_type = "", .body = {}});
    });
  });
}

}  // namespace mayfly::gateway
