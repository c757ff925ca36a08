// AWS Lambda's CreateFunction, UpdateFunctionCode and UpdateFunctionConfiguration: a zip in a request's body, or in a store of objects
// (lambda_zip.h), and what is said of it become an artifact and a manifest, and these a deploy; an image (lambda_images.h) a manifest
// alone. Each makes a version, to which "live" moves; what can't be done here is refused by the name of its field. A request is held in
// memory, at most kRequestMax of it.
#pragma once
#include <optional>
#include <set>
#include <string>

#include "control/control.h"
#include "domain/manifest.h"
#include "gateway/lambda_request.h"
#include "gateway/lambda_zip.h"
#include "gateway/router.h"

namespace mayfly::gateway {

namespace lambda {
// What a body says of a function, over what it was before. Refuses by name what is not done here.
[[nodiscard]] Result<domain::Manifest> manifest_in(const Json& body, domain::Manifest before);
}  // namespace lambda

class LambdaCode {
 public:
  explicit LambdaCode(control::Control& control) : control_(control) {}
  void add_routes(Router& router);

 private:
  struct Change;                           // one request on its way
  void create(HttpRequest& request, const Responder& to);
  void update_code(HttpRequest& request, const Responder& to);
  void update_configuration(HttpRequest& request, const Responder& to);
  void upload(Change change, std::optional<lambda::ZipSource> zip);
  void deploy(Change change);
  void deployed(const Change& change, const Result<control::VersionView>& view);
  void tell(const Change& change, int version);

  control::Control& control_;
  std::set<std::string, std::less<>> changing_;  // functions that a request changes now: the next one is refused, as there
};

}  // namespace mayfly::gateway
