// AWS Lambda's REST API of 2015-03-31 over what Mayfly has: functions, versions, aliases, for the aws CLI, the SDKs and tools
// that stand on them. Invoke is gateway/inference.h, what is set of a function lambda_settings.h, code as a zip lambda_code.h,
// signatures sigv4.h. What this release can't do is refused by its operation's name.
#pragma once
#include "control/control.h"
#include "gateway/lambda_forms.h"
#include "gateway/router.h"

namespace mayfly::gateway {

class LambdaApi {
 public:
  explicit LambdaApi(control::Control& control) : control_(control) {}
  void add_routes(Router& router);

 private:
  void add_functions(Router& router);
  void add_aliases(Router& router);
  void refuse_others(Router& router);
  void list(const HttpRequest& request, const Responder& to);
  void versions(const HttpRequest& request, const Responder& to);
  void remove(const HttpRequest& request, const Responder& to);
  void publish(const HttpRequest& request, const Responder& to);
  void account(const Responder& to);
  void aliases(const HttpRequest& request, const Responder& to);
  void set_alias(const HttpRequest& request, const Responder& to, bool create);

  control::Control& control_;
};

}  // namespace mayfly::gateway
