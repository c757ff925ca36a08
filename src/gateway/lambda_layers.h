// AWS Lambda's layers: PublishLayerVersion, what lists and shows them, DeleteLayerVersion, and the policy of a layer version, which is
// kept and told again and decides nothing. Which layers a function has is said in its configuration (lambda_code.h).
#pragma once
#include "control/control.h"
#include "gateway/lambda_request.h"
#include "gateway/router.h"

namespace mayfly::gateway {

namespace lambda {
// Layers of a body: the ARN of each, at most five. Refused in AWS's words.
[[nodiscard]] Result<std::vector<std::string>> layers_in(const Json& body);
}  // namespace lambda

class LambdaLayers {
 public:
  explicit LambdaLayers(control::Control& control) : control_(control) {}
  void add_routes(Router& router);

 private:
  void publish(HttpRequest& request, const Responder& to);
  void list(const HttpRequest& request, const Responder& to);
  void list_versions(const HttpRequest& request, const Responder& to);
  void remove(const HttpRequest& request, const Responder& to);
  void add_permission(const HttpRequest& request, const Responder& to);
  void remove_permission(const HttpRequest& request, const Responder& to);
  [[nodiscard]] Result<domain::LayerVersion> find(const HttpRequest& request);  // by the path's name and number
  [[nodiscard]] Result<domain::LayerVersion> find(const domain::LayerName& name);

  control::Control& control_;
};

}  // namespace mayfly::gateway
